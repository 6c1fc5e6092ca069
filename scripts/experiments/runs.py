"""The runs of an experiment's table: from its command line, and how far each one is from its folders alone."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from data import DATASETS
from models import MODELS
from options.metric_options import MetricOptions
from options.parse import Options, parse_command, parse_train
from options.records import options_of
from options.schema import OptionError, OptionRecord, arg, specs
from options.train_options import LoopOptions, log_options
from scripts.experiments.table import Column
from util.files import real_path
from util.metrics import expand
from util.metrics.measurement import FILE_NAME, Measurement, read_measurements
from util.registry import unknown
from util.run.checkpoint import Checkpointer
from util.run.folder import check_name, check_writable, holds_run, is_training
from util.run.progress import Progress
from util.run.schedule import TrainingSchedule

RESULT_FOLDER, DOMAIN = "test_latest", "B"

_BESIDE = {*specs(log_options()), *specs(LoopOptions)} - options_of("start")
"""Options of what a training leaves behind beside its weights: logs, pictures, more checkpoints."""
_NO_MATTER = (options_of("start", "machine") | _BESIDE | {"portrait_pairs"}) - {"dataroot"}  # how the layout was named
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

        # ``finished`` does not use steps_per_epoch.
        schedule = TrainingSchedule(steps_per_epoch=1, **vars(self.options.schedule))
        done = schedule.finished(Progress(**state.progress)) or 0 < self.options.eval.early_stop <= state.waited
        return Stage.TRAINED if done else Stage.INTERRUPTED

    def check_options(self) -> None:
        """For a run that another process is at work on.

        Raises:
            ValueError: it is trained with other options.
        """
        if holds_run(self.checkpoints) and (self.checkpoints / "train_opt.json").is_file():
            self._check_same()

    def is_there(self) -> bool:
        """Whether there are results of the last checkpoint, and numbers."""
        return self.is_tested() and (self.results / FILE_NAME).is_file()

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
    return real_path(Path(a)) == real_path(Path(b))


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return "empty" if value == "" else str(value)


def _not_older(file: Path, than: Path) -> bool:
    return file.is_file() and than.is_file() and file.stat().st_mtime_ns >= than.stat().st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class TableOptions(OptionRecord):
    """What all tables have; the name is that of the script."""

    dataroot: str = arg("", required=True, metavar="DIR", help="folder of the data set")
    name: str = arg("table", metavar="PREFIX", help="begins the names of all runs, and names the folder of the table")
    seeds: tuple[int, ...] = arg((0,), minimum=0, help="train every row with each of these seeds")
    metrics: tuple[str, ...] = arg(("kid", "psnr", "ssim", "l1"), help="what evaluate.py measures")
    feature_extractor: str = arg("", help="network of KID, FID and IS, for train.py and evaluate.py")
    inception_weights: str = arg("", metavar="FILE", help="weights of Inception, for train.py and evaluate.py")
    checkpoints_dir: str = arg("./checkpoints", help="folder of all runs")
    results_dir: str = arg("./results", help="folder of results and tables")
    gpu_ids: str = arg("", help="GPUs; -1 = CPU (default: the first GPU, else CPU)")
    evaluate_again: bool = arg(False, help="also measure what was measured before")
    storage: str = arg(
        "",
        metavar="URL",
        help="data base by which workers on several machines share the runs; none = one process alone (default: where "
        "Optuna is installed, the file table.db beside the table, for workers on this machine)",
    )
    grace: int = arg(60, minimum=1, help="seconds without a sign of life after which a worker counts as dead")
    dry_run: bool = arg(False, help="say what is done already and what would be run")

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            given = ",".join(map(str, self.seeds))
            raise OptionError(f"--seeds {given}: give different whole numbers, e.g. 0,1,2")


def refusal(flag: str) -> str | None:
    """What to do instead of giving this flag of train.py to a table; None where a table takes it."""
    if flag in specs(TableOptions) and flag not in specs(MetricOptions):
        return "give it before the lone --"
    remedies = {"seed": "give --seeds 0,1,2", "suffix": "give --name PREFIX"}
    remedies |= {"continue_train": "leave it out: what was interrupted is continued"}
    remedies |= {"overwrite": "leave it out: delete the folder of a run to train it again"}
    of_start = options_of("start") - {"config", "verbose"}
    return remedies.get(flag) or ("leave it out: rows start from scratch" if flag in of_start else None)


T = TypeVar("T", bound=TableOptions)


@dataclass(frozen=True)
class Row:
    """A row, or a part of it.

    Attributes:
        label: its name in the table.
        options: the options of train.py that set it apart, flag (without dashes) -> word.
        variant: where several of one label make up a row of the table, what tells them apart.
    """

    label: str
    options: dict[str, str]
    variant: str = ""


@dataclass(frozen=True)
class Table(Generic[T]):
    """What one script makes.

    Attributes:
        options: of the script; the default of ``--name`` is the script's name.
        title: heading of the page.
        heading: of the first column.
        doc: the script's docstring, for ``--help``.
        rows: from the script's options and the options that all rows share.
        cautions: lines below the table: what a reader must know.
        model: what is trained.
        columns: between the numbers of updates and images, and the metrics.
        test_words: from the script's options, further words for test.py.
    """

    options: type[T]
    title: str
    heading: str
    doc: str
    rows: Callable[[T, Options], Sequence[Row]]
    cautions: Sequence[str] = ()
    model: str = "pix2pix"
    columns: Sequence[Column] = ()
    test_words: Callable[[T], Sequence[str]] = lambda args: ()

    @property
    def name(self) -> str:
        """Of the script, and default of ``--name``."""
        return self.options.name


@dataclass(frozen=True)
class Run:
    """One row, or one variant of it, with one seed."""

    row: Row
    seed: int
    words: list[str]  # of train.py
    options: Options
    files: RunFiles

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.options.run.name


@dataclass(frozen=True)
class Plan:
    """Everything that a command line asks for.

    Attributes:
        base: the options that all rows share.
        runs: every row with every seed, a row's seeds together.
        metric_words: flags of evaluate.py that say how to measure.
    """

    base: Options
    runs: list[Run]
    metric_words: list[str]


def parse(table: Table[T], argv: list[str]) -> tuple[T, list[str]]:
    """The script's own options, and the words for train.py: what is unknown here, and all after a lone ``--``."""
    cut = argv.index("--") if "--" in argv else len(argv)
    program, rest = f"scripts/experiments/{table.name}.py", list[str]()
    usage = f"python {program} --dataroot DIR [options] [options of train.py]"
    records = {"table": (table.options, "the table")}
    args: T = parse_command(program, records, argv[:cut], usage=usage, doc=table.doc, rest=rest)[0]["table"]
    for flag in ("feature_extractor", "inception_weights"):  # train.py takes them too, for --eval_freq
        rest += [f"--{flag}", getattr(args, flag)] if getattr(args, flag) else []
    return args, rest + argv[cut + 1 :]


def words_of(text: str) -> list[str]:
    """``"1, 4"`` -> ``["1", "4"]``."""
    return [word.strip() for word in text.split(",") if word.strip()]


def known_words(flag: str, text: str, known: Sequence[str]) -> list[str]:
    """The words of a flag that names rows.

    Raises:
        ValueError: one that is not ``known``; the message has the closest match.
    """
    for word in words_of(text):
        if word not in known:
            raise unknown(f"{flag} {word}", word, known)
    return words_of(text)


def plan(table: Table[T], args: T, passed: list[str]) -> Plan:
    """Every run of the table, its command line parsed by train.py's own parser.

    Raises:
        ValueError: a bad flag.
    """
    check_name(args.name)
    check_writable(Path(args.results_dir) / args.name, f"--results_dir {args.results_dir}")
    expand(args.metrics)
    if not Path(args.dataroot).is_dir():
        raise ValueError(f"--dataroot {args.dataroot}: no such folder")
    given = parse_train(["--model", table.model, *passed], MODELS, DATASETS).given
    for flag in sorted(given):
        if remedy := refusal(flag):
            raise ValueError(f"--{flag}: the table decides that; {remedy}")
    common = ["--dataroot", args.dataroot, "--model", table.model, *passed]
    base = parse_train(common, MODELS, DATASETS)
    rows = list(table.rows(args, base))
    for flag in sorted(given & {flag for row in rows for flag in row.options}):
        raise ValueError(f"--{flag}: the rows of this table set it; leave it out")
    runs = [_make_run(args, common, row, seed) for row in rows for seed in args.seeds]
    names = [run.name for run in runs]
    if len(set(names)) != len(names) or not names:
        twice = next((f"{run.row.label} {run.row.variant}".strip() for run in runs if names.count(run.name) > 1), "")
        raise ValueError(f"row {twice} is there twice; name every row once" if twice else "there are no rows to train")
    how = sorted(given & specs(MetricOptions).keys())
    metric_words = [word for flag in how for word in (f"--{flag}", str(base.values[flag]))]
    return Plan(base, runs, metric_words)


def _make_run(args: TableOptions, common: list[str], row: Row, seed: int) -> Run:
    which = re.sub(r"[^A-Za-z0-9.]+", "_", f"{row.label} {row.variant}").strip("_")
    name = f"{args.name}_{which}_seed{seed}"
    own = [word for flag, value in row.options.items() for word in (f"--{flag}", value)]
    words = [*common, *own, "--name", name, "--seed", str(seed), "--checkpoints_dir", args.checkpoints_dir]
    words += ["--gpu_ids", args.gpu_ids] if args.gpu_ids else []
    options = parse_train(words, MODELS, DATASETS)
    return Run(row, seed, words, options, RunFiles(options, Path(args.results_dir) / name))
