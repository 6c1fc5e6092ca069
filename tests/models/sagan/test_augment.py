"""Differentiable augmentation: what each kind may change, by what can be counted."""

from __future__ import annotations

import pytest
import torch

from models.sagan.augment import DIFF_AUGMENTS, diff_augment


def images(count: int = 6, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9


def test_nothing_asked_is_nothing_done():
    x = images()
    assert diff_augment(x, ()) is x


def test_translation_moves_whole_images_by_at_most_an_eighth():
    x = images(40) + 2.0  # no zeros of its own
    moved = diff_augment(x, ("translation",))
    seen = set()
    for before, after in zip(x, moved):
        rows = (after[0] != 0).any(1).nonzero().flatten()
        columns = (after[0] != 0).any(0).nonzero().flatten()
        dy = int(rows[0]) if int(rows[0]) else int(rows[-1]) - 15
        dx = int(columns[0]) if int(columns[0]) else int(columns[-1]) - 15
        seen |= {dy, dx}
        kept = after[:, max(dy, 0) : 16 + min(dy, 0), max(dx, 0) : 16 + min(dx, 0)]
        assert torch.equal(kept, before[:, max(-dy, 0) : 16 - max(dy, 0), max(-dx, 0) : 16 - max(dx, 0)])
    assert seen == {-2, -1, 0, 1, 2}


def test_cutout_takes_a_square_of_half_the_size_or_what_is_inside_of_it():
    x = images(60) + 2.0
    cut = diff_augment(x, ("cutout",))
    gone = (cut == 0).all(1)  # [N, H, W]
    assert torch.equal(cut[~gone[:, None].expand_as(cut)], x[~gone[:, None].expand_as(x)])
    sides = [(int(each.any(1).sum()), int(each.any(0).sum()), int(each.sum())) for each in gone]
    assert all(h * w == area and max(h, w) <= 8 for h, w, area in sides)
    assert max(h for h, _, _ in sides) == 8 and min(h for h, _, _ in sides) < 8


def test_color_is_a_linear_change_of_every_image():
    """Brightness moves the mean by at most 0.5; the colours of a grey image stay grey."""
    x = images(50)
    changed = diff_augment(x, ("color",))
    shift = changed.mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert float(shift.abs().max()) <= 0.5 + 1e-6 and float(shift.std()) > 0.1
    grey = x[:, :1].expand(-1, 3, -1, -1)
    after = diff_augment(grey, ("color",))
    torch.testing.assert_close(after[:, 0], after[:, 2])
    ratio = after[:, 0].flatten(1).std(1) / grey[:, 0].flatten(1).std(1)
    assert float(ratio.min()) >= 0.5 and float(ratio.max()) <= 1.5


@pytest.mark.parametrize("kind", DIFF_AUGMENTS)
def test_gradients_pass_and_draws_are_torchs(kind):
    x = images().requires_grad_()
    torch.manual_seed(3)
    first = diff_augment(x, (kind,))
    first.sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    torch.manual_seed(3)
    assert torch.equal(diff_augment(x, (kind,)), first)
    assert not torch.equal(diff_augment(x, (kind,)), first)
