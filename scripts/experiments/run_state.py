"""How far one run of a table is: from its folders alone, so that a stopped table goes on where it stood."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

_NO_MATTER = {*VOLATILE, *PLACE, "cache", *specs(LogOptions), *specs(LoopOptions)} - {"dataroot"}
"""Options that may differ: the trained weights do not depend on them."""


class Stage(enum.Enum):
    """What is left to train."""

    NEW = "not started"
    LOST = "stopped before its first checkpoint"
    INTERRUPTED = "interrupted"
    TRAINED = "trained"


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
        progress = self._progress()
        if progress is None:
            if any(folder.glob("*.pth")):
                raise ValueError(f"{folder} has checkpoints but no latest_state.pth; {_REMEDY}")
            return Stage.LOST
        from util.plan import Plan
        from util.progress import Progress

        plan = Plan(steps_per_epoch=1, **vars(self.options.schedule))  # finished() does not use steps_per_epoch
        return Stage.TRAINED if plan.finished(Progress(**progress)) else Stage.INTERRUPTED

    def counts(self) -> tuple[int, int] | None:
        """Optimizer steps, and images shown with repetitions counted, until now; None without a checkpoint."""
        progress = self._progress()
        return (progress["steps"], progress["total_iters"]) if progress else None

    def is_tested(self) -> bool:
        """Whether the results are those of the last checkpoint."""
        page, state = self.results / RESULT_FOLDER / "index.html", self.checkpoints / "latest_state.pth"
        return _not_older(page, state)

    def is_evaluated(self, names: Sequence[str]) -> bool:
        """Whether all of these numbers (full names, ``kid_inception``) were measured, and on the results of now."""
        page, file = self.results / RESULT_FOLDER / "index.html", self.results / FILE_NAME
        return _not_older(file, page) and set(names) <= {each.name for each in self.measurements()}

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
        saved = parse_train(["--config", str(file)], MODELS, DATASETS).values
        found = differences(self.options.values, saved)
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise ValueError(
                f"{self.checkpoints} was trained with other options: {', '.join(found[:3])}{more}; "
                f"repeat the command it was made by, or {_REMEDY}"
            )

    def _progress(self) -> dict[str, int] | None:
        import torch

        file = self.checkpoints / "latest_state.pth"
        if not file.is_file():
            return None
        try:  # memory-mapped: the optimizers' tensors, most of the file, are not read
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            return {key: int(state["progress"][key]) for key in ("epoch", "epoch_iter", "total_iters", "steps")}
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{file}: damaged or not the state of a run ({reason}); {_REMEDY}") from error


_REMEDY = "keep it and give another --name PREFIX, or delete this folder to train it again"


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
