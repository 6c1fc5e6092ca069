"""Gradients that are averaged over the processes while backward still runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 4 * 2**20
"""Gradients travel in pieces of about this size: large enough for the link, small enough to leave early."""


class _Bucket:
    """Parameters whose gradients travel together.

    Attributes:
        parameters: of one dtype.
        missing: how many gradients this backward pass has not finished yet.
        flat: the gradients on their way, one after the other; None before they are sent.

    Args:
        parameters: see above.
        dtype: in which they travel; None for their own.
    """

    def __init__(self, parameters: list[nn.Parameter], dtype: torch.dtype | None = None) -> None:
        self.parameters, self._dtype = parameters, dtype
        self.missing = len(parameters)
        self.flat: Tensor | None = None
        self._work: dist.Work | None = None

    def send(self, group: dist.ProcessGroup | None) -> None:
        grads = [p.grad.reshape(-1) for p in self.parameters if p.grad is not None]
        self.flat = torch.cat(grads).div_(dist.get_world_size())
        if self._dtype is not None:  # after the division, which rounds in float32 then
            self.flat = self.flat.to(self._dtype)
        self._work = dist.all_reduce(self.flat, group=group, async_op=True)

    def receive(self) -> None:
        assert self._work is not None and self.flat is not None
        self._work.wait()
        parts = self.flat.split([parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts):
            assert parameter.grad is not None
            parameter.grad.copy_(part.view_as(parameter))
        self.flat = self._work = None


class GradientAverage:
    """Replaces the gradients of one optimizer's parameters by their means over all processes.

    A bucket leaves as soon as backward has finished all of its gradients and the buckets before it have left: the
    order is the same in every process, also where a process does not reach some parameters. Backward finishes the
    last layers first, so the buckets go from the last parameter to the first.

    It works by hooks rather than by DistributedDataParallel: a GAN step calls D twice, freezes it for G,
    differentiates through it twice for a gradient penalty and adds up the gradients of micro-batches, which
    DistributedDataParallel does not allow in general.

    With a ``dtype`` every process rounds its part of the mean to it, and the sum of the parts is rounded to it, too;
    the means are equal in all processes, bit for bit. Nothing is kept for the next step (no error feedback), so that a
    resumed run needs no state of it.

    Args:
        parameters: trainable; the same in every process.
        group: processes of the exchange; None for all, in one queue with their other messages.
        bucket_bytes: size at which a bucket is full; a larger parameter has one of its own.
        dtype: in which gradients travel; None for that of the parameters.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        group: dist.ProcessGroup | None = None,
        bucket_bytes: int = BUCKET_BYTES,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._group, self._limit, self._dtype = group, bucket_bytes, dtype
        self._buckets = self._fill(list(parameters)[::-1])
        self._bucket_of = {id(p): bucket for bucket in self._buckets for p in bucket.parameters}
        self._next = 0  # number of the first bucket that has not left
        self._sending = False
        for bucket in self._buckets:
            for parameter in filter(lambda each: each.requires_grad, bucket.parameters):
                parameter.register_post_accumulate_grad_hook(self._arrived)

    def _fill(self, parameters: list[nn.Parameter]) -> list[_Bucket]:
        buckets: list[_Bucket] = []
        bucket: list[nn.Parameter] = []
        size = 0
        for parameter in parameters:
            bytes_ = parameter.numel() * parameter.element_size()
            if bucket and (size + bytes_ > self._limit or parameter.dtype != bucket[0].dtype):
                buckets.append(_Bucket(bucket, self._dtype))
                bucket, size = [], 0
            bucket.append(parameter)
            size += bytes_
        return [*buckets, _Bucket(bucket, self._dtype)] if bucket else buckets

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """The backward pass inside is the last one of this step: all gradients are on their way at its end.

        A parameter that no loss has reached in this process has the gradient 0.
        """
        self._sending, self._next = True, 0
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)
        try:
            yield
        finally:
            self._sending = False
        for bucket in self._buckets[self._next :]:
            for parameter in bucket.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            bucket.send(self._group)

    def receive(self) -> None:
        """Wait for the means, and put them in the place of the gradients."""
        for bucket in self._buckets:
            bucket.receive()

    def _arrived(self, parameter: Tensor) -> None:
        if not self._sending:
            return
        self._bucket_of[id(parameter)].missing -= 1
        while self._next < len(self._buckets) and self._buckets[self._next].missing == 0:
            self._buckets[self._next].send(self._group)
            self._next += 1
