"""The options that a sweep varies: ``lr=log:1e-5..1e-3``, ``ngf=32..128``, ``netG=unet_128,resnet_6blocks``."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"(?P<log>log:)?(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?:/(?P<points>\d+))?")
_WHOLE = re.compile(r"[+-]?\d+")
_FORMS = "NAME=LOW..HIGH, NAME=log:LOW..HIGH or NAME=a,b,c"


@dataclass(frozen=True)
class Dimension:
    """One option that varies.

    Attributes:
        flag: of train.py, without dashes.
        choices: its values as words; empty for a range.
        low: smallest value of a range.
        high: largest value of a range, included.
        log: the logarithm of the value is drawn uniformly, not the value.
        whole: whole numbers only, as both ends of the range are written without a point or exponent.
    """

    flag: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def suggest(self, trial: Any) -> str:
        """The word for train.py that an ``optuna.trial.Trial`` proposes."""
        if self.choices:
            return self.word(trial.suggest_categorical(self.flag, list(self.choices)))
        if self.whole:
            return self.word(trial.suggest_int(self.flag, int(self.low), int(self.high), log=self.log))
        return self.word(trial.suggest_float(self.flag, self.low, self.high, log=self.log))

    def word(self, value: Any) -> str:
        """A proposed value as train.py gets it."""
        return str(value) if self.choices else _word(value, self.whole)

    @property
    def examples(self) -> tuple[str, ...]:
        """Words to try train.py's parser with: every choice, or both ends of the range."""
        return self.choices or tuple(_word(end, self.whole) for end in (self.low, self.high))


def read_space(words: Sequence[str]) -> tuple[Dimension, ...]:
    """The dimensions of ``--space``.

    Args:
        words: one a dimension. ``LOW..HIGH`` is a range, of whole numbers where both ends are whole numbers;
            ``log:`` before it draws on a logarithmic scale; ``/N`` behind it takes N points in place of the range, both
            ends included. Words with commas are choices.

    Raises:
        ValueError: a word of another form, or an option that is there twice.
    """
    found: dict[str, Dimension] = {}
    for word in words:
        flag, equals, text = word.partition("=")
        flag = flag.strip().removeprefix("--")
        if not equals or not flag.isidentifier():
            raise ValueError(f"--space {word}: write {_FORMS}")
        if flag in found:
            raise ValueError(f"--space {word}: {flag} is there twice; name every option once")
        found[flag] = _dimension(flag, text.strip(), word)
    return tuple(found.values())


def grid(space: Sequence[Dimension]) -> list[dict[str, str]]:
    """Every combination, the last dimension changing first.

    Raises:
        ValueError: a range without a number of points.
    """
    for each in space:
        if not each.choices:
            raise ValueError(f"--sampler grid: --space {each.flag} is a range; add a number of points, LOW..HIGH/5")
    return [
        dict(zip([each.flag for each in space], words))
        for words in itertools.product(*(each.choices for each in space))
    ]


def words_of(params: Mapping[str, str]) -> list[str]:
    """Words of a command line; ``--flag=value`` where a value begins with a dash."""
    found = []
    for flag, value in params.items():
        found += [f"--{flag}={value}"] if value.startswith("-") else [f"--{flag}", value]
    return found


def _dimension(flag: str, text: str, word: str) -> Dimension:
    match = _RANGE.fullmatch(text)
    if match is None:
        choices = tuple(each.strip() for each in text.split(","))
        if not all(choices) or len(set(choices)) != len(choices) or any(".." in each for each in choices):
            raise ValueError(f"--space {word}: write {_FORMS}, every value once")
        return Dimension(flag, choices)
    low, high, log = float(match["low"]), float(match["high"]), bool(match["log"])
    whole = bool(_WHOLE.fullmatch(match["low"]) and _WHOLE.fullmatch(match["high"]))
    if not low < high or not math.isfinite(high - low):
        raise ValueError(f"--space {word}: the first number must be smaller than the second, both finite")
    if log and low <= 0:
        raise ValueError(f"--space {word}: a logarithmic range begins above 0")
    if match["points"] is None:
        return Dimension(flag, low=low, high=high, log=log, whole=whole)
    points = int(match["points"])
    if not 2 <= points <= 1000:
        raise ValueError(f"--space {word}: give 2 to 1000 points")
    shares = [place / (points - 1) for place in range(points)]
    values = [low * (high / low) ** share if log else low + (high - low) * share for share in shares]
    words = tuple(dict.fromkeys(_word(value, whole) for value in values))
    return Dimension(flag, words)


def _word(value: float, whole: bool) -> str:
    return str(round(value)) if whole else f"{value:.6g}"
