"""The image pool against the published stream of choices, and its state."""

from __future__ import annotations

import io
import random

import pytest
import torch

from tests.golden_rules import load_golden
from util.images.pool import ImagePool

GOLDEN = load_golden("atme/golden_pix2pix")[0]["misc"]["image_pool"]


def numbered(*values: int) -> torch.Tensor:
    """One 1x2x2 image a value, filled with it."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def test_published_stream_one_by_one() -> None:
    pool = ImagePool(3, random.Random(0))
    got = [int(pool.query(numbered(i))[0, 0, 0, 0]) for i in range(20)]
    assert got == GOLDEN["random.seed(0), size 3, one image a query, value i"]


def test_published_stream_in_batches() -> None:
    pool = ImagePool(4, 0)
    got = [pool.query(numbered(*range(3 * i, 3 * i + 3)))[:, 0, 0, 0].tolist() for i in range(6)]
    assert got == GOLDEN["random.seed(0), size 4, three images a query"]


def test_size_zero_passes_through() -> None:
    images = numbered(1, 2).requires_grad_()
    out = ImagePool(0).query(images)
    assert torch.equal(out, images) and not out.requires_grad


def test_detached_and_independent_of_the_batch() -> None:
    pool = ImagePool(2)
    images = numbered(1, 2).requires_grad_()
    assert not pool.query(images).requires_grad
    with torch.no_grad():
        images.fill_(99)
    stored = [image[0, 0, 0].item() for image in pool.state()["images"]]
    assert stored == [1, 2]


def test_the_global_generators_are_left_alone() -> None:
    random.seed(1)
    torch.manual_seed(1)
    before, torch_before = random.getstate(), torch.get_rng_state()
    pool = ImagePool(1, 3)
    for i in range(10):
        pool.query(numbered(i))
    assert random.getstate() == before and torch.equal(torch.get_rng_state(), torch_before)


def test_a_resumed_pool_goes_on_as_if_nothing_had_happened() -> None:
    pool, resumed = ImagePool(3, 7), ImagePool(3, 8)
    for i in range(8):
        pool.query(numbered(i))
    file = io.BytesIO()
    torch.save(pool.state(), file)
    file.seek(0)
    resumed.load_state(torch.load(file, weights_only=True))
    for i in range(8, 40):
        assert torch.equal(pool.query(numbered(i)), resumed.query(numbered(i)))


def test_a_state_is_a_copy() -> None:
    pool = ImagePool(1, 0)
    pool.query(numbered(1))
    state = pool.state()
    for i in range(2, 12):
        pool.query(numbered(i))
    assert state["images"][0][0, 0, 0].item() == 1


def test_images_of_changing_size_one_by_one() -> None:
    pool = ImagePool(1, 0)
    sizes = {tuple(pool.query(torch.zeros(1, 3, 4, width)).shape) for width in (4, 6, 8, 10, 12)}
    assert sizes <= {(1, 3, 4, width) for width in (4, 6, 8, 10, 12)} and len(pool.state()["images"]) == 1


def test_messages() -> None:
    with pytest.raises(ValueError, match="--pool_size -1"):
        ImagePool(-1)
    with pytest.raises(ValueError, match=r"--pool_size 10.*continue with --pool_size 50"):
        ImagePool(10).load_state(ImagePool(50).state())
