"""scripts/match.py: the training images nearest to a sample, sorted; and the images of classes as sets to measure."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
from data.class_folder_dataset import ClassFolderDataset, ClassFolderOptions, ClassImages
from scripts import match
from tests.class_run import COUNTS, NAMES, RUN, WITHOUT_EFFECT, bring, draw_classes, flags_without_effect, make_runs
from tests.conftest import SIZE
from tests.measuring import tiny_extractor
from tests.test_bad_input import complaint, snapshot


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("run"))


@pytest.fixture()
def here(trained, workdir, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "cache"))
    return bring(trained, workdir)


def matched(folder: Path):
    facts = json.loads((folder / "match.json").read_text())
    for sample in facts["samples"]:
        distances = [each["distance"] for each in sample["matches"]]
        assert distances == sorted(distances)
        shown = [sample["picture"], *(each["picture"] for each in sample["matches"])]
        assert all((folder / file).is_file() for file in shown)
    return facts


def test_nearest_images_of_the_class_by_pixels(here, trained, said):
    assert match.main([*RUN, "--class-name", "red_circle", "--top-n", "3", "--sample_seed", "2"]) == 0
    folder = here / "results" / "run" / "match_2_latest"
    facts = matched(folder)
    (sample,) = facts["samples"]
    picture = np.asarray(Image.open(folder / sample["picture"])).astype(float) / 255
    by_hand = {}
    for path in (trained / "data" / "train" / "red_circle").iterdir():
        by_hand[str(path)] = float(((np.asarray(Image.open(path)) / 255 - picture) ** 2).sum())
    nearest = sorted(by_hand, key=by_hand.__getitem__)[:3]
    assert [each["file"] for each in sample["matches"]] == nearest
    assert [each["distance"] for each in sample["matches"]] == pytest.approx([by_hand[file] for file in nearest])
    assert (facts["class"], facts["seed"], facts["features"], facts["real"]["n"]) == (2, 2, "pixels", COUNTS[2])
    assert Image.open(folder / "match.png").width < 3 * 3 * SIZE  # 2 x 2 pictures, twice as large
    assert "generated" in (folder / "index.html").read_text() and "0002_red_circle/" in said()
    assert test_program.main([*RUN, "--class_id", "2", "--num_images", "1", "--sample_seed", "2"]) == 0
    plain = here / "results" / "run" / "test_latest" / "images" / "0002_red_circle" / "002_00000.png"
    assert np.array_equal(np.asarray(Image.open(plain)) / 255, picture)

    before = snapshot(folder)
    assert match.main([*RUN, "--class_id", "2", "--top_n", "3", "--sample_seed", "2"]) == 0
    assert snapshot(folder) == before


def test_a_copy_is_found_in_any_class_and_more_than_there_are_is_all(here, said):
    draw_classes(here / "own")
    assert test_program.main([*RUN, "--class_id", "1", "--num_images", "2"]) == 0
    sample = here / "results" / "run" / "test_latest" / "images" / "0001_green_square" / "000_00001.png"
    shutil.copy(sample, here / "own" / "train" / "blue_star" / "copy.png")
    argv = [*RUN, "--class_id", "1", "--num_images", "2", "--top_n", "99", "--dataroot", "own"]
    assert match.main([*argv, "--all_classes_real"]) == 0
    first, second = matched(here / "results" / "run" / "match_1_latest")["samples"]
    assert len(first["matches"]) == len(second["matches"]) == sum(COUNTS) + 1
    assert Path(second["matches"][0]["file"]).name == "copy.png" and second["matches"][0]["distance"] == 0
    assert second["matches"][0]["name"] == "blue_star" and first["matches"][0]["distance"] > 0
    told = said()
    assert "--top_n 99: all of 13 images are shown" in told
    assert "13 images compared, the nearest is 0000_blue_star/copy at 0" in told
    assert match.main(argv) == 0
    assert {
        each["class"] for each in matched(here / "results" / "run" / "match_1_latest")["samples"][0]["matches"]
    } == {1}


def test_features_of_a_network_are_kept_and_told(here, monkeypatch):
    made = []

    def load(name, device, *, inception_weights=""):
        made.append(tiny_extractor(name))
        return made[-1]

    monkeypatch.setattr(match, "load_extractor", load)
    argv = [*RUN, "--class_id", "0", "--features", "inception", "--feature_cache", "kept"]
    for _ in range(2):
        assert match.main(argv) == 0
    assert [extractor.module.calls for extractor in made] == [2, 1]  # the real images once, each sample
    facts = matched(here / "results" / "run" / "match_0_latest")
    assert (facts["features"], facts["weights_sha256"], facts["layer"]) == ("inception", "ab" * 32, "2048")
    images = [Image.open(facts["samples"][0]["matches"][0]["file"])]
    images.append(Image.open(here / "results" / "run" / "match_0_latest" / facts["samples"][0]["picture"]))
    parts = [np.asarray(image).reshape(4, SIZE // 4, 4, SIZE // 4, 3).mean((1, 3)) / 64 for image in images]
    by_hand = ((parts[0] - parts[1]) ** 2).sum()
    assert facts["samples"][0]["matches"][0]["distance"] == pytest.approx(by_hand, rel=1e-4)


def test_classes_go_by_name_then_by_number(here, said):
    data = draw_classes(here / "own") / "train"
    (data / "aa").mkdir()
    shutil.copy(data / "red_circle" / "0.png", data / "aa")  # all other labels are one more than in the run
    argv = [*RUN, "--class_id", "1", "--top_n", "1", "--dataroot", "own"]
    assert match.main(argv) == 0
    assert matched(here / "results" / "run" / "match_1_latest")["samples"][0]["matches"][0]["name"] == "green_square"
    assert "warning" not in said()
    shutil.rmtree(data / "aa")
    (data / "green_square").rename(data / "gruen")
    assert match.main(argv) == 0
    assert matched(here / "results" / "run" / "match_1_latest")["samples"][0]["matches"][0]["name"] == "gruen"
    assert "warning: class 1 of the run is green_square, that of the images gruen" in said()


def test_a_run_without_classes_is_compared_with_all_images(here):
    assert match.main(["--name", "plain", "--gpu_ids", "-1", "--top_n", "2"]) == 0
    facts = matched(here / "results" / "plain" / "match_0_latest")
    assert facts["real"]["n"] == sum(COUNTS) and len(facts["samples"][0]["matches"]) == 2


def test_flags_without_effect_are_told(here, said):
    """The images are read as in the training; only where they are may be said."""
    draw_classes(here / "own")
    argv = [*RUN, "--class_id", "1", "--batch_size", "2", *WITHOUT_EFFECT, "--dataroot", "own", "--phase", "val"]
    assert match.main(argv) == 0
    assert flags_without_effect(said()) == ["--load_size", "--max_classes", "--num_test", "--phase"]
    assert matched(here / "results" / "run" / "match_1_latest")["real"]["n"] == COUNTS[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--class_id", "3"], "--class_id 3: the run has 3 classes, 0 to 2"),
        (["--class_name", "red_circel"], "did you mean 'red_circle'?"),
        ([], "--class_id is missing: give a class, 0 to 2"),
        (["--class_id", "1", "--class_name", "red_circle"], "together: give one"),
        (["--class_id", "1", "--dataroot", "nowhere"], "--dataroot nowhere: there is no such folder"),
        (["--class_id", "1", "--features", "vgg"], "--features vgg: unknown value"),
        (["--class_id", "1", "--features", "inception", "--inception_weights", "w.pth"], "--inception_weights w.pth"),
        (["--class_id", "1", "--top_n", "0"], "--top_n 0: the smallest allowed value is 1"),
        (["--class_id", "1", "--dataroot", "part"], "no images of the class green_square"),
        (["--name", "rum", "--class_id", "1"], "checkpoints/rum does not exist"),
        (["--name", "pairs", "--class_id", "1"], "--model pix2pix, which does not draw from noise"),
    ],
)
def test_what_cannot_be_matched(here, capsys, flags, said):
    draw_classes(here / "part")
    shutil.rmtree(here / "part" / "train" / "green_square")
    assert match.main([*RUN, *flags]) == 2
    assert said in complaint(capsys) and not (here / "results").exists()


@pytest.fixture()
def dataset(tmp_path):
    """Flips, noise and scaling are on: 36 pixels, of which the middle 32 are taken."""
    draw_classes(tmp_path / "data")
    options = ClassFolderOptions(dataroot=str(tmp_path / "data"), load_size=36, crop_size=32, dequantize=True)
    return ClassFolderDataset(options, input_nc=3, output_nc=3)


def test_class_images_are_those_of_the_training_without_chance(dataset):
    images = ClassImages(dataset, "here", [0, 2])
    assert images.labels == [0] * COUNTS[0] + [2] * COUNTS[2] and len(images) == COUNTS[0] + COUNTS[2]
    assert images.names[0] == "0000_blue_star/0" and images.names[-1] == f"0002_red_circle/{COUNTS[2] - 1}"
    calm = replace(dataset.options, no_flip=True, dequantize=False)
    plain = ClassFolderDataset(calm, input_nc=3, output_nc=3)
    for index in (0, len(images) - 1):
        pixels = images.read(index)
        assert pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3)
        trained = plain[index if index == 0 else len(plain) - 1]["image"]
        expected = ((trained + 1) * 127.5).round().permute(1, 2, 0)
        assert torch.equal(torch.from_numpy(pixels).float(), expected)
    assert images.look() == {"size": "32x32", "depth": "uint8"}
    one = images.of_classes([1, 2])
    assert set(one.labels) == {2} and one.paths == images.paths[COUNTS[0] :]


def test_digest_of_class_images_is_of_their_content_and_preparation(dataset, tmp_path):
    def digest(**changes):
        changed = ClassFolderDataset(replace(dataset.options, **changes), input_nc=3, output_nc=3)
        return ClassImages(changed, "here").digest()

    plain = digest()
    assert digest(no_flip=True, dequantize=False) == plain and digest(load_size=34) != plain
    assert ClassImages(dataset, "here", [1]).digest() != plain
    file = tmp_path / "data" / "train" / NAMES[0] / "0.png"
    shutil.copy(file.with_name("1.png"), file)
    assert digest() != plain


def test_files_that_differ_in_their_suffix_keep_it(tmp_path):
    folder = draw_classes(tmp_path / "data") / "train" / NAMES[0]
    Image.open(folder / "1.png").save(folder / "1.bmp")
    (folder / "more").mkdir()
    shutil.copy(folder / "0.png", folder / "more" / "0.png")
    options = ClassFolderOptions(dataroot=str(tmp_path / "data"))
    images = ClassImages(ClassFolderDataset(options, input_nc=3, output_nc=3), "here", [0])
    assert sorted(images.names) == [f"0000_blue_star/{name}" for name in ("0", "1.bmp", "1.png", "2", "more/0")]
