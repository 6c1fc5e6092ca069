"""Measuring while training: when, on what, which checkpoint is the best, and when there is no more progress."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from util.metrics import METRICS, NOT_OF_LABELS, expand
from util.metrics.images import MadeImages, Pixels
from util.metrics.measurement import Measurement
from util.metrics.suite import Suite
from util.run import distributed
from util.run.engine import Engine
from util.run.inference import Snapshot
from util.wording import counted

logger = logging.getLogger(__name__)

Pictures = Iterable[tuple[str, Mapping[str, Pixels]]]
"""Name and visuals (``fake_B``, ``real_B``...) of every held-out image; pixels as in ``util.metrics.images``."""


@dataclass
class Best:
    """The best value of a metric so far, and how many evaluations ago that was.

    Attributes:
        short: the metric's short name; empty where nothing asks for it.
        patience: evaluations without a better value after which the run may stop; 0 for never.
        value: the best; None before the first.
        epoch: when.
        waited: evaluations since.
    """

    short: str = ""
    patience: int = 0
    value: float | None = None
    epoch: int = 0
    waited: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether the run should stop."""
        return 0 < self.patience <= self.waited

    def update(self, value: float, epoch: int) -> bool:
        """Take the value of an epoch; returns whether it is the best. NaN never is."""
        sign = 1.0 if METRICS[self.short].higher_is_better else -1.0
        if math.isfinite(value) and (self.value is None or sign * value > sign * self.value):
            self.value, self.epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation gave, the same in every process.

    Attributes:
        values: full name -> value, for the logs.
        by_short: short name -> value of domain B, for what steers the run.
        is_best: whether the checkpoint of this moment is the best so far.
        seconds: that it took.
    """

    values: dict[str, float]
    by_short: dict[str, float]
    is_best: bool = False
    seconds: float = 0.0


class Evaluation:
    """Measures the generators of a run on held-out images, as test.py and scripts/evaluate.py would afterwards.

    One process measures while the others wait. An evaluation that fails is reported and left out; the training goes on.
    Of a metric that fails alone (KID of a single image) this is reported once, and the others are measured.

    Args:
        suite: what is measured; in processes other than the main one only its names count.
        pictures: model in training -> the translated images of the held-out phase.
        freq: epochs between two evaluations.
        best: which metric decides.
        phase: where the images come from.
        num_images: how many they are.
        is_main: whether this process measures.
        labelled: domains whose images are label maps, see ``ImageSet.label_maps``.
    """

    def __init__(
        self,
        suite: Suite,
        pictures: Callable[[Snapshot], Pictures],
        *,
        freq: int,
        best: Best,
        phase: str,
        num_images: int = 0,
        is_main: bool = True,
        labelled: Sequence[str] = (),
    ) -> None:
        self.suite, self.freq, self.best, self.phase, self.num_images = suite, freq, best, phase, num_images
        self._pictures, self._is_main, self._labelled = pictures, is_main, labelled
        self._told: set[str] = set()

    def due(self, epoch: int, last_epoch: int) -> bool:
        """Whether an epoch ends with an evaluation: every ``freq``-th, and the last."""
        return epoch % self.freq == 0 or epoch == last_epoch

    def run(self, model: Snapshot, epoch: int) -> Evaluated:
        """Measure. Every process must call it."""
        found: list[Measurement] = []
        begin = time.perf_counter()
        try:
            found = self._measure(model) if self._is_main else []
        except Exception as error:  # whatever it is: hours of training must not end by a measurement
            logger.warning("warning: epoch %d is not evaluated: %s", epoch, _reason(error))
        found = distributed.gather(found)[0]
        by_short = {each.short: each.value for each in found if each.domain == "B"}
        is_best = self.best.short in by_short and self.best.update(by_short[self.best.short], epoch)
        if self.best.exhausted and self._is_main:
            logger.info(
                "no better %s for %s (the best was in epoch %d): stopping, as --early_stop asks",
                self.suite.full_name(self.best.short),
                counted(self.best.waited, "evaluation"),
                self.best.epoch,
            )
        values = {f"{each.name}{'' if each.domain == 'B' else f'_{each.domain}'}": each.value for each in found}
        return Evaluated(values, by_short, is_best, time.perf_counter() - begin)

    def describe(self) -> str:
        """One line for the head of a run."""
        names = ", ".join(self.suite.full_name(name) for name in self.suite.names) or "nothing"
        every = "every epoch" if self.freq == 1 else f"every {self.freq} epochs"
        return f"evaluation: {names} on {self.phase} {every}"

    def state(self) -> dict[str, Any]:
        """What must survive a resume, as primitives."""
        best = self.best
        known = {"metric": best.short, "value": best.value, "epoch": best.epoch, "waited": best.waited}
        return {**known, "protocol": self._protocol}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with ``state``; that of another metric, or measured in another way, says nothing about this one."""
        if state.get("metric") != self.best.short or not self.best.short:
            return
        if state.get("protocol") != self._protocol:
            logger.warning(
                "warning: the best %s so far was measured in another way (%s, now %s): it starts over",
                *(self.best.short, state.get("protocol"), self._protocol),
            )
        else:
            self.best = replace(self.best, value=state["value"], epoch=state["epoch"], waited=state["waited"])

    @property
    def _protocol(self) -> str:
        """What a value depends on beside the weights."""
        suite = self.suite
        name = suite.full_name(self.best.short) if self.best.short else ""
        drawn = ""
        if name.startswith("kid"):
            drawn = ", subsets of {kid_subset_size}, seed {metric_seed}".format(**suite.settings)
        return f"{name} on {counted(self.num_images, 'image')} of {self.phase}{drawn}"

    def _measure(self, model: Snapshot) -> list[Measurement]:
        sides: dict[str, dict[str, Pixels]] = {}
        for name, visuals in self._pictures(model):
            for visual, pixels in visuals.items():
                sides.setdefault(visual, {})[name] = pixels
        domains = [side for side in "BA" if f"fake_{side}" in sides and f"real_{side}" in sides]
        if not domains:
            raise ValueError(f"the model makes no fake_B with a real_B, only {', '.join(sides)}")
        found = []
        without: dict[str, dict[str, None]] = {}  # reason -> names, of both domains

        def failed(names: Sequence[str], error: Exception) -> None:
            without.setdefault(_reason(error), {}).update(dict.fromkeys(names))

        for domain in domains:
            other = f"real_{'A' if domain == 'B' else 'B'}"
            fake, real = (self._side(sides, f"{kind}_{domain}") for kind in ("fake", "real"))
            source = self._side(sides, other) if other in sides else None
            own = domain if len(domains) > 1 else "B"  # a model of one domain has nothing to tell apart
            found += [replace(each, domain=own) for each in self.suite.measure(fake, real, source, failed=failed)]
        self._tell(without)
        return found

    def _tell(self, failed: Mapping[str, Iterable[str]]) -> None:
        """Warn of metrics that could not be measured, by reason, each line once in a run."""
        for reason, names in failed.items():
            line = f"evaluations go without {', '.join(names)}: {reason}"
            if line not in self._told:
                self._told.add(line)
                logger.warning("warning: %s", line)

    def _side(self, sides: Mapping[str, dict[str, Pixels]], visual: str) -> MadeImages:
        """The images of a side in the order that their files in a result folder have."""
        images = sides[visual]
        order = sorted(images, key=lambda name: f"{name}_{visual}.png")
        label_maps = visual[-1] in self._labelled
        return MadeImages(f"{visual} of {self.phase}", {name: images[name] for name in order}, label_maps=label_maps)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"


def start_evaluation(
    pictures: Callable[[Snapshot], Pictures],
    engine: Engine,
    *,
    phase: str,
    num_images: int,
    freq: int,
    names: Sequence[str],
    explicit: bool,
    paired: bool,
    steering: Mapping[str, str],
    patience: int,
    settings: Mapping[str, Any],
    labelled: Sequence[str] = (),
) -> Evaluation:
    """The evaluation of a run; every process must call it. A metric that cannot be had here is reported and left out.

    Args:
        pictures: see ``Evaluation``.
        engine: whose device measures, in the main process.
        phase: where the pictures come from.
        num_images: how many they are.
        freq: ``--eval_freq``.
        names: ``--eval_metrics``.
        explicit: whether the user named them.
        paired: whether the held-out images have targets.
        steering: flag -> short name of a metric on which the run depends, or of a loss, or empty.
        patience: ``--early_stop``, by the metric of ``--save_best``, else by the first one.
        settings: of ``Suite``.
        labelled: domains whose images are label maps.

    Raises:
        ValueError: a flag depends on what cannot be measured here, nothing at all can be measured, or pairs are asked
            for where there are none.
    """
    chosen = list(expand(names, "--eval_metrics"))
    pairs = [name for name in chosen if METRICS[name].by == "pairs"]
    if pairs and not paired:
        if explicit:
            raise ValueError(f"--eval_metrics {','.join(pairs)}: unpaired images have no targets; ask for kid or fid")
        chosen = [name for name in chosen if name not in pairs]
    if "B" in labelled:
        for flag, short in steering.items():
            if short in METRICS and not METRICS[short].of_labels:
                raise ValueError(f"{flag} {short}: {NOT_OF_LABELS}")
    is_main = engine.world.is_main
    suite = Suite(chosen, engine.device, load=is_main, lenient=True, progress=False, **settings)
    suite.names, suite.missing = distributed.gather((suite.names, suite.missing))[0]
    for flag, short in steering.items():
        if short in suite.missing:
            raise ValueError(f"{flag} {short}: {suite.missing[short]}")
    if not suite.names:
        raise ValueError(f"--eval_freq {freq}: {next(iter(suite.missing.values()))}; or leave --eval_freq out")
    for reason in dict.fromkeys(suite.missing.values()):
        left_out = ", ".join(name for name, why in suite.missing.items() if why == reason)
        logger.warning("warning: evaluations go without %s: %s", left_out, reason)
    best = Best(steering.get("--save_best") or (suite.names[0] if patience else ""), patience)
    return Evaluation(
        suite, pictures, freq=freq, best=best, phase=phase, num_images=num_images, is_main=is_main, labelled=labelled
    )
