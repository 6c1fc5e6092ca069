"""A run whose model draws from noise, opened by a command other than test.py."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import DATASETS
from models import MODELS
from options.parse import Options, parse_test
from options.schema import OptionError, specs

if TYPE_CHECKING:
    from util.engine import Engine

logger = logging.getLogger(__name__)

_USED = {"batch_size", "class_names"}  # data options that matter without images: samples at a time, captions


@dataclass(frozen=True)
class NoiseRun:
    """A run with its weights.

    Attributes:
        options: of the command.
        model: loaded, in test mode.
        names: of its classes, by label.
    """

    options: Options
    model: Any
    names: tuple[str, ...]

    @property
    def facts(self) -> dict[str, object]:
        """What a JSON file says of the network that drew, and how."""
        from scripts.class_samples import json_number
        from util.checkpoint import checkpoint_tag

        run, test = self.options.run, self.options.test
        facts = {"run": run.name, "checkpoint": checkpoint_tag(run.epoch, run.load_iter), "network": self.model.sampled}
        return {**facts, "standing_stats": test.standing_stats, "truncation": json_number(test.truncation)}


def parse_noise_run(
    program: str, argv: Sequence[str], record: type, *, used: Iterable[str] = ()
) -> tuple[Options, Path]:
    """Options of a command, and the folder of the run.

    Flags about images that go in have no effect: the user is warned, and they are left out of ``given``.

    Args:
        program: path of the command.
        argv: words of its command line.
        record: its own options, derived from ``LatentOptions``.
        used: those of these flags that the command uses, beside ``--batch_size`` and ``--class_names``.

    Raises:
        OptionError, HelpAsked: as ``parse_test``.
        FileNotFoundError: there is no such run.
        ValueError: the run's model needs images.
    """
    import test

    options = parse_test(argv, MODELS, DATASETS, program=program, test_record=record)
    folder = test.run_folder(options)
    run = options.run
    if not MODELS.get(run.model).draws_from_noise:
        raise ValueError(
            f"--name {run.name}: a run of --model {run.model}, which does not draw from noise but translates images: "
            f"use python test.py --name {run.name} --dataroot DIR"
        )
    from scripts.class_samples import WITHOUT_EFFECT

    without = options.given & (WITHOUT_EFFECT | specs(type(options.data)).keys()) - _USED - set(used)
    for flag in sorted(without):
        logger.warning("warning: --%s has no effect on %s: leave it out", flag, program)
    return replace(options, given=options.given - without), folder


def start(options: Options) -> Engine:
    """Where the command computes."""
    from util.engine import start_engine

    return start_engine(**vars(options.engine))


def load_noise_run(options: Options, folder: Path) -> NoiseRun:
    """The run with the weights that ``--epoch`` or ``--load_iter`` name, and ``--standing_stats`` if asked for.

    Raises:
        FileNotFoundError, ValueError: as ``test.load_trained``.
    """
    import test
    from scripts.class_samples import class_names_of

    file = options.data.class_names if "class_names" in options.given else ""  # type: ignore[attr-defined]
    model: Any = test.load_trained(options, start(options), folder)
    if options.test.standing_stats:
        model.take_standing_statistics(options.test.standing_stats, options.test.sample_seed)
    return NoiseRun(options, model, class_names_of(folder, model.options.num_classes, file))


def one_class(number: int | None, name: str, names: Sequence[str], flag: str) -> int:
    """The label that ``<flag>_id`` or ``<flag>_name`` names; 0 where the run has no other.

    Args:
        number: value of the first flag, None without it.
        name: of the second, empty without it.
        names: of the run's classes.
        flag: such as ``--class``.

    Raises:
        OptionError: there is no such class, or neither flag was given.
    """
    from scripts.class_samples import label_of

    if name:
        return label_of(name, names, f"{flag}_name")
    if number is None and len(names) > 1:
        raise OptionError(f"{flag}_id is missing: give a class, 0 to {len(names) - 1}, or its {flag}_name")
    label = number or 0
    if label >= len(names):
        raise OptionError(f"{flag}_id {label}: the run has {len(names)} classes, 0 to {len(names) - 1}")
    return label
