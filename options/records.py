"""Which records of options each program has, and which of all these options are about what."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from options.base_options import DataOptions, EngineOptions, ModelOptions, RunOptions
from options.metric_options import EvalOptions, MetricOptions
from options.schema import OptionRecord, Spec, specs
from options.test_options import ResultOptions
from options.train_options import LoopOptions, ScheduleOptions, log_options

Records = Mapping[str, type[OptionRecord]]

SHARED: Records = {"run": RunOptions, "engine": EngineOptions}
TRAIN: Records = {
    **SHARED,
    "schedule": ScheduleOptions,
    "loop": LoopOptions,
    "eval": EvalOptions,
    "metric": MetricOptions,
    "log": log_options(),
}
TEST: Records = {**SHARED, "result": ResultOptions}
PLUGINS: Records = {"data": DataOptions, "model": ModelOptions}
"""Those that a data set and a model extend."""

TITLES = {  # in the order of --help
    "run": "the run",
    "data": "data",
    "model": "model",
    "engine": "engine",
    "schedule": "schedule",
    "loop": "starting, resuming, saving",
    "eval": "measuring while training",
    "metric": "metrics",
    "log": "logging",
    "result": "results",
    "test": "what this model draws in a test",
}


def all_specs(records: Records) -> dict[str, Spec]:
    """Option name -> ``Spec`` over several records.

    Raises:
        TypeError: two of them declare the same name.
    """
    known: dict[str, Spec] = {}
    for cls in records.values():
        for name, spec in specs(cls).items():
            if name in known:
                raise TypeError(f"--{name} is declared by {known[name].owner} and by {spec.owner}")
            known[name] = spec
    return known


@functools.cache
def options_of(*about: str) -> frozenset[str]:
    """Options that train.py and test.py share with all models and data sets, whose ``of`` is among these words."""
    everywhere = [*TRAIN.values(), *TEST.values(), *PLUGINS.values()]
    return frozenset(name for cls in everywhere for name, spec in specs(cls).items() if spec.of in about)


@functools.cache
def not_of_original() -> frozenset[str]:
    """Rows of a ``train_opt.txt`` of the original code that are not believed here: they belong to its machine or to one
    start of it, mean something else, or are no options here."""
    everywhere = [*TRAIN.values(), *TEST.values(), *PLUGINS.values()]
    own = {name for cls in everywhere for name, spec in specs(cls).items() if not spec.in_original}
    return options_of("start", "machine") | own | {"isTrain", "mask_size"}
