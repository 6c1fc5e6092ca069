"""Looks at what a training logs anyway, losses and pictures, and says in words when it is failing, with a remedy.

Every sign is a judgement over a window of records, never over one; see docs/doctor.md for each with its limits.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from util.run.signs import FLAT, Pattern, contrast, correlation, difference, grid_pattern, saturated, used_range
from util.types import EpochRecord, ImageRecord, ScalarRecord

SCALARS, SCALAR_STEPS = 20, 10  # records of losses that a judgement needs, and training steps from one to the next
PICTURES, PICTURE_STEPS = 5, 20  # the same of image records
EPOCHS = 3  # in a row that show a D that has won, of SCALARS * SCALAR_STEPS steps or more
LOOKED_AT = ("real", "fake")  # roles of visuals
CENTRE = 512  # pixels of a side that are looked at
LATE = 15  # image records before checkerboards count; pale pictures do after twice as many: at first both are usual

D_WON = 0.02  # loss of D: with the vanilla loss 98 % sure and right, with least squares off by 0.14
D_STILL = 1e-4  # largest over smallest loss of D, less 1: batches of different images never agree so well
D_LARGE = 10.0  # loss of D; where it knows nothing, log 2 (vanilla), 0.25 (lsgan) or 1 (hinge)
GROWN, LARGE = 50.0, 100.0  # of a loss: times its start, and in size
LARGE_CRITIC = 1000.0  # in place of LARGE for wgan, whose losses have no bound of their own
RICH = 10.0  # standard deviation in levels of 255 above which an image has content
SAME = 1.0  # mean difference in levels of 255 of two pictures that show the same
INVERTED_TARGET, INVERTED_INPUT = -0.3, -0.6  # correlation
UNUSED = 0.25  # share of [-1, 1]
PALE = 0.25  # contrast of the fakes over that of the real images, median of the last LATE records
AT_THE_ENDS, ENDS_EXPECTED = 0.95, 0.5  # shares of pixels: fake, real
GRID_DB, GRID_ABOVE_REAL_DB = 12.0, 9.0
GRID_LEVELS, GRID_SHARE = 1.0, 0.12  # of the amplitude: levels of 255, share of the fakes' contrast
HELD_OUT_WORSE, TRAIN_BETTER, PATIENCE = 1.05, 0.8, 3  # of the values at the best evaluation; evaluations since then
GAP, HELD_OUT_STILL = 3.0, 0.97  # held-out over training L1; of the best before the last PATIENCE evaluations
TRAIN_HALVED = 0.5  # of the value at an evaluation since which held-out images are no better than HELD_OUT_STILL

_JUDGE = re.compile(r"D_(real|fake|[AB])")
_L1 = {"G_L1", "G_L"}  # by both names of the published programs


@dataclass(frozen=True)
class Finding:
    """What was seen.

    Attributes:
        sign: which failure: ``d_won``, ``d_dead``, ``diverging``, ``constant``, ``inverted``, ``checkerboard``,
            ``range``, ``overfitting``.
        about: the loss, visual or side that shows it; a sign is reported once for each.
        text: the sentence, with what to change.
    """

    sign: str
    about: str
    text: str


@dataclass(frozen=True)
class Pair:
    """A fake in a picture and the real images that it is compared with, as names of visuals."""

    fake: str
    real: str  # of its domain; empty where the record has none
    target: str  # empty where the data have no pairs
    source: str


def pairs_of(record: ImageRecord) -> list[Pair]:
    """The fakes of a record and their partners, by the kinds of its visuals."""
    reals = {name: kind for name, kind in record.kinds.items() if kind.role == "real"}
    found = []
    for fake, kind in record.kinds.items():
        if kind.role != "fake":
            continue
        real = next((name for name, of in reals.items() if of.domain == kind.domain), "")
        translated = kind.domain != kind.source  # else it is drawn from noise, and has no input
        target = real if real and translated and reals[real].source == kind.source else ""
        source = next((name for name, of in reals.items() if translated and of.domain == kind.source), "")
        found.append(Pair(fake, real, target, source))
    return found


class Doctor:
    """Keeps the last records of a run, and judges them whenever one is added.

    A record that follows sooner than ``SCALAR_STEPS`` or ``PICTURE_STEPS`` is left out: a network of 20 steps is not to
    be judged, however often it is printed (``--print_freq 1``, or batches larger than ``--print_freq``).

    Args:
        options: of the run, flag -> value: ``gan_mode``, ``lambda_L1``, ``lr_D``, ``batch_size``, ``accum_grad`` and
            those that a remedy depends on.
    """

    def __init__(self, options: Mapping[str, object]) -> None:
        self._options = options
        self._step = math.prod(
            size for key in ("batch_size", "accum_grad") if isinstance(size := options.get(key), int)
        )
        self._scalars_at = self._pictures_at = 0  # images that the run had seen at the last record that was kept
        self._critic = str(options.get("gan_mode", "")).startswith("wgan")
        weight = options.get("adv_weight")  # U-GAT-IT: D_A, D_B are eight terms, not halved, times this weight
        self._terms = 8.0 * weight if isinstance(weight, (int, float)) else 1.0
        self._rate_G, self._rate_D = (each if each[2:] in options else "--lr" for each in ("--lr_G", "--lr_D"))
        self._first: list[ScalarRecord] = []
        self._scalars: deque[ScalarRecord] = deque(maxlen=SCALARS)
        self._pictures: deque[ImageRecord] = deque(maxlen=PICTURES)
        self._patterns: deque[dict[str, Pattern | None]] = deque(maxlen=PICTURES)
        self._vivid: dict[str, deque[float]] = {}  # of a fake, its contrast over that of the real image, LATE times
        self._seen = 0  # image records
        self._evaluations: list[EpochRecord] = []
        self._epoch_end = 0  # images that the run had seen at the end of the last epoch
        self._won: dict[str, tuple[int, int]] = {}  # of a D, epochs in a row in which it made no mistake, and images

    def add_scalars(self, record: ScalarRecord) -> list[Finding]:
        """Judge the losses of the last batches."""
        if not self._due(record, self._scalars_at, SCALAR_STEPS):
            return []
        self._scalars_at = record.total_iters
        if len(self._first) < SCALARS // 4:
            self._first.append(record)
        self._scalars.append(record)
        found = list(self._diverging())
        if len(self._scalars) == SCALARS:
            means = {name: fmean(each.losses.get(name, math.inf) for each in self._scalars) for name in record.losses}
            won = [] if self._critic else list(self._d_won(means, f"mean of the last {SCALARS} records"))
            found += won or self._d_dead(record.losses)
        return found

    def add_images(self, record: ImageRecord) -> list[Finding]:
        """Judge the last pictures."""
        if not self._due(record, self._pictures_at, PICTURE_STEPS):
            return []
        self._pictures_at = record.total_iters
        kept = {name: _centre(record.images[name]) for name, kind in record.kinds.items() if kind.role in LOOKED_AT}
        if self._pictures and self._pictures[-1].images.keys() != kept.keys():
            self._pictures.clear()
            self._patterns.clear()
        self._pictures.append(replace(record, images=kept))
        self._patterns.append({name: grid_pattern(image) for name, image in kept.items()})  # slow: once for each
        self._seen += 1
        pairs = pairs_of(record)
        for pair in pairs:
            if pair.real and (full := contrast(kept[pair.real])) > RICH:
                self._vivid.setdefault(pair.fake, deque(maxlen=LATE)).append(contrast(kept[pair.fake]) / full)
        if len(self._pictures) < PICTURES:
            return []
        found = list(self._data_range())
        for pair in pairs:
            looks = (self._ends, self._pale, self._inverted, self._checkerboard)
            constant = self._constant(pair)  # and then pale too
            found += [constant] if constant else [finding for look in looks if (finding := look(pair))]
        return found

    def add_epoch(self, record: EpochRecord) -> list[Finding]:
        """Judge the losses of the last epochs, and the evaluations so far."""
        found = list(self._d_won_for_epochs(record))
        if held_out_error(record) is not None:
            self._evaluations.append(record)
        weight = self._options.get("lambda_L1")
        finding = overfitting(self._evaluations, float(weight) if isinstance(weight, (int, float)) else 0.0)
        return [*found, finding] if finding else found

    def _due(self, record: ScalarRecord | ImageRecord, last: int, steps: int) -> bool:
        """Whether a multiple of ``steps`` was passed since the last one; not so in the very first step."""
        spacing = steps * self._step
        return record.total_iters // spacing > last // spacing

    # -- losses --------------------------------------------------------------------------------------------------

    def _judges(self, losses: Mapping[str, float]) -> list[list[str]]:
        """The losses of each discriminator; one that reports two must be right, or wrong, on both."""
        names = [name for name in losses if _JUDGE.fullmatch(name)]
        together = [name for name in names if name in ("D_real", "D_fake")]
        return [*([together] if together else []), *([name] for name in names if name not in together)]

    def _d_won(self, means: Mapping[str, float], over: str) -> Iterator[Finding]:
        for names in self._judges(means):
            if all(0 <= means[name] < D_WON * self._terms for name in names):
                shown = ", ".join(f"{name} {means[name]:.2g}" for name in names)
                mode = "" if self._options.get("gan_mode") in ("lsgan", "ls") else "--gan_mode lsgan, "
                text = (
                    f"the discriminator has won ({shown}, {over}): it makes no mistake any more and the generator "
                    f"learns nothing from it. Start again with a lower {self._rate_D}, {mode}a smaller --ndf or "
                    "another --seed"
                )
                yield Finding("d_won", ",".join(names), text)

    def _d_won_for_epochs(self, record: EpochRecord) -> Iterator[Finding]:
        """The same by the means of epochs, of which small data sets have many per record."""
        begin, self._epoch_end = self._epoch_end, record.total_iters
        if self._critic:
            return
        now = {finding.about: finding for finding in self._d_won(record.means, "mean of the last epoch")}
        won = {about: self._won.get(about, (0, begin)) for about in now}
        self._won = {about: (epochs + 1, first) for about, (epochs, first) in won.items()}
        for about, (epochs, first) in self._won.items():
            if epochs >= EPOCHS and record.total_iters - first >= SCALARS * SCALAR_STEPS * self._step:
                yield now[about]

    def _d_dead(self, losses: Mapping[str, float]) -> Iterator[Finding]:
        for names in self._judges(losses):
            values = [[record.losses.get(name, math.inf) for record in self._scalars] for name in names]
            if all(any(each) and max(each) - min(each) <= D_STILL * min(map(abs, each)) for each in values):
                shown = ", ".join(f"{name} {losses[name]:.4g}" for name in names)
                text = (
                    f"the discriminator is dead ({shown} in each of the last {SCALARS} records): it gives every image "
                    f"the same answer and the generator learns nothing from it. Start again with a lower "
                    f"{self._rate_D} or another --seed"
                )
                yield Finding("d_dead", ",".join(names), text)

    def _diverging(self) -> Iterator[Finding]:
        last = self._scalars[-1].losses
        remedy = "the training diverges. Start again with a lower "
        remedy += " or ".join(dict.fromkeys((self._rate_D, self._rate_G)))
        remedy += ", or --precision fp32" if self._options.get("precision") == "fp16" else ""
        remedy += ", or --gan_mode wgangp" if self._options.get("gan_mode") == "wgan" else ""
        for names in self._judges(last) if len(self._scalars) == SCALARS and not self._critic else ():
            means = {name: fmean(record.losses.get(name, 0.0) for record in self._scalars) for name in names}
            if max(means.values()) > D_LARGE * max(self._terms, 1.0):
                shown = ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
                text = f"{shown} (mean of the last {SCALARS} records), where less than "
                text += f"{max(self._terms, 1.0):g} is usual: {remedy}"
                yield Finding("diverging", ",".join(names), text)
        if len(self._first) < SCALARS // 4 or len(self._scalars) < SCALARS // 2:
            return
        least = LARGE_CRITIC if self._critic else LARGE
        recent = list(self._scalars)[-SCALARS // 4 :]
        for name in last:
            begin = median(abs(record.losses.get(name, 0.0)) for record in self._first)
            now = median(abs(record.losses.get(name, 0.0)) for record in recent)
            if now > max(least, GROWN * begin):
                yield Finding("diverging", name, f"{name} has grown from {begin:.3g} to {now:.3g}: {remedy}")

    # -- pictures ------------------------------------------------------------------------------------------------

    def _images(self, name: str) -> list[NDArray[np.uint8]]:
        return [record.images[name] for record in self._pictures]

    def _data_range(self) -> Iterator[Finding]:
        reals = {name: kind for name, kind in self._pictures[-1].kinds.items() if kind.role == "real"}
        swapped = self._options.get("direction") == "BtoA"
        for name, kind in reals.items():
            low, high = used_range(self._images(name))
            if (high - low) / 2 < UNUSED and not kind.colours:
                side = "" if len(reals) < 2 else "_B" if (kind.domain == "B") != swapped else "_A"
                yield Finding(
                    "range",
                    name,
                    f"{name} uses only {low:.2f} to {high:.2f} of the values from -1 to 1: the networks can hardly see "
                    f"or make differences. Give the range of the files by --value_range{side} LOW,HIGH "
                    "(12 bits in 16-bit files: 0,4095)",
                )

    def _constant(self, pair: Pair) -> Finding | None:
        fakes = self._images(pair.fake)
        begin = f"Start again with another --seed, a lower {self._rate_G} or another --init_type"
        reals = self._images(pair.real) if pair.real else []
        rich = not reals or median(map(contrast, reals)) > RICH
        if rich and max(map(contrast, fakes)) < FLAT:
            text = f"{pair.fake} is of one colour: the generator makes a constant picture. {begin}"
            return Finding("constant", pair.fake, text)
        others = reals if not pair.source else self._images(pair.source)
        changing = [_changes(each) for each in (others, reals) if each]
        if changing and min(changing) > RICH and 0 <= _changes(fakes) < SAME:
            text = f"{pair.fake} is always the same picture, whatever the input: the generator has collapsed. {begin}"
            return Finding("constant", pair.fake, text)
        return None

    def _ends(self, pair: Pair) -> Finding | None:
        fake, real = self._median(saturated, pair.fake), self._median(saturated, pair.real)
        if not fake > AT_THE_ENDS or (pair.real and real > ENDS_EXPECTED):
            return None
        head = ", --atme_head conv_clamp" if self._options.get("atme_head") not in (None, "conv_clamp") else ""
        text = (
            f"{fake:.0%} of the pixels of {pair.fake} are pure black or white: the generator is stuck at the ends of "
            f"its range. Start again with a lower {self._rate_G}, another --seed{head} or --init_type xavier"
        )
        return Finding("range", pair.fake, text)

    def _pale(self, pair: Pair) -> Finding | None:
        ratios = self._vivid.get(pair.fake, ())
        if self._seen < 2 * LATE or len(ratios) < PICTURES or (share := median(ratios)) >= PALE:
            return None
        text = (
            f"{pair.fake} uses little of its range: its contrast is {share:.0%} of that of {pair.real}. The "
            f"generator hardly learns, or makes an average of the targets: raise {self._rate_G}, or the weight of the "
            "GAN loss"
        )
        return Finding("range", pair.fake, text)

    def _inverted(self, pair: Pair) -> Finding | None:
        for other, limit in ((pair.target, INVERTED_TARGET), ("" if pair.target else pair.source, INVERTED_INPUT)):
            if not other:
                continue
            found = [_correlation(f, r) for f, r in zip(self._images(pair.fake), self._images(other))]
            if max(found) < 0 and median(found) < limit:
                remedy = (
                    "check that A and B belong together (scripts/check_data.py --contact_sheet) and raise --lambda_L1"
                    if pair.target
                    else "unless the two domains are meant so, start again with another --seed or a higher weight of "
                    "the identity loss (--lambda_identity, --identity_weight)"
                )
                text = f"{pair.fake} looks like a negative of {other} (correlation {median(found):.2f}): {remedy}"
                return Finding("inverted", pair.fake, text)
        return None

    def _checkerboard(self, pair: Pair) -> Finding | None:
        """By the mean spectra of the window; one picture's noise reaches 10 dB somewhere."""
        found = [patterns[pair.fake] for patterns in self._patterns]
        expected = [patterns[pair.real] for patterns in self._patterns] if pair.real else []
        fakes, reals = ([each for each in some if each is not None] for some in (found, expected))
        if len(fakes) < PICTURES or len(reals) < PICTURES:
            return None
        if self._seen < LATE or self._median(contrast, pair.real) <= RICH:
            return None
        (fake, amplitude), (real, _) = np.mean(fakes, axis=0), np.mean(reals, axis=0)
        least = max(GRID_LEVELS, GRID_SHARE * self._median(contrast, pair.fake))
        seen = (fake > GRID_DB) & (fake - real > GRID_ABOVE_REAL_DB) & (amplitude > least)
        if not seen.any():
            return None
        worst = int(np.argmax(np.where(seen, amplitude, 0)))
        text = (
            f"{pair.fake} has a checkerboard pattern of {amplitude[worst]:.1f} levels of 255: its spectrum stands out "
            f"by {fake[worst]:.0f} dB at a frequency of up-sampling, that of {pair.real} by {real[worst]:.0f} dB. If "
            f"it stays, train longer, lower {self._rate_G}, or choose another --netG"
        )
        return Finding("checkerboard", pair.fake, text)

    def _median(self, number: Callable[[NDArray[np.uint8]], float], name: str) -> float:
        return median(number(image) for image in self._images(name)) if name else math.nan


def held_out_error(record: EpochRecord) -> float | None:
    """Distance of fakes and targets on held-out images: L1 in 0..1, or the root mean square error by PSNR.

    None where neither was measured.
    """
    if "l1" in record.metrics:
        return record.metrics["l1"]
    return 10 ** (-record.metrics["psnr"] / 20) if "psnr" in record.metrics else None


def overfitting(evaluations: Sequence[EpochRecord], lambda_L1: float = 0.0) -> Finding | None:
    """Whether a run learns its images by heart.

    Either the L1 loss goes on falling while held-out images have become worse since the best evaluation; or it has
    fallen to a half since an evaluation after which they got no better; or they get no better any more, and their L1 is
    three times that of the training.

    Args:
        evaluations: of the run, with ``G_L1`` (or ``G_L``) among the means and L1 or PSNR among the metrics.
        lambda_L1: the weight in ``G_L1``; 0 where unknown, and for the first two rules alone.
    """
    usable = [each for each in evaluations if _L1 & each.means.keys() and held_out_error(each) is not None]
    errors = [error for each in usable if (error := held_out_error(each)) is not None]
    if len(usable) <= PATIENCE:
        return None
    best = min(range(len(errors)), key=errors.__getitem__)
    since = errors[best + 1 :]
    then, now = _training_L1(usable[best]), _training_L1(usable[-1])
    remedy = "Use more images, --save_best psnr or --early_stop, or fewer epochs"
    if (
        len(since) >= PATIENCE
        and min(since[-PATIENCE:]) >= HELD_OUT_WORSE * errors[best]
        and now <= TRAIN_BETTER * then
    ):
        text = (
            f"overfitting: since epoch {usable[best].epoch} the training's G_L1 fell from {then:.3g} to {now:.3g}, and "
            f"the error on held-out images rose from {errors[best]:.3g} to {errors[-1]:.3g}. {remedy}"
        )
        return Finding("overfitting", "G_L1", text)
    for place in range(len(errors) - PATIENCE):
        then = _training_L1(usable[place])
        if now <= TRAIN_HALVED * then and min(errors[place + 1 :]) > HELD_OUT_STILL * errors[place]:
            text = (
                f"overfitting: since epoch {usable[place].epoch} the training's G_L1 fell from {then:.3g} to "
                f"{now:.3g}, and held-out images have got no better. {remedy}"
            )
            return Finding("overfitting", "G_L1", text)
    if not lambda_L1 or "l1" not in usable[-1].metrics:
        return None
    trained = now / lambda_L1 / 2  # of values from -1 to 1; the metric is of 0 to 1
    earlier = min(errors[:-PATIENCE])
    if errors[-1] > GAP * trained and min(errors[-PATIENCE:]) > HELD_OUT_STILL * earlier:
        text = (
            f"overfitting: L1 is {trained:.2g} on the training's images and {errors[-1]:.2g} on held-out ones, which "
            f"get no better any more. {remedy}"
        )
        return Finding("overfitting", "G_L1", text)
    return None


def _training_L1(record: EpochRecord) -> float:
    """The weighted L1 loss of the training."""
    return next(value for name, value in record.means.items() if name in _L1)


def _centre(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most ``CENTRE`` pixels of each side, copied: large pictures would take time and memory."""
    top, left = (max(0, side - CENTRE) // 2 for side in image.shape[:2])
    return image[top : top + CENTRE, left : left + CENTRE].copy()


def _changes(images: Sequence[NDArray[np.uint8]]) -> float:
    """Median of the mean differences of successive images; -1 where their sizes differ."""
    if any(a.shape != b.shape for a, b in pairwise(images)):
        return -1.0
    return median(difference(a, b) for a, b in pairwise(images))


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation, of the brightness where the channels differ in number; 0 where the sizes differ."""
    if a.shape[:2] != b.shape[:2]:
        return 0.0
    if a.shape != b.shape:
        a, b = (each.mean(axis=2, keepdims=True).astype(np.uint8) for each in (a, b))
    return correlation(a, b)
