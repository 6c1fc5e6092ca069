"""Trains, tests and measures the runs of the gallery, one after the other; what is done is not done again."""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.experiments.grid import Commands, listening
from scripts.experiments.showcase.runs import VGG_WEIGHTS, GalleryRun
from util.exit_code import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERRUPTED, EXIT_TERMINATED
from util.files import replace_text
from util.run.folder import holds_run, make_folder
from util.wording import counted

REPO = Path(__file__).resolve().parents[3]
RECORD = "gallery.json"
"""In the results of a run: what was called, how it ended, what it took."""

STOPPED = (EXIT_INTERRUPTED, EXIT_TERMINATED)
PROGRESS_IMAGES = 2
"""Test images that are translated by every checkpoint."""

_LEAST_MINUTES = 0.2
_SHOWN = (1 / 8, 3 / 8)


@dataclass(frozen=True)
class Call:
    """One call of a program.

    Attributes:
        step: what for: ``train``, ``test``, ``evaluate`` or ``progress``.
        words: of the command line, program first.
        began: local time.
        code: exit code; None while it runs, and for ever if everything was killed.
        seconds: wall time.
        processor: seconds of processor time, children included.
        error: last error line of its output, if it failed.
        where: machine, torch, threads, commit.
    """

    step: str
    words: tuple[str, ...]
    began: str
    code: int | None = None
    seconds: float = 0.0
    processor: float = 0.0
    error: str = ""
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Folders:
    """Where the runs lie.

    Attributes:
        checkpoints: ``--checkpoints_dir``.
        results: ``--results_dir``.
        vgg_weights: file of the VGG16 of the perceptual run; None to have it downloaded.
    """

    checkpoints: Path
    results: Path
    vgg_weights: Path | None = None

    def record(self, run: GalleryRun) -> Path:
        """The file with the calls of a run."""
        return self.results / run.name / RECORD

    def words(self, run: GalleryRun) -> list[str]:
        """The flags that say which run, and where it lies."""
        return ["--name", run.name, "--checkpoints_dir", str(self.checkpoints), "--results_dir", str(self.results)]


Program = Callable[[list[str]], int]
"""Runs a command line, program first; returns the exit code."""


def read_calls(file: Path) -> list[Call]:
    """The calls of a run, in order; empty before the first.

    Raises:
        ValueError: the file is damaged.
    """
    if not file.is_file():
        return []
    try:
        return [
            Call(**{**each, "words": tuple(each["words"])}) for each in json.loads(file.read_text(encoding="utf-8"))
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: damaged ({error}); delete it to train this run again") from None


def is_trained(calls: Sequence[Call]) -> bool:
    """Whether the training has ended well."""
    return any(call.step == "train" and call.code == EXIT_DONE for call in calls)


def left_to_do(
    run: GalleryRun, folders: Folders, minutes: float = 0.0, *, progress: bool = True
) -> list[tuple[str, list[str]]]:
    """(step, words) of what is left of a run; the first is known, the later ones as far as the files tell now.

    Args:
        run: of the gallery.
        folders: where it lies.
        minutes: for the training, all its starts together; 0 for no limit.
        progress: with the translations by earlier checkpoints.
    """
    calls = read_calls(folders.record(run))
    if not is_trained(calls):
        return [("train", _train_words(run, folders, calls, minutes))]
    good = [call if call.code == EXIT_DONE else None for call in calls]
    begin = max(place for place, call in enumerate(good) if call is not None and call.step == "train")
    todo: list[tuple[str, list[str]]] = []
    for step, words in _afterwards(run, folders, progress):
        done = [place for place, call in enumerate(good) if call is not None and list(call.words) == words]
        if max(done, default=-1) < begin:
            todo.append((step, words))
        if step == "test":  # what is measured are its pictures: the numbers must be younger
            begin = len(calls) if todo else max(done)
    return todo


def _train_words(run: GalleryRun, folders: Folders, calls: Sequence[Call], minutes: float) -> list[str]:
    place = ["--checkpoints_dir", str(folders.checkpoints)]
    folder = folders.checkpoints / run.name
    used = sum(call.seconds for call in calls if call.step == "train") / 60
    limit = ["--max_minutes", f"{max(minutes - used, _LEAST_MINUTES):g}"] if minutes else []
    if holds_run(folder) and any(folder.glob("*_state.pth")):
        return ["train.py", "--name", run.name, *place, "--continue_train", *limit]
    words = run.train_words()
    if VGG_WEIGHTS in words:
        at = words.index(VGG_WEIGHTS)
        words[at - 1 : at + 1] = [words[at - 1], str(folders.vgg_weights)] if folders.vgg_weights else []
    over = ["--overwrite"] if holds_run(folder) else []
    return ["train.py", *words, *place, *limit, *over]


def _afterwards(run: GalleryRun, folders: Folders, progress: bool) -> list[tuple[str, list[str]]]:
    where = folders.words(run)
    todo = [("test", ["test.py", *where, *run.test.split()])]
    todo += [("evaluate", ["scripts/evaluate.py", *where, *flags.split()]) for flags in run.measured]
    for epoch in shown_epochs(folders.checkpoints / run.name) if progress else ():
        few = run.test.split() + (["--num_test", str(PROGRESS_IMAGES)] if run.progress else [])
        todo.append(("progress", ["test.py", *where, *few, "--epoch", str(epoch)]))
    return todo


def shown_epochs(folder: Path) -> list[int]:
    """Epochs whose pictures show the progress: checkpoints near an eighth and near three eighths of the last."""
    epochs = sorted({int(name) for file in folder.glob("*_net_*.pth") if (name := file.name.split("_")[0]).isdigit()})
    if not epochs:
        return []
    wanted = [epochs[-1] * share for share in _SHOWN]
    return sorted({min(epochs, key=lambda epoch: abs(epoch - each)) for each in wanted})


def work(
    run: GalleryRun,
    folders: Folders,
    minutes: float = 0.0,
    *,
    progress: bool = True,
    program: Program | None = None,
) -> int:
    """Do what is left of a run.

    Args:
        run: of the gallery.
        folders: where it lies.
        minutes: as in ``left_to_do``.
        progress: likewise.
        program: runs a command line (default: ``run_program``).

    Returns:
        0 done; the exit code of the step that failed, or of the one that was stopped.

    Raises:
        ValueError: the run's record is damaged.
    """
    file = folders.record(run)
    make_folder(file.parent, f"--results_dir {folders.results}")
    done: list[list[str]] = []
    while todo := [
        (step, words) for step, words in left_to_do(run, folders, minutes, progress=progress) if words not in done
    ]:
        step, words = todo[0]
        done.append(words)
        print(f"--- {run.name}: python {shlex.join(words)}", flush=True)
        calls = read_calls(file)
        call = Call(step, tuple(words), datetime.datetime.now().isoformat(timespec="seconds"), where=describe_machine())
        _write(file, [*calls, call])
        call = _timed(call, program or run_program)
        _write(file, [*calls, call])
        if call.code:
            return call.code
    return EXIT_DONE


def _timed(call: Call, program: Program) -> Call:
    before, begin = _processor_seconds(), time.monotonic()
    with listening() as heard:
        code = program(list(call.words))
    gc.collect()  # the networks of this call
    took = {"seconds": round(time.monotonic() - begin, 1), "processor": round(_processor_seconds() - before, 1)}
    error = heard.error if code not in (EXIT_DONE, *STOPPED) else ""
    return Call(**{**asdict(call), "words": call.words, "code": code, "error": error, **took})


def _processor_seconds() -> float:
    return sum(os.times()[:4])  # of this process and of its children


def run_program(words: list[str]) -> int:
    """Run one of this project's programs in this process, which saves loading torch; returns its exit code."""
    commands = Commands()
    call = {"train.py": commands.train, "test.py": commands.test, "scripts/evaluate.py": commands.evaluate}
    return call[words[0]](words[1:])


def _write(file: Path, calls: Sequence[Call]) -> None:
    replace_text(file, [json.dumps([asdict(call) for call in calls], indent=1), "\n"])


# --- where it was run -------------------------------------------------------------------------------------------------


def describe_machine() -> dict[str, str]:
    """Processor, load, threads, graphics card, torch, and the commit of this project; what is not known is left out."""
    import torch

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    found = {
        "processor": f"{_processor()}, {counted(os.cpu_count() or 1, 'core')}",
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "load": load,
        "torch": version("torch"),
        "commit": _commit(),
    }
    return {name: text for name, text in found.items() if text}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return ""

    def ask(*words: str) -> str:
        done: Any = subprocess.run([git, "-C", str(REPO), *words], capture_output=True, text=True)
        return str(done.stdout).strip() if done.returncode == 0 else ""

    name = ask("rev-parse", "--short=10", "HEAD")
    return f"{name} with changes" if name and ask("status", "--porcelain", "--untracked-files=no") else name


def failed_codes(codes: Mapping[str, int]) -> bool:
    """Whether a run failed, rather than was stopped."""
    return any(code not in (EXIT_DONE, EXIT_BAD_INPUT, *STOPPED) for code in codes.values())
