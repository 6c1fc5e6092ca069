"""The benchmark of AU-GAN's shared forward passes measures what it says."""

from __future__ import annotations

import json

from benchmarks import augan_forwards

SMALL = ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--gpu_ids", "-1", "--crop_size", "32"]


def test_what_is_not_shared_costs_work(capsys) -> None:
    work = {}
    for way in augan_forwards.WAYS:
        argv = [*SMALL, "--seconds", "0.05", "--variants", "paper", "--way", way]
        assert augan_forwards.main(argv) == 0
        row = json.loads(capsys.readouterr().out)
        assert row["ms"] > 0 and row["memory_mb"] > 0
        work[way] = row["gflop"]
    assert work["shared"] < work["every branch"] < work["again for D"]
