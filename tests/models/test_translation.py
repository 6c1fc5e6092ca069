"""Any size through every network; tiles against the whole; what Python gives and gets back; threads."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from models import MODELS
from models.base_model import draws_from_noise
from models.networks.independent import Independence, Moments
from models.trained import load
from models.translation import TilePlan, Translator
from tests.untrained import make_run
from util.images.io import Picture
from util.images.tiles import join_rows

TRANSLATORS = [name for name in MODELS.names() if not draws_from_noise(MODELS.get(name)) and name != "test"]


def opened(workdir, model: str, *argv: str, flags=()):
    make_run(workdir, model, *argv)
    return load("run", flags=flags)


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(y / (3 + number)) * np.cos(x / 5) for number in range(channels)]
    return ((np.stack(planes, axis=2) + 1) * 127.5).astype(np.uint8)


DEEP = ["--dim", "4", "--init_dim", "4", "--groups", "2", "--dim_mults", "1,1,1,1"]
"""Of ATME's generator: the attention in its middle is quadratic in pixels, so that large pictures need four levels."""


def drawn_sizes(seed: str, count: int) -> list[tuple[int, int]]:
    """Heights up to 300 and widths up to 517, uniform in the exponent, so that small sizes come as often as large."""
    rng = random.Random(seed)
    return [tuple(int(most ** rng.random()) for most in (301, 518)) for _ in range(count)]


@pytest.mark.parametrize("model", TRANSLATORS)
def test_the_result_has_the_size_of_the_image_for_every_size(model, workdir):
    run = opened(workdir, model, *DEEP * model.startswith("atme"))
    step, least = run.generator().multiple, run.generator().minimum
    edges = [(1, 1), (1, 517), (300, 1), (300, 517), (least, least + 1), (least + step + 1, least + step - 1)]
    for height, width in [*edges, *drawn_sizes(model, 6)]:
        made = run(photo(height, width))
        assert made.shape == (height, width, 3) and made.dtype == np.uint8, (height, width)


@pytest.mark.parametrize("netG", ["unet_128", "unet_256", "resnet_9blocks"])
def test_networks_of_every_multiple_take_every_size(netG, workdir):
    run = opened(workdir, "pix2pix", "--netG", netG, "--ngf", "2")
    step = run.generator().multiple
    for height, width in [(1, 1), (1, 517), (300, 1), (step - 1, step + 1), (300, 517), *drawn_sizes(netG, 4)]:
        assert run(photo(height, width)).shape == (height, width, 3), (height, width)


def test_padding_is_the_mirror_image_and_is_cut_off(workdir):
    """An image and the same with its mirror image below and on the right come out alike where they are alike."""
    run = opened(workdir, "cycle_gan", "--norm", "none")
    image = torch.rand(1, 3, 21, 30, generator=torch.Generator().manual_seed(0)) * 2 - 1
    by_hand = torch.nn.functional.pad(image, (0, 2, 0, 3), mode="reflect")
    made = run(image)
    torch.testing.assert_close(made, run.module(by_hand)[0][..., :21, :30].detach())


@pytest.mark.parametrize(("netG", "tile", "overlap"), [("resnet_6blocks", 256, 192), ("unet_128", 1408, 1280)])
def test_tiles_are_the_whole_where_a_network_looks_no_further_than_the_overlap(netG, tile, overlap, workdir):
    """Batch norm with --eval. Three eighths of an overlap are thrown away, 72 and more than 480 pixels here; a pixel of
    resnet_6blocks sees about 65 pixels to each side, one of unet_128 383."""
    size = (150, 560) if netG == "resnet_6blocks" else (64, 2000)
    run = opened(workdir, "pix2pix", "--netG", netG, "--ngf", "2", "--norm", "batch", flags=("--eval",))
    translator = run.translator(plan=TilePlan(tile, overlap))
    assert translator.generator.whole_picture == "" and not translator.takes_statistics
    ready = translator.ready(picture_of(photo(*size)), "x")
    whole = translator.translate(translator.tensor(ready)[None], [0])[0][0].numpy()
    tiled = strips_of(translator, ready)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def picture_of(array):
    return Picture(array, "uint8")


def strips_of(translator: Translator, ready) -> np.ndarray:
    """The translation by tiles as float32 ``[C, H, W]``, before it is stored."""
    grid = translator.grid(*ready.size)
    assert grid is not None and len(grid) > 1
    if translator.takes_statistics:
        translator._collect(ready, 0, grid, 0)
    made = [strip for _, strip in join_rows(grid, translator._tiles(ready, 0, grid, 0))]
    translator._shared.forget()
    return np.concatenate(made, axis=1)


def test_a_first_pass_brings_tiles_near_to_the_whole(workdir):
    """Instance norm: a bright half and a dark half have other statistics than the picture of both. With as many passes
    as norms, 17, tiles share the exact ones, but for what overlaps count twice."""
    run = opened(workdir, "cycle_gan", "--netG", "resnet_6blocks")
    image = photo(64, 512)
    image[:, 256:] //= 4
    errors = []
    for passes in (0, 1, 17):
        translator = run.translator(plan=TilePlan(128, 64, passes=passes))
        ready = translator.ready(picture_of(image), "x")
        expected = translator.translate(translator.tensor(ready)[None], [0])[0][0].numpy()
        errors.append(float(np.abs(strips_of(translator, ready) - expected).mean()))
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]


def test_moments_are_those_of_all_tiles_together():
    values = torch.randn(1, 3, 8, 10, generator=torch.Generator().manual_seed(0)) * 3 + 5
    moments = Moments(itertools.count())
    for part in values.split(4, dim=3):
        moments.add(part)
    moments.close()
    torch.testing.assert_close(moments.mean, values.mean((0, 2, 3)), rtol=0, atol=1e-6)
    torch.testing.assert_close(moments.variance, values.var((0, 2, 3), correction=0), rtol=0, atol=1e-5)


def test_a_picture_is_tiled_only_beyond_the_memory(workdir):
    run = opened(workdir, "cycle_gan")
    translator = run.translator(plan=TilePlan(max_memory=0.25))
    assert translator.grid(1000, 1000) is None  # a megapixel is small for any network
    side = int((0.25 * 2**30 / translator.bytes_per_pixel()) ** 0.5)
    assert translator.grid(side, side) is None
    grid = translator.grid(2 * side, 2 * side)
    assert grid is not None and grid.rows[0].size <= side
    assert run.translator(plan=TilePlan(max_memory=0)).grid(10**5, 10**5) is None


def test_a_generator_of_one_size_takes_no_other_tile(workdir):
    run = opened(workdir, "ugatit")
    with pytest.raises(ValueError, match="--tile 64: this generator works at 32 pixels only; give --tile 32"):
        run.translator(plan=TilePlan(tile=64))
    assert len(run.translator(plan=TilePlan(tile=32, overlap=8)).grid(32, 80)) == 3


def test_each_image_of_a_batch_is_normalised_and_dropped_out_as_if_alone():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5))
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = []
    for number in range(3):
        torch.manual_seed(number)
        alone.append(net(images[number : number + 1]))
    shared = Independence(net)
    shared.generators = [torch.Generator().manual_seed(number) for number in range(3)]
    before = net[1].running_mean.clone()
    # Rounding: 1.2e-6 with torch 2.6, which adds up a batch's statistics in another order; a shared mean: above 0.01.
    torch.testing.assert_close(net(images), torch.cat(alone), rtol=0, atol=1e-5)
    torch.testing.assert_close(net[1].running_mean, before, rtol=0, atol=0)


# -- Python ----------------------------------------------------------------------------------------------------


def test_what_is_given_comes_back_as_the_same_kind(workdir):
    run = opened(workdir, "cycle_gan")
    array = photo(20, 30)
    Image.fromarray(array).save(workdir / "in.png")
    made = run(array)
    assert isinstance(run("in.png"), Image.Image) and run("in.png").size == (30, 20)
    for image in (workdir / "in.png", Image.fromarray(array), Image.open(workdir / "in.png")):
        np.testing.assert_array_equal(np.asarray(run(image)), made)
    tensor = torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1
    for shape in ((3, 20, 30), (1, 3, 20, 30)):
        found = run(tensor.reshape(shape))
        assert found.shape == shape and found.dtype == torch.float32 and not found.is_inference()
        levels = ((found.reshape(3, 20, 30).permute(1, 2, 0) + 1) * 127.5).numpy()
        assert np.abs(levels - made).max() < 0.51
    assert run(tensor.double()).dtype == torch.float64
    several = run([array, "in.png", tensor])
    assert [type(each) for each in several] == [np.ndarray, Image.Image, torch.Tensor]


def test_labels_come_back_as_an_index_map(workdir):
    run = opened(workdir, "pix2pix", "--input_nc", "2", "--label_nc_A", "2", "--output_nc", "4", "--label_nc_B", "4")
    labels = np.random.default_rng(0).integers(0, 2, (20, 30)).astype(np.uint8)
    made = run(labels)
    assert made.shape == (20, 30) and made.dtype == np.uint8
    one_hot = torch.from_numpy(np.stack([labels == 0, labels == 1])).float() * 2 - 1
    np.testing.assert_array_equal(run(one_hot).argmax(0).numpy(), made)
    picture = Image.fromarray(labels).convert("P")
    picture.putpalette([9, 8, 7, 1, 2, 3])
    found = run(picture)
    assert found.mode == "P" and found.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    np.testing.assert_array_equal(np.asarray(found), made)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
def test_arrays_of_every_depth(kind, workdir):
    run = opened(workdir, "cycle_gan", "--input_nc", "1", "--output_nc", "1", "--value_range=0,200")
    made = run(photo(12, 9, 1)[:, :, 0].astype(kind) // 2)
    assert made.shape == (12, 9) and made.dtype == kind and made.max() <= 200


def test_pillow_images_of_every_mode(workdir):
    run = opened(workdir, "cycle_gan")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        made = run(Image.new(mode, (9, 5)))
        assert (made.mode, made.size) == ("RGB", (9, 5)), mode
    deep = Image.fromarray(np.full((5, 9), 60000, np.uint16))
    with pytest.raises(ValueError, match="3 channels of uint16, which no Pillow image has"):
        run(deep)


def test_maps_come_with_the_picture(workdir):
    run = opened(workdir, "augan")
    made, maps = run(photo(21, 30), maps=True)
    assert made.shape == (21, 30, 3) and maps["conf_A"].shape == (21, 30) and maps["conf_A"].dtype == np.float32
    made, maps = run(torch.zeros(2, 3, 21, 30), maps=True)
    assert made.shape == (2, 3, 21, 30) and maps["conf_A"].shape == (2, 1, 21, 30)


def test_both_directions(workdir):
    run = opened(workdir, "cycle_gan")
    image = photo(32, 32)
    assert (run(image) != run(image, direction="BtoA")).any()
    with pytest.raises(ValueError, match="give AtoB or BtoA"):
        run(image, direction="A")


def test_a_seed_decides_what_is_drawn_and_nothing_else_changes(workdir):
    run = opened(workdir, "pix2pix", "--norm", "batch")  # dropout
    image = photo(32, 32)
    state = torch.get_rng_state()
    first, again, other = run(image), run(image), run(image, seed=5)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and torch.equal(torch.get_rng_state(), state)
    pair = run([image, image])
    np.testing.assert_array_equal(pair[0], first)
    assert (pair[1] != first).any()


@pytest.mark.parametrize(("model", "argv"), [("cycle_gan", []), ("pix2pix", ["--norm", "batch"]), ("atme", [])])
def test_threads_get_what_one_alone_gets(model, argv, workdir):
    run = opened(workdir, model, *argv)
    images = [photo(32, 32 + 4 * number) for number in range(8)]
    alone = [run(image, seed=3) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: run(image, seed=3), images * 2))
    for one, other in zip(alone * 2, together):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, TypeError, "an image of type int: give a path"),
        ("nothing.png", FileNotFoundError, "nothing.png: there is no such file"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, "the image: has 4 channels"),
        (np.zeros((4, 4, 3), np.int64), ValueError, "an array of int64: convert it"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"an array of shape \(0, 4, 3\)"),
        (np.full((4, 4, 3), np.nan), ValueError, "the image holds NaN"),
        (torch.zeros(4, 4), ValueError, r"expected floats in \[-1, 1\]"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), ValueError, "expected floats"),
    ],
)
def test_what_cannot_be_translated(image, error, message, workdir):
    with pytest.raises(error, match=message):
        opened(workdir, "cycle_gan")(image)
