"""Several processes: one per GPU (NCCL), or several on the CPU (gloo), started by ``torchrun`` or by ourselves."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from util.run.device import parse_gpu_ids

TIMEOUT = datetime.timedelta(minutes=30)
"""For one exchange; a process may evaluate or save meanwhile."""

_WAITS_FOREVER = torch.torch_version.TorchVersion(torch.__version__) < "2.8"
"""Whether gloo's group, when it is deleted, waits for its threads while it keeps Python's lock. A thread may need that
lock to delete the tensors of the last exchange, and the process never ends (seen with torch 2.6.0, again and again on
a busy machine; mended in 2.8, pytorch/pytorch#154976)."""

_left: list[object] = []
"""Groups that must not be deleted."""


@dataclass(frozen=True)
class World:
    """This process's place among all: ``rank`` of ``size``, ``local_rank`` on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """True in the process that logs and saves."""
        return self.rank == 0


def world_from_environment() -> World:
    """What ``torchrun`` (or ``python -m torch.distributed.launch``) put into the environment; alone without it.

    Raises:
        ValueError: ``WORLD_SIZE`` without ``RANK``, or one of them is no number.
    """
    found = {name: os.environ.get(name, default) for name, default in (("WORLD_SIZE", "1"), ("RANK", ""))}
    if found["WORLD_SIZE"] == "1":
        return World()
    try:
        size, rank = (int(value) for value in found.values())
        return World(rank=rank, size=size, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    except ValueError:
        said = " ".join(f"{name}={value}" for name, value in found.items())
        raise ValueError(f"environment {said}: start several processes by torchrun, or unset WORLD_SIZE") from None


def start(world: World, device: torch.device) -> None:
    """Join the other processes; does nothing when alone or when joined already."""
    if world.size > 1 and not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=TIMEOUT, **_meeting_place(world))


def _meeting_place(world: World) -> dict[str, Any]:
    """Under torchrun its store, with keys of this start of the job alone; else nothing: torch reads the environment.

    torch 2.14 lets all starts of a job share one store under the same keys: after a restart a process may read the
    address that a process of the start before had, and fails to connect.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return {}
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, world.size, is_master=False, timeout=TIMEOUT)
    start = f"start_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    return {"store": dist.PrefixStore(start, store), "rank": world.rank, "world_size": world.size}


def stop() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        _keep(dist.group.WORLD)
        dist.destroy_process_group()


def _keep(group: object) -> None:
    """Keep a group until the process ends, where deleting it may never end."""
    if _WAITS_FOREVER and dist.get_backend() == "gloo":
        _left.append(group)


def leave(code: int) -> NoReturn:
    """End the program with an exit code.

    One of several processes ends without the interpreter's teardown: gloo's threads were seen to abort the process
    there (``terminate called without an active exception``), which would turn a finished run into a failed one.
    Everything that must be written is closed by then.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def launch(entry: Callable[..., int], arguments: Sequence[object], num_processes: int) -> int:
    """Run ``entry(*arguments)`` in ``num_processes`` processes on this machine by torch's elastic launcher.

    Returns:
        the exit code: 0, or that of the first process that failed.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        codes = elastic_launch(config, entry)(*arguments)
    except SignalException as error:
        return 128 + int(error.sigval)
    except ChildFailedError as error:
        return max(1, *(abs(failure.exitcode) for failure in error.failures.values()))
    return max(codes.values())


def launch_if_several(entry: Callable[..., int], arguments: Sequence[object], gpu_ids: str) -> int | None:
    """``launch`` a process per GPU where ``--gpu_ids`` names several and no launcher has started them; None: go on."""
    count = len(parse_gpu_ids(gpu_ids)) if "," in gpu_ids else 1  # the engine reads it too, and says what it found
    return None if count < 2 or world_from_environment().size > 1 else launch(entry, arguments, count)


def group_for_gradients(device: torch.device) -> dist.ProcessGroup | None:
    """The queue in which gradients travel. Every process must call it, once for each optimizer.

    On the CPU one of its own: batch norm over all processes exchanges messages during backward too, and where the
    graphs of two processes differ these may come in another order among the gradients. On GPUs the common one (None),
    as NCCL must not run two communicators at the same time without an order between them.
    """
    if device.type != "cpu":
        return None
    group = dist.new_group(backend="gloo", timeout=TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)  # this process is a member
    _keep(group)
    return group


def sum_over_processes(values: Tensor) -> Tensor:
    """The element-wise sum over all processes, a new tensor; the values themselves when alone."""
    if dist.is_initialized():
        values = values.clone()
        dist.all_reduce(values)
    return values


def gather(value: Any) -> list[Any]:
    """What every process has, in the order of their ranks: anything that pickles. Every process must call it."""
    if not dist.is_initialized():
        return [value]
    everything: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everything, value)
    return everything


def broadcast_parameters(net: nn.Module) -> None:
    """Give every process the main process's parameters and buffers."""
    if dist.is_initialized():
        for tensor in (*net.parameters(), *net.buffers()):
            dist.broadcast(tensor.detach(), src=0)


def barrier() -> None:
    """Wait for the other processes."""
    if dist.is_initialized():
        dist.barrier()


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return sum_over_processes(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _SumOverProcesses.apply(grads[0].contiguous())  # differentiable again, for gradient penalties


class _SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with statistics over all processes, in plain differentiable operations, for devices other than CUDA.

    Equal to ``nn.BatchNorm2d`` on the global batch, in forward, backward, second derivatives and running statistics,
    where every process holds other images; of a last batch with fewer images than processes some count twice.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat([x.sum((0, 2, 3)), count])
        total = _SumOverProcesses.apply(sums)
        count = total[-1]
        mean = total[:-1] / count  # [C]
        centred = x - mean[:, None, None]
        var = _SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count  # two passes: no cancellation
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                self.running_var.lerp_((var * count / (count - 1).clamp(min=1)).to(self.running_var.dtype), momentum)
        y = centred * torch.rsqrt(var + self.eps)[:, None, None]
        if self.affine:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return y.to(input.dtype)


def synchronise_batch_norm(net: nn.Module, device: torch.device) -> nn.Module:
    """Make every batch norm take its statistics over the global batch; keys and parameters stay as they are."""
    if not dist.is_initialized():
        return net
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SyncBatchNorm2d
    return net
