"""The fastest setting whose losses agree is found, kept, and read again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.two_processes import TwoProcesses
from util.run import distributed, speed
from util.run.engine import start_engine
from util.run.speed import Setting

CPU = torch.device("cpu")


class Clock:
    """Time that passes only where a step says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(speed, "time", made)
    return made


def try_all(clock: Clock, known: Mapping[Setting, tuple[float, float]], threads: list[int]) -> list[speed.Trial]:
    """Try settings whose steps take these seconds and report these losses."""

    def make_step(setting: Setting) -> speed.Step:
        seconds, loss = known[setting]

        def step() -> dict[str, Tensor]:
            clock.now += seconds
            return {"G": torch.tensor(loss)}

        return step

    settings = list(dict.fromkeys(Setting(s.precision, s.channels_last, s.compile) for s in known))
    return speed.try_all(settings, threads, make_step, lambda value: [value])


def test_fastest_setting_is_kept_with_the_best_number_of_threads(clock: Clock) -> None:
    known = {
        Setting(threads=2): (1.0, 5.0),
        Setting(threads=1): (0.8, 5.0),
        Setting(channels_last=True, threads=1): (0.5, 5.01),
        Setting("bf16", threads=1): (0.6, 5.1),
    }
    trials = try_all(clock, known, [2, 1])
    assert [trial.setting for trial in trials] == list(known)
    assert speed.chosen(trials) == Setting(channels_last=True, threads=1)
    assert speed.table(trials) == [
        "  fp32 2 threads                 1.0000 s/step   1.00x",
        "  fp32 1 thread                  0.8000 s/step   1.25x",
        "  fp32 channels_last 1 thread    0.5000 s/step   2.00x  <- kept",
        "  bf16 1 thread                  0.6000 s/step   1.67x",
    ]


def test_faster_setting_with_other_losses_is_refused(clock: Clock) -> None:
    # 5 % of 5 and the floor of 0.02 allow a difference of 0.27
    trials = try_all(clock, {Setting(): (1.0, 5.0), Setting("bf16"): (0.1, 5.28), Setting("tf32"): (0.9, 4.74)}, [])
    assert [trial.verdict for trial in trials] == ["", "G 5.28, not 5", ""]
    assert speed.chosen(trials) == Setting("tf32")


def test_loss_that_is_not_a_number_is_refused(clock: Clock) -> None:
    trials = try_all(clock, {Setting(): (1.0, 5.0), Setting("bf16"): (0.1, float("nan"))}, [])
    assert speed.chosen(trials) == Setting()


def test_without_any_finite_loss_the_first_is_kept(clock: Clock) -> None:
    nan = float("nan")
    trials = try_all(clock, {Setting(threads=2): (1.0, nan), Setting(threads=1): (0.5, nan)}, [2, 1])
    assert speed.chosen(trials) == Setting(threads=2)


def test_a_compiler_that_does_not_work_is_no_reason_to_stop() -> None:
    def make_step(setting: Setting) -> speed.Step:
        def step() -> dict[str, Tensor]:
            if setting.compile:
                raise RuntimeError("no C++ compiler\nand more")
            return {"G": torch.tensor(5.0)}

        return step

    settings = [Setting(), Setting(compile=True)]
    trials = speed.try_all(settings, [], make_step, lambda value: [value])
    assert speed.chosen(trials) == Setting()
    assert speed.table(trials)[1] == "  fp32 compile    0.0000 s/step   0.00x  failed: no C++ compiler"
    with pytest.raises(RuntimeError, match=r"no C\+\+ compiler"):  # the others would wait
        speed.try_all(settings, [], make_step, lambda value: [value, value])


def trials_of_a_rank() -> list[tuple[Setting, float, str]]:
    """Of two processes; the first alone would keep bf16, the second alone would give it up."""
    engine = start_engine(gpu_ids="-1")

    def make_step(setting: Setting) -> speed.Step:
        lower = setting.precision == "bf16"
        return lambda: {"G": torch.tensor(5.0 + 1.5 * lower * engine.world.rank)}

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speed, "HOPELESS", 1e9)  # steps that take no time differ by any factor
            trials = speed.try_all([Setting(), Setting("bf16"), Setting("tf32")], [], make_step, engine.gather)
    finally:
        distributed.stop()
    return [(trial.setting, trial.seconds, trial.verdict) for trial in trials]


def test_two_processes_judge_alike(two_processes: TwoProcesses) -> None:
    first, second = two_processes.call(trials_of_a_rank)
    assert first == second
    assert [verdict for *_, verdict in first] == ["", "G 5.75, not 5", ""]


def test_much_slower_setting_is_not_tried_to_its_end(clock: Clock) -> None:
    trials = try_all(clock, {Setting(): (1.0, 5.0), Setting("bf16"): (4.0, 5.0)}, [])
    assert trials[1].verdict.startswith("more than 3 times")
    assert clock.now == 18 * 1.0 + 4 * 4.0  # three steps to warm up, and one more


def test_candidates_follow_the_device_and_the_flags() -> None:
    def words(device: str, **settings: Any) -> list[str]:
        return [str(each) for each in speed.settings_for(torch.device(device), **settings)]

    assert words("cpu", compile=False, precision="fp32") == ["fp32", "fp32 channels_last", "bf16", "bf16 channels_last"]
    assert words("cpu", compile=True, precision="auto")[1] == "fp32 compile"
    assert len(words("cuda", compile=False, precision="fp32")) == 12
    assert words("cuda", compile=False, precision="fp16")[-1] == "fp16 channels_last compile"


def test_setting_is_kept_with_the_run(tmp_path: Path) -> None:
    assert speed.read_setting(tmp_path) is None
    setting = Setting("bf16", True, False, 2)
    speed.write_setting(tmp_path, setting, [speed.Trial(setting, 0.5, {"G": 1.0})])
    assert speed.read_setting(tmp_path) == setting
    assert json.loads((tmp_path / "speed.json").read_text())["tried"][0]["seconds"] == 0.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kept": {"precision": "bf16"}}'])
def test_unreadable_setting_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "speed.json").write_text(text)
    with pytest.raises(ValueError, match=r"speed.json: not readable .*delete it to choose again"):
        speed.read_setting(tmp_path)


def test_gain_is_measured_without_touching_random_numbers() -> None:
    before = torch.get_rng_state()
    assert 0 < speed.bf16_gain(CPU) < 100
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("gain", "precision"), [(1.9, "bf16"), (1.05, "fp32"), (0.1, "fp32")])
def test_precision_follows_the_measured_gain(monkeypatch: pytest.MonkeyPatch, gain: float, precision: str) -> None:
    monkeypatch.setattr(speed, "bf16_gain", lambda device: gain)
    assert speed.fastest_precision(CPU) == precision


def test_slow_bf16_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for gain in (0.1, 0.8, 1.5):
            monkeypatch.setattr(speed, "bf16_gain", lambda device, gain=gain: gain)
            speed.warn_of_slow_bf16(CPU)
    assert [record.getMessage() for record in caplog.records] == [
        "warning: --precision bf16: measured here, a convolution takes 10.0 times as long as in fp32; this processor "
        "has no instructions for bf16: use --precision fp32, or auto"
    ]
