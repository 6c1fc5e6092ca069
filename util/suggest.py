"""One sentence for an unknown name: what was given, what is close, what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(given: str, choices: Iterable[str]) -> str | None:
    """The choice most like ``given``, or None when none is near."""
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.5)
    return lowered[found[0]] if found else None


def unknown(what: str, given: str, choices: Iterable[str]) -> ValueError:
    """A ``ValueError`` that names the value, the closest match and all choices."""
    choices = list(choices)
    near = closest(given, choices)
    hint = f"did you mean {near!r}? " if near else ""
    return ValueError(f"unknown {what}: {hint}choose one of {', '.join(choices)}")
