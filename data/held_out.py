"""The images on which a run is evaluated while it trains."""

from __future__ import annotations

import logging

from data.base_dataset import BaseDataset
from data.check import quick_check
from data.loader import Loader, loader_of
from options.base_options import DataOptions
from options.test_options import as_in_test

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
