"""Colouring photos: what is shown of it, its checkpoint, and a run from training to the metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from scripts import evaluate
from tests.conftest import SIZE
from tests.golden_rules import load_golden, structure
from tests.models.test_models import build, make_batch, step
from tests.runs import arguments
from util.images.io import read_image
from util.images.lab import join_colours
from util.metrics.images import FolderImages
from util.metrics.measurement import read_measurements
from util.run.checkpoint import FORMAT, Checkpointer


def test_all_pictures_of_a_batch_are_shown_in_colours():
    model, batch = build("colorization"), make_batch("colorization", size=3)
    losses = step(model, batch)
    assert list(losses) == ["G_GAN", "G_L1", "D_real", "D_fake"]
    shown = model.visuals()
    assert list(shown) == ["real_A", "real_B_rgb", "fake_B_rgb"]
    assert [tuple(image.shape) for image in shown.values()] == [(3, c, SIZE, SIZE) for c in (1, 3, 3)]
    assert torch.equal(shown["real_A"], batch["A"])
    for row in range(3):
        assert torch.equal(shown["real_B_rgb"][row], join_colours(batch["A"][row], batch["B"][row]))
        assert torch.equal(shown["fake_B_rgb"][row], join_colours(batch["A"][row], model.fake_B[row].detach()))


def test_without_colours_there_is_no_target():
    model, batch = build("colorization"), make_batch("colorization")
    model.set_input({key: value for key, value in batch.items() if not key.startswith("B")})
    model.forward()
    assert list(model.visuals()) == ["real_A", "fake_B_rgb"]


def test_a_saved_checkpoint_has_exactly_the_references_keys(tmp_path):
    """unet_256 from 1 channel to 2, written by our code: names, shapes and order of the reference's state_dict."""
    model = train.build_model(["--model", "colorization", "--gpu_ids", "-1", "--ngf", "8", "--ndf", "8"], 1)
    Checkpointer(tmp_path).save(["latest"], model.networks, {"format": FORMAT})
    model.networks["G"].load_state_dict(torch.load(tmp_path / "latest_net_G.pth", weights_only=True))
    assert structure(model.networks["G"]) == load_golden("dlim/golden_inherited")[0]["nets"]["unet256_color"]["keys"]
    first = next(iter(torch.load(tmp_path / "latest_net_D.pth", weights_only=True).values()))
    assert first.shape == (8, 3, 4, 4), "D sees L*, a*, b*"


@pytest.fixture
def photos(tmp_path):
    """``photos`` with train and test in colour, and ``grey`` with files and no folders."""
    rng = np.random.default_rng(0)
    for folder, count in (("photos/train", 4), ("photos/test", 3), ("grey", 2)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
            image.convert("L" if folder == "grey" else "RGB").save(tmp_path / folder / f"{number}.png")
    return tmp_path / "photos"


def test_from_training_to_the_metrics_and_to_grey_photos(workdir, photos, said):
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr,l1", "--batch_size", "2", "--no_dropout"]
    for name in ("run", "other"):
        assert train.main(arguments("photos", *flags, model="colorization", name=name, epochs="0")) == 0
    page = (workdir / "checkpoints/run/web/index.html").read_text()
    assert "epoch001_real_B_rgb.png" in page and "epoch001_fake_B_rgb.png" in page
    logged = (workdir / "checkpoints/run/loss_log.csv").read_text()

    assert evaluate.main(["--name", "run", "--metrics", "psnr,l1", "--gpu_ids", "-1"]) == 0
    found = {each.short: each for each in read_measurements(workdir / "results/run/metrics.json")}
    assert str(found["psnr"].value) in logged and str(found["l1"].value) in logged
    images = workdir / "results/run/test_latest/images"
    visuals = [f"{n}_{visual}.png" for n in range(3) for visual in ("fake_B_rgb", "real_A", "real_B_rgb")]
    assert sorted(file.name for file in images.iterdir()) == visuals
    # The target comes back as it was, the lightness as the grey of its value, and the metric is that of the two files.
    fake, real, given = (
        read_image(file).array.astype(np.float64)
        for file in (images / "0_fake_B_rgb.png", images / "0_real_B_rgb.png", photos / "test/0.png")
    )
    assert np.abs(real - given).max() <= 1 and Image.open(images / "0_real_A.png").mode == "L"
    others = [
        np.abs(read_image(images / f"{n}_fake_B_rgb.png").array - read_image(photos / f"test/{n}.png").array * 1.0)
        for n in (1, 2)
    ]
    by_hand = np.mean([np.abs(fake - given).mean(), *(each.mean() for each in others)]) / 255
    assert found["l1"].value == pytest.approx(by_hand, abs=1e-3)

    assert test_program.main(["--name", "other", "--gpu_ids", "-1"]) == 0
    assert evaluate.main(["--compare", "run", "other", "--output", "page"]) == 0
    written = Path("page/index.html").read_text()
    assert "0_target/0_real_B_rgb.png" in written and "2_other/0_fake_B_rgb.png" in written

    assert test_program.main(["--name", "run", "--dataroot", "grey", "--gpu_ids", "-1"]) == 0
    assert sorted(file.name for file in images.iterdir()) == [
        f"{number}_{visual}.png" for number in range(2) for visual in ("fake_B_rgb", "real_A")
    ]
    assert train.main([*arguments("grey", model="colorization", name="grey"), "--phase", "test"]) == 2
    assert "the photos of --dataroot are grey" in said()


def test_results_of_a_test_cannot_be_measured_as_one_folder(workdir, photos):
    for visual in ("real_A", "real_B_rgb", "fake_B_rgb"):
        Image.open(photos / "test/0.png").save(photos / f"test/0_{visual}.png")
    with pytest.raises(ValueError, match="1 fake_B_rgb, 1 real_A, 1 real_B_rgb images"):
        FolderImages(Path("photos/test"), "--fake")
    found = FolderImages(Path("photos/test"), "--fake", suffix="fake_B")
    assert [Path(path).name for path in found.paths] == ["0_fake_B_rgb.png"] and found.names == ["0"]
    assert found.label == "photos/test (*_fake_B_rgb)"
