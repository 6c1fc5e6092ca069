"""Search for good options of a training: grid, random or TPE (Optuna), with pruning by the training's own metrics.

Usage:
    python scripts/sweep.py --name lr_sweep --space "lr=log:1e-5..1e-3" "lambda_L1=10,100" --trials 12 --metric psnr \\
        -- --dataroot data --model pix2pix --eval_freq 1 --eval_metrics psnr
    python scripts/sweep.py --name lr_sweep              # one worker more, or go on after a stop
    python scripts/sweep.py --name lr_sweep --trials 20  # eight trials more
Words after a lone -- go to train.py. The trials are the runs <name>/trial_000, ...; the page is
<checkpoints_dir>/<name>/index.html.
"""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data import DATASETS
from models import MODELS
from options.parse import Options, gathered, parse_command, parse_train
from options.records import options_of
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, EXIT_INTERRUPTED, run_command
from util.files import replace_text
from util.metrics import METRICS, expand
from util.pages.sweep_page import SweepReport, SweepTrial, sweep_page
from util.run.folder import check_name, check_writable, make_folder
from util.run.search_space import grid, read_space, words_of
from util.run.sweep import (
    DATABASE,
    PRUNERS,
    SAMPLERS,
    Definition,
    Job,
    Sweep,
    read_definition,
    run_name,
)
from util.run.trials import open_storage, require_optuna

logger = logging.getLogger("sweep")

_TRIALS = 20
_TRAIN = Path(__file__).resolve().parent.parent / "train.py"
_OURS = {"name": "--name", "checkpoints_dir": "--checkpoints_dir", "gpu_ids": "--gpu_ids"}
"""Flags of train.py that stand before the lone --."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(OptionRecord):
    """What is searched, and how. Of a sweep that is there, only what is to be changed is given."""

    name: str = arg("", required=True, metavar="SWEEP", help="name of the sweep, and folder of its runs")
    space: tuple[str, ...] = arg(
        (),
        several=True,
        metavar="NAME=VALUES",
        help="options that vary: LOW..HIGH (whole numbers where both are), log:LOW..HIGH, LOW..HIGH/N for N points, "
        "or a,b,c",
    )
    trials: int | None = arg(None, minimum=1, help="trials in all (default: 20; of a grid, its points)")
    metric: str = arg(
        "", help="what is compared: a metric of train.py's --eval_metrics, e.g. psnr, or a loss (epoch mean), e.g. G_L1"
    )
    direction: str = arg(
        "",
        choices=("", "minimize", "maximize"),
        help="what is better (default: that of the metric; of a loss, minimize)",
    )
    sampler: str = arg("tpe", choices=SAMPLERS, help="how values are chosen")
    pruner: str = arg(
        "median", choices=PRUNERS, help="stops trials that are worse than the median, or by successive halving"
    )
    warmup: int = arg(0, minimum=0, help="epochs before which nothing is pruned")
    sampler_seed: int = arg(0, minimum=0, maximum=2**31 - 1, help="seed of the sampler")
    storage: str = arg("", metavar="URL", help="data base for several machines (default: the file sweep.db)")
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    gpu_ids: str = arg("", help="GPUs of this worker's trainings; -1 = CPU (default: the first GPU, else CPU)")
    grace: int = arg(60, minimum=1, help="seconds without a sign of life after which a worker counts as dead")
    retry: bool = arg(False, help="start the trials that failed again")


def main(argv: Sequence[str] | None = None) -> int:
    """Search from a command line.

    Returns:
        0 done, 1 failed, 2 bad options or data, 130/143 stopped by Ctrl-C/SIGTERM after the training has saved.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("sweep.py", argv, _start)


def _start(argv: list[str]) -> int:
    cut = argv.index("--") if "--" in argv else len(argv)
    records, given = parse_command(
        "scripts/sweep.py", {"own": (SweepOptions, "arguments")}, gathered(argv[:cut], "--space"), doc=__doc__ or ""
    )
    return _run(records["own"], given, argv[cut + 1 :])


def _run(o: SweepOptions, given: frozenset[str], train: list[str]) -> int:
    check_name(o.name)
    require_optuna()
    folder = o.checkpoints_dir / o.name
    check_writable(folder, f"--checkpoints_dir {o.checkpoints_dir}")
    database = folder / DATABASE
    new = _definition(o, train) if o.space else None  # checked before anything is made
    if not o.storage and new is None and not database.is_file():
        raise ValueError(f"--name {o.name}: there is no sweep in {folder}; give --space and --metric to begin one")
    make_folder(folder, f"--checkpoints_dir {o.checkpoints_dir}")
    storage = open_storage(o.storage or f"sqlite:///{database.absolute()}", o.grace)
    there = read_definition(storage, o.name)
    if there is None and new is None:
        raise ValueError(f"--name {o.name}: no such sweep in --storage; give --space and --metric to begin one")
    definition = _continued(there, o, given, train) if there is not None else new
    assert definition is not None
    sweep = Sweep(storage, o.name, definition, folder)
    if there is None or o.trials:
        sweep.add_trials(o.trials or (len(grid(sweep.space)) if definition.sampler == "grid" else _TRIALS))
    if o.retry:
        logger.info("%d failed trials wait again", sweep.retry_failed())
    return _work(sweep, _Trainings(o, definition, train), folder / "index.html", shlex.join(_joining(o)))


def _joining(o: SweepOptions) -> list[str]:
    """The command that goes on with the sweep; without the data base's URL, which may hold a password."""
    words = ["python", "scripts/sweep.py", "--name", o.name]
    words += ["--storage", "URL"] if o.storage else []
    return words + _placed(o.checkpoints_dir)


def _placed(checkpoints_dir: Path) -> list[str]:
    return [] if checkpoints_dir == Path("checkpoints") else ["--checkpoints_dir", str(checkpoints_dir)]


# --- what is asked for ------------------------------------------------------------------------------------------------


def _definition(o: SweepOptions, train: list[str]) -> Definition:
    """A new sweep, checked.

    Raises:
        ValueError: a bad flag of the sweep, or one that train.py refuses.
    """
    if not o.metric:
        raise ValueError("--metric: name what is compared, e.g. --metric psnr, or a loss such as --metric G_L1")
    space = read_space(o.space)
    if o.sampler == "grid":
        grid(space)
    flags = {each.flag for each in space}
    given = parse_train(train, MODELS, DATASETS).given
    for flag in sorted(given & (options_of("start") | _OURS.keys()) - {"verbose", "config", "max_minutes"}):
        remedy = f"give {_OURS[flag]} before the lone --" if flag in _OURS else "leave it out: the sweep decides that"
        raise ValueError(f"-- --{flag}: {remedy}")
    for flag in sorted(given & flags):
        raise ValueError(f"-- --{flag}: --space {flag} varies it; leave it out")
    first = {each.flag: each.examples[0] for each in space}
    for dimension in space:
        for word in dimension.examples:
            options = _parsed({**first, dimension.flag: word}, train)
            _check_metric(o.metric, options)
    direction = o.direction
    if not direction:
        direction = "maximize" if o.metric in METRICS and METRICS[o.metric].higher_is_better else "minimize"
    startup = min(10, max(3, (o.trials or _TRIALS) // 4))
    asked: dict[str, Any] = {field: getattr(o, flag) for flag, field in _FIELDS.items()}
    return Definition(**{**asked, "direction": direction}, startup=startup, train=tuple(train))


def _parsed(params: Mapping[str, str], train: Sequence[str]) -> Options:
    told = " ".join(f"{flag}={word}" for flag, word in params.items())
    try:
        options = parse_train([*train, *words_of(params)], MODELS, DATASETS)
    except ValueError as error:
        raise ValueError(f"--space {told}: {error}") from None
    for flag in sorted(params.keys() & (options_of("start", "machine"))):
        raise ValueError(f"--space {flag}: the training does not depend on it; leave it out")
    return options


def _check_metric(metric: str, o: Options) -> None:
    if metric not in METRICS:
        return  # a loss: the first epoch tells
    if not o.eval.eval_freq:
        raise ValueError(f"--metric {metric}: nothing is measured; add after the lone --: --eval_freq 1")
    if metric not in expand(o.eval.eval_metrics):
        raise ValueError(f"--metric {metric}: add it after the lone --: --eval_metrics {metric}")


_FIELDS = {field: field for field in ("space", "metric", "direction", "sampler", "pruner", "warmup")}
_FIELDS["sampler_seed"] = "seed"
"""Flag -> field of the definition."""


def _continued(there: Definition, o: SweepOptions, given: frozenset[str], train: list[str]) -> Definition:
    """The definition that is stored, which flags may repeat and not change.

    Raises:
        ValueError: naming the flag that says something else.
    """
    for flag, field in _FIELDS.items():
        before, now = getattr(there, field), getattr(o, flag)
        if flag in given and now != before:
            shown = [" ".join(each) if isinstance(each, tuple) else each for each in (before, now)]
            raise ValueError(
                f"--{flag} {shown[1]}: the sweep {o.name} was begun with {shown[0]}; leave it out to go on, or choose "
                "another --name"
            )
    if train:
        params = {each.flag: each.examples[0] for each in read_space(there.space)}
        options = [_parsed(params, words).of_run for words in (there.train, train)]
        for flag in options[0].keys() | options[1].keys():
            before, now = (each.get(flag) for each in options)
            if before != now:
                raise ValueError(
                    f"-- --{flag} {now}: the sweep {o.name} was begun with {before}; leave the words after -- out to "
                    "go on, or choose another --name"
                )
    return there


# --- work -------------------------------------------------------------------------------------------------------------


class _Trainings:
    """From the values of a trial to its training.

    Args:
        own: options of this worker.
        definition: of the sweep.
        train: words of train.py of this worker; empty for those of the sweep. They may differ in where data lie.
    """

    def __init__(self, own: SweepOptions, definition: Definition, train: Sequence[str]) -> None:
        self._own, self._train = own, list(train or definition.train)

    def words(self, params: Mapping[str, str], name: str) -> list[str]:
        """Words of train.py."""
        return [*self._train, *words_of(params), "--name", name, *_placed(self._own.checkpoints_dir)]

    def __call__(self, slot: int, params: Mapping[str, str]) -> Job:
        """The job of a slot."""
        name = f"{self._own.name}/{run_name(slot)}"
        words = self.words(params, name)
        schedule = parse_train(words, MODELS, DATASETS).schedule
        by_steps = schedule.n_iters + schedule.n_iters_decay > 0
        words += ["--gpu_ids", self._own.gpu_ids] if self._own.gpu_ids else []
        return Job(
            command=[sys.executable, str(_TRAIN), *words],
            folder=self._own.checkpoints_dir / name,
            log=self._own.checkpoints_dir / self._own.name / "logs" / f"{run_name(slot)}.txt",
            last_epoch=sys.maxsize if by_steps else schedule.n_epochs + schedule.n_epochs_decay,
        )

    def commands(self, best: SweepTrial) -> dict[str, str]:
        """What to do with the best trial -> its command line."""
        name, placed = self._own.name, _placed(self._own.checkpoints_dir)
        words = {
            "Its command, for a run of its own:": ["python", "train.py", *self.words(best.params, f"{name}_best")],
            "Test what it has trained:": ["python", "test.py", "--name", f"{name}/{best.name}", *placed],
        }
        return {what: shlex.join(line) for what, line in words.items()}


def _report(sweep: Sweep, trainings: _Trainings, command: str) -> SweepReport:
    d = sweep.definition
    metric = METRICS.get(d.metric)
    scale = metric.scale if metric else 1.0
    trials = [
        replace(
            each,
            value=None if each.value is None else each.value * scale,
            points=[(epoch, value * scale) for epoch, value in each.points],
        )
        for each in sweep.trials()
    ]
    pruned = "" if d.pruner == "none" else f", pruned by {d.pruner}" + (f" from epoch {d.warmup}" if d.warmup else "")
    facts = [f"Space: {', '.join(d.space)}. Sampler {d.sampler} (seed {d.seed}){pruned}."]
    facts += ["The value of a trial is that of its last epoch; of a pruned one, of the epoch in which it was stopped."]
    facts += [f"Go on, or add a worker: {command}"]
    logs = frozenset(each.flag for each in sweep.space if each.log)
    title = metric.title if metric else d.metric
    report = SweepReport(sweep.name, title, d.direction == "maximize", trials, logs, facts)
    return replace(report, commands=trainings.commands(report.best)) if report.best else report


def _work(sweep: Sweep, trainings: _Trainings, page: Path, command: str) -> int:
    def write() -> SweepReport:
        report = _report(sweep, trainings, command)
        replace_text(page, [sweep_page(report)])
        return report

    write()
    stopped: list[int] = []

    def stop(number: int, frame: Any) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        sweep.work(trainings, write)
    except KeyboardInterrupt:
        write()
        logger.warning("stopped; go on with: %s", command)
        return 128 + stopped[0] if stopped else EXIT_INTERRUPTED
    except ValueError as error:
        report = write()
        begun = any(each.state in ("done", "pruned") for each in report.trials)
        remedy = "" if begun else f"begin again after deleting {page.parent}, or "
        raise ValueError(f"{error}; {remedy}put that right and go on with: {command}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    report = write()
    best = report.best
    if best is None:
        raise ValueError(f"--name {sweep.name}: no trial came to its end; see {page} and {page.parent / 'logs'}")
    print(f"best of {len(report.trials)}: {best.name}, {report.metric} {best.value:.6g}")
    print(*trainings.commands(best).values(), f"page: {page}", sep="\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
