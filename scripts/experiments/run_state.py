"""How far one run of a table is: from its folders alone, so that a stopped table goes on where it stood."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data import DATASETS
from models import MODELS
from options.files import PLACE, VOLATILE
from options.metric_options import MetricOptions
from options.parse import Options, parse_train
from options.schema import specs
from options.train_options import LogOptions, LoopOptions
from util.metrics.measurement import FILE_NAME, Measurement, read_measurements
from util.run_folder import holds_run, is_training

RESULT_FOLDER, DOMAIN = "test_latest", "B"

_BESIDE = {*specs(LogOptions), *specs(LoopOptions)} - VOLATILE.keys()
"""Options of what a training leaves behind beside its weights: logs, pictures, more checkpoints."""
_NO_MATTER = {*VOLATILE, *PLACE, *_BESIDE, "cache"} - {"dataroot"}
"""Options that may differ: the trained weights do not depend on them."""


class Stage(enum.Enum):
    """What is left to train."""

    NEW = "not started"
    LOST = "stopped before its first checkpoint"
    INTERRUPTED = "interrupted"
    TRAINED = "trained"


class _State(NamedTuple):
    """What a checkpoint says of its run: its place, and the evaluations since the best one (for ``--early_stop``)."""

    progress: dict[str, int]
    waited: int


@dataclass(frozen=True)
class RunFiles:
    """The folders of one run, and what they tell.

    Attributes:
        options: what is asked for; its ``run.name`` names the folders.
        results: folder of the run's results.
    """

    options: Options
    results: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of its checkpoints."""
        return Path(self.options.run.checkpoints_dir) / self.options.run.name

    def finish_save(self) -> None:
        """Finish a save that was cut off, as ``test.py`` does."""
        from util.checkpoint import Checkpointer

        if self.checkpoints.is_dir() and not is_training(self.checkpoints):
            Checkpointer(self.checkpoints).finish_save()

    def stage(self) -> Stage:
        """What is left to train.

        Raises:
            ValueError: the run there was trained with other options, or it cannot be continued.
        """
        folder = self.checkpoints
        if not holds_run(folder):
            return Stage.NEW
        self._check_same()
        state = self._state()
        if state is None:
            if any(folder.glob("*.pth")):
                raise ValueError(f"{folder} has checkpoints but no latest_state.pth; {_REMEDY}")
            return Stage.LOST
        from util.plan import Plan
        from util.progress import Progress

        plan = Plan(steps_per_epoch=1, **vars(self.options.schedule))  # finished() does not use steps_per_epoch
        done = plan.finished(Progress(**state.progress)) or 0 < self.options.eval.early_stop <= state.waited
        return Stage.TRAINED if done else Stage.INTERRUPTED

    def without_effect(self) -> list[str]:
        """Options on the command line that say something else than when the run was trained, and come too late:
        ``--save_epoch_freq 1``. For a run that is ``TRAINED``."""
        values, saved = self.options.values, self._saved_options()
        late = (flag for flag in self.options.given & _BESIDE if saved.get(flag, values[flag]) != values[flag])
        return [f"--{flag} {_shown(values[flag])}" for flag in sorted(late)]

    def counts(self) -> tuple[int, int] | None:
        """Optimizer steps, and images shown with repetitions counted, until now; None without a checkpoint."""
        state = self._state()
        return (state.progress["steps"], state.progress["total_iters"]) if state else None

    def is_tested(self) -> bool:
        """Whether the results are those of the last checkpoint."""
        page, state = self.results / RESULT_FOLDER / "index.html", self.checkpoints / "latest_state.pth"
        return _not_older(page, state)

    def is_evaluated(self, names: Sequence[str]) -> bool:
        """Whether all of these numbers (full names, ``kid_inception``) were measured with the settings that are asked
        for, and on the results of now."""
        page, file = self.results / RESULT_FOLDER / "index.html", self.results / FILE_NAME
        found = {each.name for each in self.measurements() if is_measured_with(each, self.options.metric)}
        return _not_older(file, page) and set(names) <= found

    def measurements(self) -> list[Measurement]:
        """The numbers of its last checkpoint.

        Raises:
            ValueError: ``metrics.json`` is damaged.
        """
        found = read_measurements(self.results / FILE_NAME)
        return [each for each in found if each.folder == RESULT_FOLDER and each.domain == DOMAIN]

    def _check_same(self) -> None:
        file = self.checkpoints / "train_opt.json"
        if not file.is_file():
            raise ValueError(f"{self.checkpoints} holds a run without train_opt.json; {_REMEDY}")
        found = differences(self.options.values, self._saved_options())
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise ValueError(
                f"{self.checkpoints} was trained with other options: {', '.join(found[:3])}{more}; "
                f"repeat the command it was made by, or {_REMEDY}"
            )

    def _saved_options(self) -> Mapping[str, Any]:
        return parse_train(["--config", str(self.checkpoints / "train_opt.json")], MODELS, DATASETS).values

    def _state(self) -> _State | None:
        import torch

        file = self.checkpoints / "latest_state.pth"
        if not file.is_file():
            return None
        try:  # memory-mapped: the optimizers' tensors, most of the file, are not read
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            keys = ("epoch", "epoch_iter", "total_iters", "steps")
            waited = int(state.get("evaluation", {}).get("waited", 0))
            return _State({key: int(state["progress"][key]) for key in keys}, waited)
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{file}: damaged or not the state of a run ({reason}); {_REMEDY}") from error


_REMEDY = "keep it and give another --name PREFIX, or delete this folder to train it again"


def is_measured_with(each: Measurement, o: MetricOptions) -> bool:
    """Whether a number's protocol is that of these options. Extractor and backbone of LPIPS are part of its name."""
    fake, real, source = (each.protocol.get(side, {}).get("n", 0) for side in ("fake", "real", "source"))
    wanted: dict[str, Any] = {}
    if each.short in ("kid", "mean_kid"):  # a subset has no more images than the smaller side
        sizes = [min(o.kid_subset_size, fake, other) for other in (real, source)]
        wanted = {"subset_size": sizes[0] if each.short == "kid" else sizes}
        wanted |= {"subsets": o.kid_subsets, "seed": o.metric_seed}
    elif each.short == "is":  # a split has two images or more
        wanted = {"splits": max(1, min(o.is_splits, fake // 2)), "seed": o.metric_seed}
    return all(each.protocol.get(key) == value for key, value in wanted.items())


def differences(asked: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """``--flag was 1, is 2 now`` for every option that changes what is trained; paths are compared as places."""
    ignored = set(_NO_MATTER)
    if not asked.get("eval_freq") and not saved.get("eval_freq"):  # nothing was measured while training
        ignored |= specs(MetricOptions).keys()
    found = []
    for key, now in sorted(asked.items()):
        before = saved.get(key, now)
        same = _same_place(before, now) if key == "dataroot" else before == now
        if key not in ignored and not same:
            found.append(f"--{key} was {_shown(before)}, is {_shown(now)} now")
    return found


def _same_place(a: Any, b: Any) -> bool:
    return Path(a).resolve() == Path(b).resolve()


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return "empty" if value == "" else str(value)


def _not_older(file: Path, than: Path) -> bool:
    return file.is_file() and than.is_file() and file.stat().st_mtime_ns >= than.stat().st_mtime_ns
