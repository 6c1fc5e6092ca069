"""What the two tables about ATME have in common: their runs, and the columns that say which of them collapsed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from options.base_options import INIT_TYPES
from scripts.experiments.run_columns import Column, RunEnd, epoch_values
from scripts.experiments.table_runs import Row, words_of
from util.suggest import unknown

LAST_EPOCHS = 3


def add_init_types(parser: argparse.ArgumentParser) -> None:
    """Add ``--init_types``."""
    parser.add_argument(
        "--init_types",
        default="normal,xavier",
        help="train every row with each of these --init_type (default: %(default)s)",
    )


def rows_of_choices(args: argparse.Namespace, flag: str, choices: Sequence[str]) -> list[Row]:
    """A row for each value of a flag, with every ``--init_types``.

    Args:
        args: has ``flag`` with an s added: values with commas between them, all ``choices`` if empty.
        flag: of train.py, without dashes.
        choices: its values.

    Raises:
        ValueError: an unknown value or initialisation, or no initialisation.
    """
    names = words_of(getattr(args, f"{flag}s")) or list(choices)
    inits = words_of(args.init_types)
    for given, word, known in (
        *((f"{flag}s", name, choices) for name in names),
        *(("init_types", init, INIT_TYPES) for init in inits),
    ):
        if word not in known:
            raise unknown(f"--{given} {word}", word, known)
    if not inits:
        raise ValueError(f"--init_types {args.init_types!r}: name at least one of {', '.join(INIT_TYPES)}")
    return [Row(name, {flag: name, "init_type": init}, variant=init) for name in names for init in inits]


def collapsed(end: RunEnd) -> float | None:
    """1 if a loss or weight of the run was not finite, or one of its last epochs is marked ``collapsed``; else 0.

    None for a run whose training failed for another reason: nobody knows how it would have ended.
    """
    if "not finite" in end.error:
        return 1.0
    marks = epoch_values(end.checkpoints, "collapsed")[-LAST_EPOCHS:]
    return float(any(marks)) if marks and end.trained else None


def last_D_sum(end: RunEnd) -> float | None:
    """Mean of D_real + D_fake over the last epoch."""
    return _last(end, "D_sum")


def last_D_entropy(end: RunEnd) -> float | None:
    """Mean entropy of D's judgement of generated images over the last epoch."""
    return _last(end, "D_entropy")


def _last(end: RunEnd, name: str) -> float | None:
    values = epoch_values(end.checkpoints, name)
    return values[-1] if values and end.trained else None


COLUMNS = (
    Column(
        "collapse_rate",
        "collapsed",
        collapsed,
        share=True,
        note=f"collapsed: a loss was not finite, or one of the last {LAST_EPOCHS} epochs is marked collapsed in the "
        "run's loss_log.csv: D_real and D_fake have been below 0.001 for 3 epochs, or more than 99 % of the generated "
        "pixels, and not of the targets', were at the end of their range. Runs that failed for another reason do not "
        "count.",
    ),
    Column(
        "D_sum",
        "D_sum",
        last_D_sum,
        note="D_sum: D_real + D_fake of the last epoch; log 4 = 1.386 where D cannot tell, 0 where D has won.",
    ),
    Column(
        "D_entropy",
        "D_entropy",
        last_D_entropy,
        note="D_entropy: of D's maps in the last epoch; log 2 = 0.693 where D cannot tell.",
    ),
)

CAUTIONS = (
    "A row's numbers are over initialisations and seeds together. A rate over a few runs is uncertain: of 6 runs, 0 "
    "collapse by luck one time in 15 even if the true rate is 36 %.",
    "Collapsed runs are in the means of D_sum, D_entropy and the metrics as well, as long as they did not fail.",
)
