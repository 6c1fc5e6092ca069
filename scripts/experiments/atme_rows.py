"""What the tables about ATME have in common: their runs, and the columns that say which of them collapsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.networks.names import INIT_TYPES
from options.parse import Options
from options.schema import arg
from scripts.experiments.runs import Row, Table, TableOptions, known_words
from scripts.experiments.table import Column, RunEnd, epoch_values

LAST_EPOCHS = 3


ABOUT = f"""
To know what a run takes, run its command (--dry_run shows them all) with --dry_run added: it measures a step. The same
command goes on after a stop.

Every row is trained with every --init_types and every --seeds. The table has:

    collapsed       how many of these runs collapsed: a loss was not finite, or one of the last {LAST_EPOCHS} epochs is
                    marked in checkpoints/RUN/loss_log.csv. An epoch is marked when D_real and D_fake have been
                    below 0.001 for 3 epochs, or when more than 99 % of the generated pixels are at the end of their
                    range while those of the targets are not. A run whose training failed for another reason (memory...)
                    counts neither way. So does one that failed on several GPUs, where the reason is not known here: see
                    its messages.
    D_sum           D_real + D_fake in the last epoch: log 4 = 1.386 in equilibrium
    D_entropy       entropy of D's maps in the last epoch: log 2 = 0.693 in equilibrium

and the metrics, all as means over the runs.
"""
"""What ``--help`` of every such table says after its own text."""


@dataclass(frozen=True, kw_only=True)
class ATMETable(TableOptions):
    """Initialisations that every row is trained with."""

    init_types: str = arg("normal,xavier", help="train every row with each of these --init_type")


def rows_of_choices(args: ATMETable, flag: str, choices: Sequence[str]) -> list[Row]:
    """A row for each value of a flag, with every ``--init_types``.

    Args:
        args: has ``flag`` with an s added: values with commas between them, all ``choices`` if empty.
        flag: of train.py, without dashes.
        choices: its values.

    Raises:
        ValueError: an unknown value or initialisation, or no initialisation.
    """
    names = known_words(f"--{flag}s", getattr(args, f"{flag}s"), choices) or list(choices)
    inits = known_words("--init_types", args.init_types, INIT_TYPES)
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


def table_of_choices(
    options: type[ATMETable], title: str, heading: str, doc: str, *, flag: str, choices: Callable[[], Sequence[str]]
) -> Table[ATMETable]:
    """A table of ATME with a row for each value of a flag of train.py.

    Args:
        options: of the script; the one called as ``flag`` and an s names the rows.
        title: see ``Table``, as for ``heading``.
        doc: what the rows are; ``ABOUT`` follows.
        flag: of train.py, without dashes.
        choices: gives its values; not called for ``--help``, which needs no torch.
    """

    def rows(args: ATMETable, base: Options) -> list[Row]:
        return rows_of_choices(args, flag, choices())

    return Table(options, title, heading, doc + ABOUT, rows, CAUTIONS, "atme", COLUMNS)
