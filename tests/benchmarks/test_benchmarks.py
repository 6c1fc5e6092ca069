from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import measure, train_step


def test_flops_of_a_convolution_are_the_closed_form():
    net, image = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.zeros(2, 3, 8, 8)
    forward = 2 * 2 * 5 * 3 * 9 * 64  # 2 * N * C_out * C_in * k^2 * H * W
    assert measure.count_flops(lambda: net(image)) == forward


def test_a_setting_is_measured(capsys):
    flags = ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--batch_size", "1", "--precision", "fp32"]
    argv = ["--json", "--crop_size", "32", "--seconds", "0.1", "--gpu_ids", "-1", *flags]
    assert train_step.main(argv) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["share"] == pytest.approx(result["gflop_per_s"] / result["conv_gflop_per_s"])
    assert result["images_per_s"] > 0 and result["memory_mb"] > 0


SMALL_ATME = [
    *("--netG", "unet_256_ddm", "--dim", "8", "--init_dim", "8", "--groups", "4", "--dim_mults", "1,2", "--ndf", "4"),
    *("--crop_size", "32", "--gpu_ids", "-1", "--seconds", "0.1", "--precision", "fp32"),
]


def test_atme_is_measured_without_and_with_checkpointing(capsys):
    found = {}
    for checkpointing in ("off", "on"):
        argv = ["--json", *SMALL_ATME, "--batch_size", "2", "--checkpointing", checkpointing]
        assert train_step.main(argv) == 0
        found[checkpointing] = json.loads(capsys.readouterr().out)
    off, on = found["off"], found["on"]
    assert off["images_per_s"] == pytest.approx(2 / off["seconds_per_step"])
    assert 1.05 < on["gflop_per_step"] / off["gflop_per_step"] < 1.4  # forward of G again, a third of its step


def test_a_generator_is_trained_by_the_model_that_has_it():
    by_name = {name: train_step.Setting(name, "on", "bf16", 3).train_words([]) for name in ("unet_256_ddm", "unet_256")}
    for name, model in (("unet_256_ddm", "atme"), ("unet_256", "pix2pix")):
        assert by_name[name][by_name[name].index("--model") + 1] == model
    given = train_step.Setting("unet_256", "off", "fp32", 1).train_words(["--model", "edge"])
    assert given[-2:] == ["--model", "edge"] and "--activation_checkpointing" not in given  # the last one counts
    assert "--activation_checkpointing" in by_name["unet_256_ddm"]


def test_checkpointing_doubles_the_rows_of_atme_only(monkeypatch, capsys):
    """Each row is measured in a process of its own; here one that takes 30 MB an image, or 10."""
    asked = []

    def run(command, **settings):
        words = dict(zip(command[4::2], command[5::2]))
        asked.append((words["--netG"], words["--checkpointing"], words["--precision"], words["--batch_size"]))
        each = 10 if words["--checkpointing"] == "on" else 30
        numbers = dict.fromkeys(("images_per_s", "gflop_per_step", "gflop_per_s", "conv_gflop_per_s", "share"), 1.0)
        report = json.dumps({**numbers, "memory_mb": 100 + each * int(words["--batch_size"]), "machine": "a laptop"})
        return subprocess.CompletedProcess(command, 0, stdout=f"a line before\n{report}\n", stderr="")

    monkeypatch.setattr(train_step.subprocess, "run", run)
    words = ["--netG", "unet_256,unet_256_ddm", "--checkpointing", "off,on", "--batch_size", "1,8"]
    assert train_step.main([*words, "--precision", "bf16"]) == 0
    assert asked == [
        (netG, checkpointing, "bf16", batch)
        for netG, checkpointing in (("unet_256", "off"), ("unet_256_ddm", "off"), ("unet_256_ddm", "on"))
        for batch in ("1", "8")
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == train_step.HEADER
    assert lines[-3:] == [
        "| unet_256 | bf16 | 1 and 8 | 30 |",
        "| unet_256_ddm | bf16 | 1 and 8 | 30 |",
        "| unet_256_ddm, checkpointing | bf16 | 1 and 8 | 10 |",
    ]


def test_rows_are_kept_and_written_into_a_page(tmp_path: Path, monkeypatch, capsys):
    """The page has the rows of all calls, and nothing is measured twice."""
    asked = []

    def run(command, **settings):
        asked.append(dict(zip(command[4::2], command[5::2]))["--batch_size"])
        rates = {"images_per_s": 2.0, "gflop_per_step": 80.0, "gflop_per_s": 160.0, "conv_gflop_per_s": 320.0}
        report = json.dumps({**rates, "share": 0.5, "memory_mb": 100.0, "machine": "a laptop, torch 2.14.1"})
        return subprocess.CompletedProcess(command, 0, stdout=report, stderr="")

    monkeypatch.setattr(train_step.subprocess, "run", run)
    page, results = tmp_path / "page.md", tmp_path / "new" / "rows.jsonl"
    page.write_text("# Speed\n<!-- table speed: begin -->\nold\n<!-- table speed: end -->\nend\n")
    common = ["--netG", "unet_256", "--precision", "fp32", "--results", str(results), "--lr", "0.1"]
    assert train_step.main([*common, "--batch_size", "1"]) == 0
    written = ["--output", str(page), "--block", "speed"]
    assert train_step.main([*common, "--batch_size", "8", *written]) == 0
    assert asked == ["1", "8"] and len(results.read_text().splitlines()) == 2
    lines = page.read_text().splitlines()
    assert lines[:4] == ["# Speed", "<!-- table speed: begin -->", "", train_step.HEADER]
    assert lines[5:7] == [f"| unet_256 | {batch} | fp32 | 2.00 | 80.0 | 160 | 320 | 0.50 | 100 |" for batch in (1, 8)]
    assert lines[10] == "| unet_256 | fp32 | 1 and 8 | 0 |" and lines[-1] == "end"
    assert any(line.startswith("- 256x256 pixels, --lr 0.1; a laptop, torch 2.14.1; 20") for line in lines)
    assert train_step.main([*common, "--batch_size", "8,1", *written]) == 0
    assert asked == ["1", "8"] and page.read_text().splitlines() == lines
    capsys.readouterr()
    assert train_step.main([*common, "--output", str(page), "--block", "sped"]) == 2
    assert "--block sped" in capsys.readouterr().err and asked == ["1", "8"]
    assert train_step.main([*common, "--output", str(page)]) == 2
    assert "belong together" in capsys.readouterr().err


def test_one_batch_size_says_nothing_of_an_image():
    assert train_step.memory_rows({train_step.Setting("unet_256", "off", "fp32", 1): 100.0}) == []


def test_a_setting_that_fails_is_named(monkeypatch, capsys):
    killed = subprocess.CompletedProcess([], -9, stdout="", stderr="")
    monkeypatch.setattr(train_step.subprocess, "run", lambda command, **settings: killed)
    assert train_step.main(["--netG", "unet_256_ddm", "--batch_size", "64"]) == 1
    assert "unet_256_ddm, batch 64, fp32: failed with exit code -9" in capsys.readouterr().err
