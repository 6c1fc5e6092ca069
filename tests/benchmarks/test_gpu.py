"""The parts of the GPU benchmark that a CPU can run; what only CUDA has is skipped there, with the reason."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu, gpu_cells
from benchmarks.gpu import Cell
from benchmarks.gpu_cells import MODES, DevicePool, SplitStep
from util.images.pool import ImagePool

CPU = torch.device("cpu")


def run(kind: str, name: str, batch: int = 0, mode: str = "") -> dict[str, Any]:
    return gpu.run_cell(Cell(kind, name, batch, mode), "cpu", True, 0.02)


@pytest.mark.parametrize("mode", ["fp32", "bf16 channels_last"])
def test_step_is_measured(mode: str) -> None:
    found = run("step", "pix2pix", 2, mode)["values"]
    assert found["images_per_s"] == pytest.approx(2 / found["seconds"])
    assert found["tflops"] > 0 and found["peak_mb"] > 0


def test_what_needs_cuda_is_skipped_with_the_reason() -> None:
    assert run("step", "sagan", 1, gpu.BEST) == {"skipped": "a CUDA graph needs an NVIDIA GPU"}
    assert run("step", "atme", 1, "tf32") == run("limit", "tf32", 1) == {"skipped": "tf32 needs an NVIDIA GPU"}
    assert "skipped" in run("check", "graph")


def test_limits_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measure.PLAIN", ((4, 16),))
    assert all(value > 0 for value in run("limit", "fp32", 1)["values"].values())


def test_failure_of_a_cell_is_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu_cells.SMALL, "pix2pix", {"netG": "unet_256", "ngf": 1, "ndf": 1})
    assert run("step", "pix2pix", 1, "fp32")["failed"].startswith("ValueError: ")


def test_golden_network_is_recognised_and_another_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_cells.check_golden(CPU, names=("D_basic_batch",))["D_basic_batch"] < 1e-4
    monkeypatch.setattr(gpu_cells, "fill", lambda net: net)
    with pytest.raises(AssertionError, match="apart: "):
        gpu_cells.check_golden(CPU, names=("D_basic_batch",))


def test_equality_checks_notice_a_device_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_cells, "OPTIONS", {"pix2pix": {}, "sagan": gpu_cells.OPTIONS["sagan"]})
    assert max(gpu_cells.check_against_cpu(CPU).values()) <= 1e-3
    assert gpu_cells.check_resume(CPU) == {"pix2pix": 0.0, "sagan": 0.0}
    draws = iter(range(1000))
    monkeypatch.setattr(gpu_cells, "seed_everything", lambda seed: torch.manual_seed(next(draws)))
    with pytest.raises(AssertionError, match="apart"):
        gpu_cells.check_against_cpu(CPU)
    monkeypatch.setattr(gpu_cells, "seed_step", lambda *words: torch.manual_seed(next(draws)))
    with pytest.raises(AssertionError, match="not equal after resuming"):
        gpu_cells.check_resume(CPU)


def test_pool_on_the_device_exchanges_as_the_pool_of_a_training() -> None:
    expected, pool = ImagePool(5, random.Random(3)), DevicePool(5, random.Random(3))
    for number in range(12):
        images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2) + 10 * number
        pool.draw(images)
        assert torch.equal(pool.query(images), expected.query(images))


@pytest.mark.parametrize("name", gpu.MODELS)
def test_split_step_is_the_step_of_a_training(name: str) -> None:
    """The first losses; SAGAN's classes are drawn in another way."""
    batch = gpu_cells.make_batch(name, 2, CPU, small=True)
    losses = []
    for split in (False, True):
        model = gpu_cells.make_model(name, MODES["fp32"], CPU, small=True)
        torch.manual_seed(1)
        if split:
            step = SplitStep(model, batch)
            torch.manual_seed(1)
            step.eager()
            losses.append(step.losses)
        else:
            model.set_input(batch)
            losses.append(model.optimize_parameters())
    for key in losses[0] if name != "sagan" else ("D_real",):
        torch.testing.assert_close(losses[1][key], losses[0][key])


WORKER = """
import json, os, sys, time
for cell in json.loads(sys.stdin.readline()):
    if cell["name"] == "hangs":
        time.sleep(60)
    if cell["name"] == "dies":
        os._exit(3)
    print("noise")
    print("gpu.py result: " + json.dumps({"values": {"seconds": 1.0}}), flush=True)
"""


def test_worker_that_hangs_or_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "START_SECONDS", 3.0)
    monkeypatch.setitem(gpu.SECONDS, "step", 0.0)
    cells = [Cell("check", "a"), Cell("check", "dies"), Cell("step", "hangs"), Cell("check", "b")]
    found = dict(gpu.measured(cells, [sys.executable, "-c", WORKER], 1.0))
    assert [each.get("failed", "") for each in found.values()][::3] == ["", ""]
    assert found[cells[1]]["failed"] == "the process ended with exit code 3"
    assert found[cells[2]]["failed"] == "not done after 3 s"
    assert found[cells[3]]["values"] == {"seconds": 1.0}


def test_time_that_is_over_leaves_the_rest_out() -> None:
    cells = [Cell("step", "a"), Cell("step", "b")]
    assert list(gpu.measured(cells, ["unused"], 0.0)) == [(cell, {"skipped": "the time was over"}) for cell in cells]


def test_tables_are_written(tmp_path: Path) -> None:
    values = {"seconds": 0.02, "images_per_s": 800.0, "tflops": 30.0, "peak_mb": 1234.0, "busy": 0.4, "kernels": 900}
    results = {
        Cell("check", "golden"): {"values": {"unet": 2e-5}, "took": 1.0},
        Cell("limit", "bf16", 16): {"values": {"matmul": 700.0, "conv": 300.0}, "took": 1.0},
        Cell("step", "pix2pix", 16, "bf16"): {"values": values, "took": 1.0},
        Cell("step", "pix2pix", 16, "fp32"): {"values": {**values, "seconds": 0.05}, "took": 1.0},
        Cell("step", "pix2pix", 16, "tf32"): {"failed": "out of memory", "took": 1.0},
        Cell("step", "pix2pix", 48, "fp32"): {"skipped": "the time was over"},
    }
    gpu.write(tmp_path, results, {"device": "G1"})
    text = (tmp_path / "results.md").read_text()
    assert "- device: G1\n" in text and "| golden | passed: unet 2e-05 |" in text
    assert "| pix2pix | 16 | bf16 | 20.00 | 800 | 2.50 | 30 | 0.10 | 1234 | 40 % | 900 |" in text
    assert "| pix2pix | 16 | tf32 | failed: out of memory |" in text and "did not suffice for 1 cells" in text
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["cells"][0] == {
        "kind": "check",
        "name": "golden",
        "batch": 0,
        "mode": "",
        "took": 1.0,
        "values": {"unet": 2e-5},
    }


def test_every_cell_is_there_once() -> None:
    cells = gpu.all_cells()
    steps = {(cell.name, cell.batch, cell.mode) for cell in cells if cell.kind == "step"}
    eager = [mode for mode in MODES if "compile" not in mode]
    wanted = {(name, batch, mode) for name in gpu.MODELS for batch in (1, 16, 48) for mode in eager}
    assert len(cells) == len(set(cells)) and steps == wanted | {(name, 1, gpu.COMPILED) for name in gpu.MODELS}


def test_bad_flags_end_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, reason in (
        ("--batches 4", "--batches 4: expected at least two"),
        ("--models x", "--models x: expected"),
    ):
        assert gpu.main(["--device", "cpu", "--output", str(tmp_path / "out"), *flags.split()]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_models_need_no_package_but_torch_and_numpy() -> None:
    code = textwrap.dedent("""
        import importlib.util, sys
        real = importlib.util.find_spec
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("PIL", "tqdm", "torchvision", "scipy", "dominate"):
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Refuse())
        importlib.util.find_spec = lambda name: None if name in ("PIL", "tqdm") else real(name)
        from benchmarks import gpu
        gpu.do_without()
        import benchmarks.gpu_cells
        from models import MODELS
        for name in gpu.MODELS:
            MODELS.get(name)
    """)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=gpu.REPO)
