"""The losses that compare with files leave out what is missing there."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from models.augan.losses import uncertain_l1
from tests.models.test_models import build, make_batch, step
from util.run import distributed
from util.run.gradients import GradientAverage


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


def part_of_a_step(values: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """What one of two processes finds for two of four images: its loss, and its gradient after the mean over both."""
    world = distributed.world_from_environment()
    distributed.start(world, torch.device("cpu"))
    try:
        part = slice(2 * world.rank, 2 * world.rank + 2)
        model = build("pix2pix")
        model.masks, model.share = {"B": mask[part]}, 0.5
        factor = nn.Parameter(torch.ones(1))
        average = GradientAverage([factor], distributed.group_for_gradients(torch.device("cpu")))
        loss = model.masked_l1(values[part] * factor, torch.zeros_like(values[part]), "B")
        with average.sending():
            loss.backward()
        average.receive()
        assert factor.grad is not None
        return [float(loss.detach()), float(factor.grad)]
    finally:
        distributed.stop()


def test_of_two_processes_the_mean_is_over_what_is_there_in_both(two_processes):
    """One process has 6 of 8 pixels, the other one; the mean of their own means would be (2 + 9) / 2."""
    values = torch.tensor([1.0, 3, 1, 3, 1, 3, 50, 50, 9, 50, 50, 50, 50, 50, 50, 50]).view(4, 1, 2, 2)
    mask = (values < 50).float()
    found = two_processes.call(part_of_a_step, values, mask)
    wanted = (1 + 3 + 1 + 3 + 1 + 3 + 9) / 7
    assert sum(loss for loss, _ in found) / 2 == pytest.approx(wanted)
    assert [gradient for _, gradient in found] == pytest.approx([wanted, wanted])


def test_the_objects_of_augan_are_compared_where_they_are():
    """A crop of 32 pixels around a box: its rows above 5 of A and from 20 on of B are missing, as in the image."""
    found = {}
    for fill in (-1.0, 1.0):
        model = build("augan", "--instance_level", "--crop_size", "32", "--load_size", "32")
        batch = with_gaps("augan")
        batch["A"][:, :, :5] = batch["B"][:, :, 20:] = fill
        for side in "AB":
            batch[f"{side}_boxes"] = [torch.tensor([[4.0, 4.0, 20.0, 20.0]])] * 2
        torch.manual_seed(0)
        model.set_input(batch)
        model.forward()
        # The networks see the fill; the images that are compared are made equal, so that only the gaps differ.
        model.images = {name: torch.zeros_like(image) for name, image in model.images.items()}
        losses = model._instance_generator_losses()
        found[fill] = [float(losses[name]) for name in ("cycle_A_inst", "A_rec_inst", "cycle_B_inst", "B_rec_inst")]
    assert found[-1.0] == found[1.0] and min(found[1.0]) > 0


def test_uncertainty_is_of_what_is_there():
    """|x - y| is 1 and 3, s is 0 and 2, and the second pixel is missing: 5 * 1 + 0."""
    x, y = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]])
    s, mask = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    assert uncertain_l1(x, y, s, mask).item() == 5
    assert uncertain_l1(x, y, s).item() == pytest.approx((5 + 15 * math.exp(-2) + 1) / 2)


def test_micro_batches_weigh_what_is_there_in_the_whole_batch(monkeypatch):
    """The first image of three has 1 of 4 pixels, the others all: (9 + 8 * 2) / 9 and not (9 + 2 + 2) / 3.

    The processes wait for each other once for all micro-batches.
    """
    model = build("pix2pix", "--accum_grad", "2", "--output_nc", "1")
    asked, sum_over_processes = [], distributed.sum_over_processes
    monkeypatch.setattr(distributed, "sum_over_processes", lambda x: (asked.append(x), sum_over_processes(x))[1])
    factor = nn.Parameter(torch.ones(1))

    class OneFactor(torch.optim.SGD):
        def __init__(self) -> None:
            super().__init__([factor], lr=0.5)

    model.optimizers = {"G": OneFactor()}
    model.networks = {}

    def closure():
        loss = model.masked_l1(model.real_B * factor, torch.zeros_like(model.real_B), "B")
        return loss, {"L1": loss}

    found = {}
    monkeypatch.setattr(model, "optimize_parameters", lambda: found.update(model.update("G", closure)) or found)
    B, mask = torch.full((3, 1, 2, 2), 2.0), torch.ones(3, 1, 2, 2)
    B[0] = torch.tensor([[9.0, 50], [50, 50]])
    mask[0] = torch.tensor([[1.0, 0], [0, 0]])
    model.train_on({"A": torch.zeros(3, 3, 2, 2), "B": B, "B_mask": mask, "global_size": 3, "full_size": 3, "share": 1})
    assert len(asked) == 1 and float(found["L1"]) == pytest.approx(25 / 9)
    assert float(factor.detach()) == pytest.approx(1 - 0.5 * 25 / 9)
