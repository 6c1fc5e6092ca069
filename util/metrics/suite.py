"""The metrics that a command asked for, loaded once and measured on any number of pairs of sides."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from util.metrics import METRICS, NOT_OF_LABELS, expand, full_name
from util.metrics.diversity import diversity
from util.metrics.features import FeatureCache, Features, default_cache, features_of
from util.metrics.images import ImageSet
from util.metrics.measurement import Measurement, Number
from util.metrics.paired import paired
from util.run.pretrained import MissingWeights
from util.wording import counted

if TYPE_CHECKING:
    from util.metrics.distances import Lpips
    from util.metrics.extractors import Extractor

logger = logging.getLogger(__name__)

NO_CACHE = "none"
Failed = Callable[[Sequence[str], Exception], object]
"""Called with the short names of what could not be measured, and why."""
_PACKAGES = ("torch", "torchvision", "torch-fidelity", "torchmetrics", "numpy", "pillow")


class Suite:
    """Metrics with their settings.

    The networks are loaded on construction, so that what is missing is reported before anything is computed.

    Args:
        names: short names, groups allowed (``kid``, ``prc``, ``psnr``...).
        device: where the networks run.
        feature_extractor: ``inception`` or ``efficientnet_lite0``.
        inception_weights: file; empty: torch.hub's copy, or a download.
        lpips_net: ``alex``, ``vgg``, ``squeeze``.
        lpips_weights: file with the backbone; empty: torchvision's copy, or a download.
        kid_subset_size: images in a subset of KID.
        kid_subsets: subsets of KID.
        is_splits: splits of IS.
        metric_seed: of KID's subsets and of IS's shuffling.
        metric_batch_size: images that go through an extractor at a time.
        feature_cache: folder for the features of real sides; empty: the user's cache folder; ``none``: no cache.
        load: whether the networks are needed, because this process measures.
        lenient: leave out what cannot be had here instead of raising; see ``missing``.
        progress: bars and rates.

    Attributes:
        names: short names of what will be measured.
        missing: short name -> why it was left out.

    Raises:
        MissingWeights: a network cannot be had here, and not ``lenient``.
        ValueError: an unknown name or a broken file.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device,
        *,
        feature_extractor: str = "inception",
        inception_weights: str = "",
        lpips_net: str = "alex",
        lpips_weights: str = "",
        kid_subset_size: int = 50,
        kid_subsets: int = 100,
        is_splits: int = 10,
        metric_seed: int = 2020,
        metric_batch_size: int = 32,
        feature_cache: str = "",
        load: bool = True,
        lenient: bool = False,
        progress: bool = True,
    ) -> None:
        self.names, self.missing = expand(names), dict[str, str]()
        self.device, self.progress = device, progress
        self.extractor_name, self.lpips_net = feature_extractor, lpips_net
        self.settings = {
            "kid_subset_size": kid_subset_size,
            "kid_subsets": kid_subsets,
            "is_splits": is_splits,
            "metric_seed": metric_seed,
        }
        self.batch_size = metric_batch_size
        folder = None if feature_cache == NO_CACHE else Path(feature_cache) if feature_cache else default_cache()
        self.cache = FeatureCache(folder)
        self._extractor: Extractor | None = None
        self._lpips: Lpips | None = None
        # Imported here: their libraries take three seconds, and most runs measure nothing.
        if load and (by_features := self.of_kind("features")):
            from util.metrics.extractors import load_extractor

            with self._leaving_out(by_features, lenient):
                self._extractor = load_extractor(feature_extractor, device, inception_weights=inception_weights)
        if load and (by_lpips := [name for name in self.names if METRICS[name].network]):
            from util.metrics.distances import Lpips

            with self._leaving_out(by_lpips, lenient):
                self._lpips = Lpips(lpips_net, device, lpips_weights)

    def full_name(self, short: str) -> str:
        """The name under which a number is stored."""
        return full_name(short, extractor=self.extractor_name, lpips_net=self.lpips_net)

    def of_kind(self, by: str) -> list[str]:
        """Short names of what is measured by ``features``, by ``pairs`` or by ``draws``."""
        return [name for name in self.names if METRICS[name].by == by]

    def features(self, images: ImageSet, *, stays: bool = False) -> Features:
        """Features of a side; one that ``stays`` the same is kept in the cache."""
        assert self._extractor is not None
        cache = self.cache if stays else None
        return features_of(
            images, self._extractor, self.device, batch_size=self.batch_size, cache=cache, progress=self.progress
        )

    def measure(
        self,
        fake: ImageSet,
        real: ImageSet | None,
        source: ImageSet | None = None,
        *,
        draws: Sequence[ImageSet] = (),
        features: Features | None = None,
        paired_values: Mapping[str, Number] | None = None,
        failed: Failed | None = None,
    ) -> list[Measurement]:
        """Every number of one pair of sides.

        Args:
            fake: generated images.
            real: images of the target domain; the targets by name, where pairs are compared; None where nothing is
                compared with them (see ``Metric.needs_real``).
            source: images of the source domain, for ``mean_kid``.
            draws: all draws of the generated images, the first being ``fake``, for ``diversity``.
            features: of ``fake``, where they are known already.
            paired_values: PSNR, SSIM..., where they are known already.
            failed: gets what cannot be measured and why; the others are measured all the same.

        Raises:
            ValueError: too few images, an unreadable one, or pairs that do not match; not with ``failed``.
        """
        found: dict[str, Number] = dict(paired_values or {})
        if real is None and (needing := [name for name in self.names if METRICS[name].needs_real]):
            raise ValueError(f"{', '.join(needing)} compare with real images, and there are none")
        if source is None and failed is None:
            for name in (name for name in self.names if METRICS[name].needs_source):
                raise ValueError(_no_source(name))

        wanted = self._of_labels(failed) if fake.label_maps else self.names

        def by_pairs(names: Sequence[str]) -> Mapping[str, Number]:
            assert real is not None
            return paired(fake, real, names, lpips=self._lpips, progress=self.progress)

        def by_features(names: Sequence[str]) -> Mapping[str, Number]:
            nonlocal features
            features = self.features(fake) if features is None else features
            return self._by_features(names, features, fake, real, source)

        def by_draws(names: Sequence[str]) -> Mapping[str, Number]:
            return diversity(draws, names, lpips=self._lpips, progress=self.progress)

        for kind, measured in (("pairs", by_pairs), ("features", by_features), ("draws", by_draws)):
            if names := [name for name in self.of_kind(kind) if name in wanted and name not in found]:
                found.update(measured(names) if failed is None else _what_can_be(names, measured, failed))
        common = {"fake": fake.facts(), **({"real": real.facts()} if real else {})}
        shared = _shared(fake, real) if real and any(map(_compares_sides, self.names)) else ()
        made = [self._measurement(name, found[name], common, source) for name in self.names if name in found]
        return [replace(each, notes=(*each.notes, *shared)) if _compares_sides(each.short) else each for each in made]

    def _of_labels(self, failed: Failed | None) -> list[str]:
        """What can be measured of label maps; the others are reported.

        Raises:
            ValueError: nothing can, and not ``failed``.
        """
        wanted = [name for name in self.names if METRICS[name].of_labels]
        others = [name for name in self.names if name not in wanted]
        if others and failed is not None:
            failed(others, ValueError(NOT_OF_LABELS))
        elif others and not wanted:
            raise ValueError(f"--metrics {','.join(others)}: {NOT_OF_LABELS}")
        elif others:
            logger.warning("warning: without %s: %s", ", ".join(others), NOT_OF_LABELS)
        return wanted

    def _by_features(
        self, names: Iterable[str], ours: Features, made: ImageSet, real: ImageSet | None, source: ImageSet | None
    ) -> dict[str, Number]:
        assert self._extractor is not None
        layer, logits = self._extractor.features, self._extractor.logits

        @cache
        def given(what: str) -> Any:
            """One of ``Metric.of``, computed when the first metric asks for it."""
            if what in ("fake", "logits"):
                return ours[layer if what == "fake" else logits]
            assert real is not None
            if what == "classes":
                return made.classes, real.classes
            side = source if what == "source" else real
            return None if side is None else self.features(side, stays=True)[layer]

        found: dict[str, Number] = {}
        for name in (name for name in names if name not in found):
            metric = METRICS[name]
            if metric.needs_source and source is None:
                raise ValueError(_no_source(name))
            settings = {keyword: self.settings[option] for keyword, option in metric.settings.items()}
            result = metric.function()(*map(given, metric.of), **settings)
            found.update(result if isinstance(result, Mapping) else {name: result})
        return found

    def _measurement(
        self, short: str, number: Number, common: Mapping[str, Any], source: ImageSet | None
    ) -> Measurement:
        if METRICS[short].by == "draws":
            common = {"fake": common["fake"]}
        protocol = {**common, **number.protocol, "versions": versions()}
        notes = list(number.notes)
        if METRICS[short].by == "features":
            assert self._extractor is not None
            protocol |= self._extractor.facts()
            if self.extractor_name != "inception":
                notes.append(f"features of {self.extractor_name}: not comparable with published numbers (Inception)")
            sizes = [common[side]["size"] for side in ("fake", "real") if side in common]
            if METRICS[short].needs_real and sizes[0] != sizes[1]:
                notes.append(f"the images are {sizes[0]}, the real ones {sizes[1]}: --resize N makes them equal")
        bands = max(int(side.get("bands", 0)) for side in common.values())
        if bands and (METRICS[short].by == "features" or METRICS[short].network):
            protocol["bands"] = f"first {3 if bands > 2 else 1} of {bands}"
            notes.append(f"the network saw the {protocol['bands']} bands")
        if METRICS[short].by == "features" and any("labels" in side for side in common.values()):
            notes.append("the network saw the label maps in colours")
        gaps = sum(int(side.get("nodata", 0)) for side in common.values())
        if gaps and METRICS[short].by == "features":
            protocol["nodata"] = "black"
            images = counted(gaps, "image")
            notes.append(f"the network saw missing pixels (nodata) as black; a value for them is named in {images}")
        if METRICS[short].needs_source and source is not None:
            protocol["source"] = source.facts()
        return Measurement(self.full_name(short), short, number.value, number.std, protocol, tuple(notes))

    @contextlib.contextmanager
    def _leaving_out(self, names: Sequence[str], lenient: bool) -> Iterator[None]:
        """With ``lenient``: leave these out where their network cannot be had here."""
        try:
            yield
        except MissingWeights as error:
            if not lenient:
                raise
            self.missing.update(dict.fromkeys(names, str(error)))
            self.names = tuple(name for name in self.names if name not in self.missing)


def _compares_sides(short: str) -> bool:
    return METRICS[short].by == "features" and METRICS[short].needs_real


def _shared(fake: ImageSet, real: ImageSet) -> tuple[str, ...]:
    """A note on pictures that are on both sides, where the distance of the sides says little; none without any."""
    ours, theirs = Counter(fake.hashes()), Counter(real.hashes())
    if ours == theirs:
        return ("both sides hold the same pictures: no value can be better",)
    common = sum(count for each, count in ours.items() if each in theirs)
    return (f"{common} of the {len(fake)} images are among the real ones too",) if common else ()


def _no_source(name: str) -> str:
    return f"{name} also needs the images of the source domain, and there are none"


def _what_can_be(
    names: Sequence[str], measured: Callable[[Sequence[str]], Mapping[str, Number]], failed: Failed
) -> dict[str, Number]:
    """All of these numbers together; if that fails, one by one, without those that fail alone."""
    try:
        return dict(measured(names))
    except Exception as error:  # of any kind: the caller has decided to go on without
        if len(names) == 1:
            failed(names, error)
            return {}
    found: dict[str, Number] = {}
    for name in names:
        found.update(_what_can_be([name], measured, failed))
    return found


def versions() -> dict[str, str]:
    """Versions of everything that a number depends on."""
    return {package: importlib.metadata.version(package) for package in _PACKAGES}
