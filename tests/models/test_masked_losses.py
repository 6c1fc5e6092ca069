"""The losses that compare with files leave out what is missing there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.test_models import build, make_batch, step


def with_gaps(name: str) -> dict[str, Any]:
    batch = make_batch(name)
    for side, rows in (("A", slice(0, 5)), ("B", slice(20, None))):
        batch[f"{side}_mask"] = torch.ones_like(batch[side][:, :1])
        batch[f"{side}_mask"][:, :, rows] = 0
    return batch


def there(made: torch.Tensor, side: str) -> torch.Tensor:
    """The rows of a side that are not missing."""
    return made[:, :, 5:] if side == "A" else made[:, :, :20]


# Loss -> weight by the defaults, the visual that it compares, the side that it compares with.
CYCLE = {
    "cycle_A": (10, "rec_A", "A"),
    "cycle_B": (10, "rec_B", "B"),
    "idt_A": (5, "idt_A", "B"),
    "idt_B": (5, "idt_B", "A"),
}


@pytest.mark.parametrize(("name", "terms"), [("pix2pix", {"G_L1": (100, "fake_B", "B")}), ("cycle_gan", CYCLE)])
def test_the_mean_is_over_what_is_there(name, terms):
    model, batch = build(name), with_gaps(name)
    losses = step(model, batch)
    made = model.visuals()
    for loss, (weight, visual, side) in terms.items():
        wanted = weight * (there(made[visual], side) - there(batch[side], side)).abs().mean()
        assert float(losses[loss]) == pytest.approx(float(wanted), rel=1e-5), loss


@pytest.mark.parametrize(("name", "loss"), [("atme", "G_L1"), ("pix2pix", "G_L1")])
def test_what_lies_in_a_gap_changes_nothing(name, loss):
    found = []
    for fill in (-1.0, 1.0):
        batch = with_gaps(name)
        batch["B"][:, :, 20:] = fill
        found.append(float(step(build(name), batch)[loss]))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["atme_unpaired", "augan", "ugatit"])
def test_models_of_two_directions_take_masks(name):
    model, batch = build(name), with_gaps(name)
    whole = step(build(name), make_batch(name))
    found = step(model, batch)
    changed = {key for key in found if float(found[key]) != float(whole[key])}
    assert {"cycle_A", "cycle_B"} & changed or "G_cycle" in changed
