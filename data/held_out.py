"""The images on which a run is evaluated while it trains."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from data.base_dataset import BaseDataset
from data.check import quick_check
from data.loader import Loader, loader_of
from options.base_options import DataOptions
from options.parse import Options
from options.test_options import as_in_test
from util.run.engine import Engine
from util.run.inference import held_out_pictures

if TYPE_CHECKING:
    from util.metrics.evaluation import Evaluation

logger = logging.getLogger(__name__)

PHASES = ("val", "test")


def held_out(
    dataset_class: type[BaseDataset],
    options: DataOptions,
    *,
    phase: str,
    max_images: float,
    input_nc: int,
    output_nc: int,
    seed: int,
) -> tuple[str, BaseDataset, Loader]:
    """The held-out images as test.py would read them: one at a time, in order.

    Args:
        dataset_class: that of the training.
        options: data options of the training.
        phase: ``--eval_phase``; empty for the first of ``val`` and ``test`` that is there.
        max_images: at most so many.
        input_nc: channels of the model's input.
        output_nc: channels of its output.
        seed: ``--seed``.

    Returns:
        the phase, its data set, and its loader.

    Raises:
        ValueError: no such phase, or a file that cannot be read.
    """
    reasons: list[str] = []
    for name in (phase,) if phase else PHASES:
        data = as_in_test(options, name, max_images)
        try:
            dataset = dataset_class(data, input_nc=input_nc, output_nc=output_nc, seed=seed)
        except FileNotFoundError as error:
            reasons.append(str(error))
            continue
        for warning in quick_check(dataset):
            logger.warning("warning: %s", warning)
        return name, dataset, loader_of(dataset)
    flag = f"--eval_phase {phase}" if phase else "--eval_freq: neither val nor test is there to evaluate on"
    raise ValueError(f"{flag}: {reasons[-1]}")


def evaluation_of(
    options: Options, engine: Engine, model_class: Any, dataset_class: type[BaseDataset]
) -> Evaluation | None:
    """What ``--eval_freq`` asks for, checked; None without it. Every process must call it.

    Args:
        options: of the training.
        engine: of this process.
        model_class: that of ``--model``.
        dataset_class: that of ``--dataset_mode``.

    Raises:
        ValueError: no images to measure on, or a metric that cannot be had.
    """
    e, m, seed = options.eval, options.model, options.engine.seed
    if not e.eval_freq:
        return None
    from util.metrics.evaluation import start_evaluation

    what: dict[str, Any] = {"phase": e.eval_phase, "max_images": e.eval_images, "seed": seed}
    phase, dataset, loader = held_out(dataset_class, options.data, input_nc=m.input_nc, output_nc=m.output_nc, **what)
    model_class.check_sides(dataset[0], "--eval_freq", options.run.dataset_mode, m)
    m.for_classes(dataset.class_names)
    make = functools.partial(model_class, m, engine.alone())
    pictures = functools.partial(held_out_pictures, make, loader, root=dataset.root, seed=seed)
    return start_evaluation(
        functools.partial(pictures, value_range=options.data.value_range),
        engine,
        phase=phase,
        num_images=loader.num_images,
        freq=e.eval_freq,
        names=e.eval_metrics,
        explicit="eval_metrics" in options.given,
        paired=dataset_class.paired,
        steering={"--save_best": e.save_best, "--plateau_metric": options.schedule.plateau_metric},
        patience=e.early_stop,
        settings=vars(options.metric),
    )
