"""From the command line of a table's script to the runs of that table."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data import DATASETS
from datasets.command_line import OneLineParser
from models import MODELS
from options.metric_options import MetricOptions
from options.parse import Options, parse_train
from options.schema import specs
from scripts.experiments.run_columns import Column
from scripts.experiments.run_state import RunFiles
from util.metrics import expand
from util.run_folder import check_name, check_writable
from util.suggest import unknown

_OURS = {
    "seed": "give --seeds 0,1,2",
    "suffix": "give --name PREFIX",
    "continue_train": "leave it out: what was interrupted is continued",
    "overwrite": "leave it out: delete the folder of a run to train it again",
    **dict.fromkeys(("dataroot", "name", "checkpoints_dir", "gpu_ids", "dry_run"), "give it before the lone --"),
    "epoch": "leave it out: rows start from scratch",
    "load_iter": "leave it out: rows start from scratch",
}
"""Flags of train.py that a table decides itself, and what to do instead."""


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
class Table:
    """What one script makes.

    Attributes:
        name: default of ``--name``, and the name of the script.
        title: heading of the page.
        heading: of the first column.
        doc: the script's docstring, for ``--help``.
        rows: from the script's flags and the options that all rows share.
        add_flags: adds the script's own flags.
        cautions: lines below the table: what a reader must know.
        model: what is trained.
        columns: between the numbers of updates and images, and the metrics.
        metrics: default of ``--metrics``.
        test_words: from the script's flags, what test.py is told besides.
    """

    name: str
    title: str
    heading: str
    doc: str
    rows: Callable[[argparse.Namespace, Options], Sequence[Row]]
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    cautions: Sequence[str] = ()
    model: str = "pix2pix"
    columns: Sequence[Column] = ()
    metrics: str = "kid,psnr,ssim,l1"
    test_words: Callable[[argparse.Namespace], Sequence[str]] = lambda args: ()


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


def parse(table: Table, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The script's own flags, and the words for train.py: what is unknown here, and all after a lone ``--``."""
    cut = argv.index("--") if "--" in argv else len(argv)
    parser = OneLineParser(table.doc)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = f"python scripts/experiments/{table.name}.py --dataroot DIR [options] [options of train.py]"
    parser.add_argument("--dataroot", required=True, help="folder of the data set")
    parser.add_argument("--name", default=table.name, metavar="PREFIX", help="of all runs, and folder of the table")
    table.add_flags(parser)
    parser.add_argument("--seeds", default="0", help="train every row with each of these seeds (default: 0)")
    parser.add_argument("--metrics", default=table.metrics, help="what evaluate.py measures (default: %(default)s)")
    parser.add_argument("--feature_extractor", default="", help="of KID, FID, IS; see evaluate.py")
    parser.add_argument("--inception_weights", default="", metavar="FILE", help="see evaluate.py")
    parser.add_argument("--checkpoints_dir", default="./checkpoints", help="folder of all runs")
    parser.add_argument("--results_dir", default="./results", help="folder of results and tables")
    parser.add_argument("--gpu_ids", default="", help="GPUs; -1 = CPU (default: the first GPU, else CPU)")
    parser.add_argument("--evaluate_again", action="store_true", help="also measure what was measured before")
    parser.add_argument("--dry_run", action="store_true", help="say what is done already and what would be run")
    args, rest = parser.parse_known_args(argv[:cut])
    args.metrics, args.seeds = words_of(args.metrics), _seeds(args.seeds)
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


def _seeds(text: str) -> list[int]:
    seeds = words_of(text)
    if not seeds or not all(seed.isdecimal() for seed in seeds) or len(set(map(int, seeds))) != len(seeds):
        raise ValueError(f"--seeds {text}: give different whole numbers, e.g. 0,1,2")
    return [int(seed) for seed in seeds]


def plan(table: Table, args: argparse.Namespace, passed: list[str]) -> Plan:
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
    for flag in sorted(given & _OURS.keys()):
        raise ValueError(f"--{flag}: the table decides that; {_OURS[flag]}")
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


def _make_run(args: argparse.Namespace, common: list[str], row: Row, seed: int) -> Run:
    which = re.sub(r"[^A-Za-z0-9.]+", "_", f"{row.label} {row.variant}").strip("_")
    name = f"{args.name}_{which}_seed{seed}"
    own = [word for flag, value in row.options.items() for word in (f"--{flag}", value)]
    words = [*common, *own, "--name", name, "--seed", str(seed), "--checkpoints_dir", args.checkpoints_dir]
    words += ["--gpu_ids", args.gpu_ids] if args.gpu_ids else []
    options = parse_train(words, MODELS, DATASETS)
    return Run(row, seed, words, options, RunFiles(options, Path(args.results_dir) / name))
