"""Which patients are for training and which for tests: never slice by slice, and the same in every call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def split_patients(
    patients: Iterable[str], fractions: Mapping[str, float], *, known: Mapping[str, str], seed: int = 0
) -> dict[str, str]:
    """Patient -> phase, by a hash of the name, so that the order of the files and new patients change nothing.

    A phase that would be empty gets one patient while there are enough: ``train`` first, then in the order given.

    Args:
        patients: names, in any order; one named twice counts once.
        fractions: phase -> share of the patients; ``train`` gets the rest.
        known: phases of patients from earlier calls, which keep them.
        seed: another number gives another split.

    Raises:
        ValueError: the shares are negative, or leave nothing to training.
    """
    if any(share < 0 for share in fractions.values()) or sum(fractions.values()) >= 1:
        raise ValueError("--val_fraction and --test_fraction: give shares from 0 that leave some patients for training")
    names = sorted(set(patients))
    places = {name: _place(name, seed) for name in names}
    found = {name: known.get(name) or _phase(places[name], fractions) for name in names}
    new = sorted((name for name in names if name not in known), key=lambda name: (places[name], name))
    for phase in ("train", *(phase for phase, share in fractions.items() if share)):
        there = list({**known, **found}.values())
        spare = [name for name in new if there.count(found[name]) > 1]
        if phase not in there and (spare or (phase == "train" and new)):
            found[(spare or new)[0]] = phase
    return found


def _place(name: str, seed: int) -> float:
    """A number from 0 up to 1 that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _phase(place: float, fractions: Mapping[str, float]) -> str:
    for phase, share in fractions.items():
        if place < share:
            return phase
        place -= share
    return "train"
