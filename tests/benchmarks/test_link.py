"""The ways that ``benchmarks.link`` compares compute one mean, and its table is right."""

from __future__ import annotations

import subprocess

import pytest

import train
from benchmarks import link
from util.run import distributed

WAYS = ["afterwards", "during", "during, bf16", "no exchange"]
SMALL = ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--crop_size", "32", "--model", "cycle_gan"]


def means_of_each_way() -> dict[str, list[float]]:
    """The gradients of ``rank + 1`` for every parameter of both optimizers: their mean is 1.5."""
    model = train.build_model(["--dataroot", "none", "--gpu_ids", "-1", "--load_size", "32", *SMALL], 8)
    found = {}
    for way, averages in link.ways_of(model).items():
        model.gradient_averages = averages
        for net in model.networks.values():
            net.requires_grad_(True)
        parameters = [p for net in model.networks.values() for p in net.parameters()]
        for name, optimizer in model.optimizers.items():
            optimizer.zero_grad()
            average = averages.get(name)
            if average:
                with average.sending():
                    owned = [p for group in optimizer.param_groups for p in group["params"]]
                    sum(((model.engine.world.rank + 1) * p).sum() for p in owned).backward()
                average.receive()
        found[way] = sorted({float(value) for p in parameters if p.grad is not None for value in p.grad.unique()})
    distributed.barrier()
    distributed.stop()
    return found


@pytest.mark.slow
def test_every_way_gives_the_mean(two_processes):
    for found in two_processes.call(means_of_each_way):
        assert found == {"afterwards": [1.5], "during": [1.5], "during, bf16": [1.5], "no exchange": []}


@pytest.mark.slow
def test_two_processes_measure_together(two_processes):
    first, second = two_processes.call(link.measure, 2, 60.0, SMALL)
    assert first["steps"] == second["steps"] and list(first["steps"]) == WAYS
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in first["steps"].values())
    assert first["mbit_per_s"] > 0


def test_the_table_has_medians_and_their_ratios():
    steps = {"afterwards": [3.0, 2.0, 9.0], "during": [1.5, 2.5, 1.0]}
    rows = link.table("--model x", {"steps": steps, "gradients_mb": 113.2, "mbit_per_s": 190.6})
    assert rows[2:] == [
        "| --model x | 113 | 191 | afterwards | 3.00 (2.00 to 9.00) | 1.00 |",
        "| --model x | 113 | 191 | during | 1.50 (1.00 to 2.50) | 2.00 |",
    ]


def test_a_command_that_fails_is_named_and_everything_is_taken_away(monkeypatch, capsys):
    asked = []

    def run(command, **settings):
        asked.append(list(command))
        code = 2 if "tbf" in command else 0
        return subprocess.CompletedProcess(command, code, "", "Operation not permitted")

    monkeypatch.setattr(subprocess, "run", run)
    assert link.main(["--rate", "200mbit"]) == 1
    assert "Operation not permitted (it needs root on Linux; --rate none does without)" in capsys.readouterr().err
    made = [command[3] for command in asked if command[:3] == ["ip", "netns", "add"]]
    assert len(made) == 2 and [command[3] for command in asked[-2:]] == made
    assert all(command[:3] == ["ip", "netns", "del"] for command in asked[-2:])
