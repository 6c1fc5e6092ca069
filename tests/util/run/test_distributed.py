"""Several processes on the CPU over gloo, started by the same launcher that ``--gpu_ids 0,1`` uses."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from util.run import distributed
from util.run.distributed import World, world_from_environment
from util.run.gradients import GradientAverage

CPU = torch.device("cpu")


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3))


def images() -> torch.Tensor:
    return torch.randn(4, 2, 9, 7, generator=torch.Generator().manual_seed(1)) * 3 + 5


def use(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A mean over the batch that also needs the second derivative, as a gradient penalty does."""
    x = x.clone().requires_grad_()
    out = (net(x) * torch.linspace(0, 1, 3)[:, None, None]).square().mean((1, 2, 3))
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.mean() + slope.square().sum((1, 2, 3)).mean()


def process(folder: str, code: int) -> int:
    """What each process runs: batch norm over all of them, averaged gradients; results go to a file."""
    world = world_from_environment()
    distributed.start(world, CPU)
    net = distributed.synchronise_batch_norm(make_net(), CPU)
    if world.rank == 1:
        nn.init.zeros_(net[0].weight)
    distributed.broadcast_parameters(net)
    part = images().chunk(world.size)[world.rank]
    average = GradientAverage(net.parameters(), distributed.group_for_gradients(CPU), bucket_bytes=64)
    with average.sending():
        use(net, part).backward()
    average.receive()
    total = distributed.sum_over_processes(torch.tensor([world.rank + 1.0]))
    assert distributed.gather(f"rank {world.rank}") == ["rank 0", "rank 1"]
    grads = [parameter.grad for parameter in net.parameters()]
    torch.save([grads, net.state_dict(), total], Path(folder) / f"{world.rank}.pth")
    distributed.barrier()
    distributed.stop()
    return code


def failing(folder: str) -> int:
    raise RuntimeError("one process fails")


@pytest.mark.slow
def test_two_processes_compute_what_one_computes(tmp_path):
    assert distributed.launch(process, (str(tmp_path), 0), 2) == 0
    net = make_net()
    use(net, images()).backward()
    for rank in range(2):
        grads, state, total = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        assert float(total) == 3.0
        for mine, parameter in zip(grads, net.parameters()):
            torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-5)
        for key, value in net.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_exit_codes_come_through_the_launcher(tmp_path):
    assert distributed.launch(process, (str(tmp_path), 2), 2) == 2
    assert distributed.launch(failing, (str(tmp_path),), 2) == 1


def test_alone_nothing_is_sent():
    assert world_from_environment() == World()
    value = torch.tensor([2.0])
    assert distributed.sum_over_processes(value) is value
    net = make_net()
    assert distributed.synchronise_batch_norm(net, CPU) is net and type(net[1]) is nn.BatchNorm2d
    distributed.barrier()
    distributed.stop()


def test_the_environment_of_torchrun_is_read(monkeypatch):
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "3"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    world = world_from_environment()
    assert world == World(rank=3, size=4, local_rank=1) and not world.is_main


@pytest.mark.parametrize(("size", "rank"), [("4", ""), ("many", "0")])
def test_an_environment_that_no_launcher_made_is_refused(size: str, rank: str, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.delenv("RANK", raising=False)
    if rank:
        monkeypatch.setenv("RANK", rank)
    with pytest.raises(
        ValueError, match=f"WORLD_SIZE={size} RANK={rank}: start several processes by torchrun, or unset WORLD_SIZE"
    ):
        world_from_environment()


@pytest.mark.parametrize("gpu_ids", ["", "-1", "0"])
def test_one_device_starts_no_processes_and_is_left_to_the_engine_to_look_for(
    gpu_ids: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert distributed.launch_if_several(failing, (), gpu_ids) is None
    assert not caplog.records, "the engine says what it found: twice the same line"


@pytest.mark.parametrize("waits_forever", [True, False])
def test_group_outlives_its_end_where_its_deletion_may_not_end(
    waits_forever: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``torch`` before 2.8; newer ones delete it. See ``_WAITS_FOREVER``."""
    monkeypatch.setattr(distributed, "_WAITS_FOREVER", waits_forever)
    monkeypatch.setattr(distributed, "_left", [])
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    gradients = distributed.group_for_gradients(CPU)
    groups = [weakref.ref(each) for each in (dist.group.WORLD, gradients)]
    del gradients
    distributed.stop()
    gc.collect()
    assert not dist.is_initialized()
    assert [group() is not None for group in groups] == [waits_forever] * 2
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'again'}", rank=0, world_size=1)
    distributed.stop()
