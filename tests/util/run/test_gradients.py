"""Gradients of two processes, averaged while backward runs: every mean is known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from util.run import distributed
from util.run.distributed import world_from_environment
from util.run.engine import Engine
from util.run.gradients import GradientAverage

CPU = torch.device("cpu")


def parameters(count: int) -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(2, number + 1)) for number in range(count)]


def means_of_known_gradients() -> dict[str, list[float]]:
    """The gradient of ``(factor * p).sum()`` is the factor: 1, 2, ... for the parameters, times rank + 1."""
    world = world_from_environment()
    distributed.start(world, CPU)
    owned = parameters(4)
    average = GradientAverage(owned, distributed.group_for_gradients(CPU), bucket_bytes=40)
    found = {}

    def averaged(*losses: torch.Tensor) -> list[float]:
        for parameter in owned:
            parameter.grad = None
        for loss in losses[:-1]:
            loss.backward()
        with average.sending():
            losses[-1].backward()
        average.receive()
        for parameter in owned:
            assert parameter.grad.isnan().all() or len(parameter.grad.unique()) == 1
        return [float(parameter.grad.flatten()[0]) for parameter in owned]

    def loss(factors: list[float]) -> torch.Tensor:
        return sum(factor * (world.rank + 1) * p.sum() for factor, p in zip(factors, owned) if factor)

    found["each"] = averaged(loss([1, 2, 3, 4]))
    found["again"] = averaged(loss([1, 2, 3, 4]))
    found["micro-batches"] = averaged(loss([1, 2, 3, 4]), loss([10, 0, 0, 40]))
    found["unreached by one"] = averaged(loss([1, 2, 3, 4] if world.rank else [0, 2, 0, 4]))
    found["unreached"] = averaged(loss([1, 0, 3, 0]))
    found["not finite"] = averaged(loss([1, math.nan if world.rank else 2, 3, 4]))
    with pytest.raises(ZeroDivisionError), average.sending():
        _ = 1 / 0
    found["after an error"] = averaged(loss([1, 2, 3, 4]))
    distributed.barrier()
    distributed.stop()
    return found


def departures() -> tuple[list[int], list[bool]]:
    """How many buckets have left when backward reaches each of three layers, and whether every weight is the same."""
    world = world_from_environment()
    distributed.start(world, CPU)
    torch.manual_seed(0)
    layers = [nn.Linear(4, 4) for _ in range(3)]
    owned = [parameter for layer in layers for parameter in layer.parameters()]
    average = GradientAverage(owned, distributed.group_for_gradients(CPU), bucket_bytes=80)  # a layer's two
    left: list[int] = []
    x = torch.full((1, 4), world.rank + 1.0)
    for layer in layers:
        x = layer(x)
        x.register_hook(lambda grad: left.append(sum(bucket.flat is not None for bucket in average._buckets)))
    with average.sending():
        x.sum().backward()
    average.receive()
    grads = [parameter.grad for parameter in owned]
    equal = [bool(torch.equal(mine, other)) for mine, other in zip(grads, distributed.gather(grads)[1 - world.rank])]
    distributed.barrier()
    distributed.stop()
    return left, equal


def rounded_means() -> tuple[list[list[float]], bool]:
    """The gradients of two parameters with three numbers each, sent as bf16; and whether both processes got the same.

    bf16 has 8 significant bits: between 1 and 2 its numbers lie 2**-7 apart, between 128 and 256 they lie 1 apart.
    """
    world = world_from_environment()
    engine = Engine(CPU, world=world, gradient_compression="bf16")
    engine.start()
    owned = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))]
    average = engine.gradient_average(owned)
    assert average is not None
    known = torch.tensor(
        [[[1.0, 3.0, 2 + 2**-8], [256.0, 0.0, 1e30]], [[2**-9, 3.0, 2 - 2**-7], [1.0, 0.0, -math.inf]]]
    )
    with average.sending():
        sum((factors * p).sum() for factors, p in zip(known[world.rank], owned)).backward()
    average.receive()
    grads = [parameter.grad for parameter in owned]
    assert all(grad.dtype == torch.float32 for grad in grads)
    mine, other = (torch.cat(each) for each in (grads, distributed.gather(grads)[1 - world.rank]))
    distributed.barrier()
    distributed.stop()
    return [grad.tolist() for grad in grads], torch.equal(mine, other)


@pytest.mark.slow
def test_bf16_rounds_the_parts_and_their_sum_alike_in_both_processes(two_processes):
    for found, equal in two_processes.call(rounded_means):
        assert equal
        # 1/2 + 2**-10 is nearer to 1/2 than to 1/2 + 2**-8. 1 + 2**-9 and 1 - 2**-8 become 1 and 1 - 2**-8, whose sum
        # 2 - 2**-8 lies between 2 - 2**-7 and 2, as near to the one as to the other: the even one of them is 2.
        assert found[0] == [0.5, 3.0, 2.0]
        assert found[1] == [128.0, 0.0, -math.inf]  # 128.5 lies between 128 and 129: the even one


@pytest.mark.slow
def test_means_over_two_processes(two_processes):
    for found in two_processes.call(means_of_known_gradients):
        assert found["each"] == found["again"] == found["after an error"] == [1.5, 3.0, 4.5, 6.0]
        assert found["micro-batches"] == [16.5, 3.0, 4.5, 66.0]
        assert found["unreached by one"] == [1.0, 3.0, 3.0, 6.0]
        assert found["unreached"] == [1.5, 0.0, 4.5, 0.0]
        assert math.isnan(found["not finite"][1]) and found["not finite"][::2] == [1.5, 4.5]


@pytest.mark.slow
def test_a_bucket_leaves_before_backward_ends(two_processes):
    for left, equal in two_processes.call(departures):
        assert left == [0, 1, 2] and all(equal)
