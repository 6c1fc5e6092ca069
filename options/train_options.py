"""Options of training only: how long, what to save, what to show."""

from __future__ import annotations

from dataclasses import dataclass

from options.schema import OptionError, OptionRecord, arg
from util.loggers import LOGGERS
from util.run import LR_POLICIES, SCHED_COMPATS


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions(OptionRecord):
    """How long to train, and the learning rate on the way."""

    n_epochs: int = arg(100, minimum=0, help="epochs at the initial learning rate")
    n_epochs_decay: int = arg(100, minimum=0, help="epochs over which the learning rate falls, after --n_epochs")
    n_iters: int = arg(
        0,
        minimum=0,
        aliases=("total_iters", "max_iter", "max-iter"),
        help="bound the run by steps, not epochs: steps at the initial learning rate",
    )
    n_iters_decay: int = arg(0, minimum=0, help="steps over which the learning rate falls, after --n_iters")
    epoch_count: int = arg(
        1, minimum=1, in_original=False, help="number of the first epoch; a resumed run counts on from its checkpoint"
    )
    lr_policy: str = arg("linear", choices=LR_POLICIES, help="how the learning rate changes over the run")
    lr_decay_iters: int = arg(50, minimum=1, help="epochs (or steps, with --n_iters) between two cuts of policy step")
    plateau_metric: str = arg(
        "", help="what steers --lr_policy plateau: a loss (its epoch mean), e.g. G_L1, or a metric of --eval_metrics"
    )
    sched_compat: str = arg(
        "correct",
        choices=SCHED_COMPATS,
        help="reference: the published schedules with their quirks (last linear epoch at rate 0)",
        advanced=True,
    )

    def __post_init__(self) -> None:
        if self.lr_policy == "plateau" and not self.plateau_metric:
            raise OptionError(
                "--lr_policy plateau needs a metric: name a loss, e.g. --plateau_metric G_L1, or one of --eval_metrics"
            )
        if self.lr_policy == "plateau" and self.n_iters + self.n_iters_decay:
            raise OptionError("--lr_policy plateau works by epochs: leave out --n_iters, or choose --lr_policy linear")
        if self.n_iters + self.n_iters_decay and self.sched_compat == "reference":
            raise OptionError("--sched_compat reference knows epochs only: leave out --n_iters, or use correct")
        if not self.n_iters + self.n_iters_decay + self.n_epochs + self.n_epochs_decay:
            raise OptionError("--n_epochs 0 with --n_epochs_decay 0: nothing to train, raise one of them")


@dataclass(frozen=True, kw_only=True)
class LoopOptions(OptionRecord):
    """Starting, resuming, saving."""

    continue_train: bool = arg(
        False, of="start", help="go on with the run --name where it stopped; its saved options hold"
    )
    overwrite: bool = arg(False, of="start", help="delete an existing run of this --name and start afresh")
    auto_speed: bool = arg(
        False,
        help="before a new run, try --precision, --channels_last, --compile and numbers of threads at its sizes, and "
        "keep the fastest whose losses agree with fp32",
    )
    profile: int = arg(
        0,
        minimum=0,
        of="start",
        metavar="N",
        help="profile N steps after the first few: a trace in the run folder, the costly operations, the wait for data",
    )
    dry_run: bool = arg(False, of="start", help="print the resolved run (networks, data, memory, steps) and stop")
    max_minutes: float = arg(
        0.0,
        minimum=0.0,
        of="start",
        help="end the training after this many minutes: the learning rate falls in that time, latest is saved; 0 = off",
    )
    save_latest_freq: int = arg(5000, minimum=1, help="images between two saves of `latest`")
    save_epoch_freq: int = arg(5, minimum=1, help="epochs between two checkpoints that are kept")
    save_by_iter: bool = arg(False, help="save iter_<images> instead of `latest`")
    keep_checkpoints: int = arg(0, minimum=0, help="keep only the newest K epoch (and iter) checkpoints; 0 = all")


@dataclass(frozen=True, kw_only=True)
class LogOptions(OptionRecord):
    """What is shown and written while training, beside the options of each logger. Frequencies count images."""

    print_freq: int = arg(100, minimum=1, help="images between two lines of losses")
    display_freq: int = arg(400, minimum=1, help="images between two pictures")


def log_options() -> type[LogOptions]:
    """``LogOptions`` with the options of every logger: those in the tree, and those registered by other modules."""
    records = [record for name in LOGGERS.names() if (record := LOGGERS.get(name).Options)]

    def check_all(self: LogOptions) -> None:
        for record in records:
            if hasattr(record, "__post_init__"):
                record.__post_init__(self)

    bases = (*reversed(records), LogOptions)  # the flags of LogOptions first, then those of the loggers by name
    members = {"__doc__": LogOptions.__doc__, "__module__": __name__, "__post_init__": check_all}
    return dataclass(frozen=True, kw_only=True)(type("LogOptions", bases, members))
