"""``--profile`` through train.py: a trace and a table, once, and the training is the same as without."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import train
from tests.runs import arguments
from util.run.profile import TRACE_FILE, harmless_left_out

SHORT = ["--n_epochs_decay", "0", "--no_html"]


@pytest.mark.parametrize("accum_grad", ["1", "2"])
def test_profile_is_written_and_changes_nothing(
    accum_grad: str,
    workdir: Path,
    dataroot: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    flags = [*SHORT, "--accum_grad", accum_grad]
    assert train.main(arguments(dataroot, *flags, name="plain", epochs="2")) == 0
    assert train.main(arguments(dataroot, *flags, "--profile", "1", name="seen", epochs="2")) == 0
    folder = workdir / "checkpoints"
    assert caplog.text.count("profile of 1 step: ") == 1 and "waiting for data: " in caplog.text
    names = [event.get("name") for event in json.loads((folder / "seen" / TRACE_FILE).read_text())["traceEvents"]]
    assert names.count("Optimizer.step#Adam.step") == 2  # D's and G's
    networks = [(folder / name / "latest_net_G.pth").read_bytes() for name in ("plain", "seen")]
    assert networks[0] == networks[1]
    said = capfd.readouterr().err
    assert "USDT" not in said and "gpuGetDeviceCount" not in said


def test_other_errors_of_the_profiler_are_seen(capfd: pytest.CaptureFixture[str]) -> None:
    head = "ERROR:2026-11-30 13:10:18 1138:1138 DeviceProperties.cpp:56]"
    with harmless_left_out():
        print("of Python", file=sys.stderr)
        os.write(2, f"{head} gpuGetDeviceCount failed with code 35\n{head} out of memory\n".encode())
        os.write(2, b"USDT:2026-11-30 13:10:18 1:1 SyncActivityProfilerHandler.cpp:39] profiler_start\nlast")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == f"of Python\n{head} out of memory\nlastafter\n"


def test_run_that_is_too_short_to_profile_is_warned_of(
    workdir: Path, dataroot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = [*SHORT, "--batch_size", "4", "--profile", "5"]
    assert train.main(arguments(dataroot, *flags, epochs="1")) == 0
    assert "warning: --profile 5: the run ended after 2 steps, and the first 3 are not profiled" in caplog.text
    assert not (workdir / "checkpoints" / "run" / TRACE_FILE).exists()
