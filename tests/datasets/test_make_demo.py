"""Drawn data sets: what is in the files, that they are the same on every call, and that no folder is lost."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import DATASETS
from datasets import make_demo
from datasets.demo.canvas import Canvas, blurred
from datasets.demo.facades import PALETTE, STYLES, House, Style, paint_house
from datasets.demo.shapes import CLASSES, draw_shape
from datasets.demo.street import draw_street
from datasets.make_demo import train_command
from models import MODELS
from models.networks.factory import build_generator, check_image_size
from options.parse import parse_train

SCRIPT = Path(make_demo.__file__)


def draw(out: Path, kind: str = "facades", *more: str, n: str = "2", n_test: str = "1", size: str = "64") -> int:
    return make_demo.main([kind, "--out", str(out), "--n_train", n, "--n_test", n_test, "--size", size, *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def seen_class(picture: np.ndarray) -> str:
    """The class of a shape, by its colour and by how often a turn its outline (distance from the centre) repeats."""
    coloured = np.ptp(picture.astype(int), axis=2)
    coloured = coloured > max(60, 0.5 * np.quantile(coloured, 0.98))
    colour = ("red", "green", "blue")[picture[coloured].sum(axis=0).argmax()]
    y, x = np.nonzero(coloured)
    x, y, distance = x - x.mean(), y - y.mean(), np.zeros(24)
    np.maximum.at(distance, np.floor(np.arctan2(y, x) * 12 / np.pi).astype(int) % 24, np.hypot(x, y))
    repeats = np.abs(np.fft.rfft(distance)[3:6]) / distance.sum()
    return f"{colour}_{('triangle', 'square', 'star')[repeats.argmax()] if repeats.max() > 0.04 else 'circle'}"


@pytest.mark.parametrize("kind", ["facades", "daynight", "coco"])
def test_image_depends_on_seed_and_index_only(kind: str, tmp_path: Path) -> None:
    assert draw(tmp_path / "few", kind) == draw(tmp_path / "more", kind, n="3", n_test="2") == 0
    few, more = contents(tmp_path / "few"), contents(tmp_path / "more")
    assert few.items() <= more.items()
    assert len(set(more.values())) == len(more)  # no image twice, across phases and domains either
    assert draw(tmp_path / "other", kind, "--seed", "1") == 0
    assert not set(contents(tmp_path / "other").values()) & set(more.values())


def test_facades_are_photo_beside_label_map(tmp_path: Path) -> None:
    assert draw(tmp_path, n="3") == 0
    assert sorted(contents(tmp_path)) == ["test/0001.png", "train/0001.png", "train/0002.png", "train/0003.png"]
    palette = {tuple(bytes.fromhex(colour)) for colour in PALETTE.values()}
    for name in contents(tmp_path):
        pair = pixels(tmp_path / name)
        assert pair.shape == (64, 128, 3)
        labels = {tuple(colour) for colour in pair[:, 64:].reshape(-1, 3).tolist()}
        assert labels <= palette  # crisp: no mixed colours
        assert len(labels) >= 6
        assert len(np.unique(pair[:, :64].reshape(-1, 3), axis=0)) > 1000


def test_photo_follows_label_map(tmp_path: Path) -> None:
    """Sky is blue, and glass is darker than the cornices, everywhere."""
    assert draw(tmp_path, n="6", n_test="0", size="128") == 0
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("background", "window", "cornice")}
    for path in (tmp_path / "train").iterdir():
        photo, labels = np.split(pixels(path), 2, axis=1)
        for name, found in seen.items():
            found.append(photo[(labels == list(bytes.fromhex(PALETTE[name]))).all(axis=2)])
    sky, window, cornice = (np.concatenate(seen[name]).mean(axis=0) for name in seen)
    assert sky[2] > sky[0] + 20
    assert window.mean() + 40 < cornice.mean()


def test_night_is_dark_with_bright_lights(tmp_path: Path) -> None:
    assert draw(tmp_path, "daynight") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.json", "testA", "testB", "trainA", "trainB"]
    for number in ("0001.png", "0002.png"):
        day, night = pixels(tmp_path / "trainA" / number), pixels(tmp_path / "trainB" / number)
        assert night.mean() < 0.6 * day.mean()
        assert (night.mean(axis=2) > 200).any()


def test_equal_generators_show_the_same_street_by_day_and_night() -> None:
    day, night = (draw_street(np.random.default_rng(4), 64, night=night).mean(axis=2) for night in (False, True))
    other = draw_street(np.random.default_rng(5), 64, night=True).mean(axis=2)
    upper = slice(0, 42)  # above the wet road

    def likeness(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(np.diff(a[upper]).ravel(), np.diff(b[upper]).ravel())[0, 1])

    assert likeness(day, night) > 0.2 > 2 * abs(likeness(day, other))


def test_boxes_hold_the_cars_and_lamps(tmp_path: Path) -> None:
    """A lamp's box is by far brighter than the night around it; a car's box differs from its road by day."""
    assert draw(tmp_path, "coco", n="6", n_test="0", size="256") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "demo.json",
        "trainA",
        "trainA.json",
        "trainB",
        "trainB.json",
    ]
    seen = {"car": 0, "lamp": 0}
    for side in "AB":
        content = json.loads((tmp_path / f"train{side}.json").read_text())
        names = {each["id"]: each["name"] for each in content["categories"]}
        files = {each["id"]: each["file_name"] for each in content["images"]}
        assert len(files) == 6
        for entry in content["annotations"]:
            image = pixels(tmp_path / f"train{side}" / files[entry["image_id"]])
            x, y, width, height = entry["bbox"]
            kind, box = names[entry["category_id"]], image[round(y) : round(y + height), round(x) : round(x + width)]
            seen[kind] += 1
            assert min(width, height) >= 7 and x >= 0 and x + width <= 256
            if kind == "lamp" and side == "A":
                assert box.mean() > 2 * image.mean()
                assert image[round(y + height / 2), round(x + width / 2)].max() > 230
            elif kind == "car" and side == "B":
                below = image[min(round(y + height) + 3, 250), round(x) : round(x + width)]
                assert box.std() > 2 * below.std() + 5
    assert seen["car"] >= 3 and seen["lamp"] >= 12


def test_annotation_files_are_part_of_the_set(tmp_path: Path) -> None:
    assert draw(tmp_path, "coco") == 0
    first = (tmp_path / "trainA.json").read_bytes()
    (tmp_path / "trainA.json").unlink()
    assert draw(tmp_path, "coco") == 0
    assert (tmp_path / "trainA.json").read_bytes() == first
    assert draw(tmp_path, "daynight", n="1") == 0
    assert not list(tmp_path.glob("train*.json"))
    (tmp_path / "trainA.json").write_text("{}")  # no part of this kind: the user's
    assert draw(tmp_path, "daynight", n="2") == 2


def test_shapes_fill_all_classes(tmp_path: Path) -> None:
    assert draw(tmp_path, "shapes", n="13", n_test="12") == 0
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == sorted(CLASSES)
    assert sorted(path.name for path in (tmp_path / "test").iterdir()) == sorted(CLASSES)
    assert (tmp_path / "train" / CLASSES[0] / "0013.png").exists()
    for label, channel in (("red_circle", 0), ("green_star", 1), ("blue_square", 2)):
        image = pixels(next((tmp_path / "train" / label).iterdir()))
        others = [c for c in range(3) if c != channel]
        assert (image[:, :, channel] > 1.6 * image[:, :, others].max(axis=2)).mean() > 0.03


@pytest.mark.parametrize("size", [32, 64])
def test_shapes_can_be_told_by_colour_and_outline(size: int) -> None:
    generators = (np.random.default_rng([9, size, index]) for index in range(36))
    seen = [seen_class(draw_shape(rng, size, index % 12)) for index, rng in enumerate(generators)]
    assert seen == [*CLASSES] * 3


@pytest.mark.parametrize(("size", "made"), [(32, 32), (100, 64), (512, 256)])
def test_the_command_of_shapes_makes_pictures_of_their_size(size: int, made: int) -> None:
    command = train_command("shapes", Path("x"), size)
    assert command.endswith(f"--name shapes_demo --model sagan --dataset_mode class_folder --image_size {made}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["facade", "--out", "x"], "facades"),
        (["facades"], "--out"),
        (["facades", "--out", "x", "--n_train", "0"], "--n_train 0"),
        (["facades", "--out", "x", "--n_test", "-1"], "--n_test -1"),
        (["facades", "--out", "x", "--size", "30"], "--size 30"),
        (["facades", "--out", "x", "--size", "66"], "--size 66"),
        (["facades", "--out", "x", "--seed", "-1"], "--seed -1"),
        (["facades", "--out", "x", "--n_trains", "3"], "did you mean --n_train?"),
        (["shapes", "--out", "x", "--n_train", "11"], "12 classes"),
    ],
)
def test_bad_arguments_make_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = make_demo.main(arguments)
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert words in error
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "train" / "mine.png"
    mine.parent.mkdir()
    mine.write_bytes(b"precious")
    assert draw(tmp_path) == 2
    assert "train/mine.png" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["train", "mine.png"]
    assert draw(tmp_path, "facades", "--overwrite") == 0
    assert len(contents(tmp_path)) == 3
    mine.write_bytes(b"precious")  # in a set that was drawn, too
    assert draw(tmp_path, n="3") == 2
    assert mine.read_bytes() == b"precious"


def test_same_arguments_draw_once_and_others_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(tmp_path) == 0
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in contents(tmp_path)}
    assert draw(tmp_path) == 0
    assert "there already" in capsys.readouterr().out
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in contents(tmp_path)}
    (tmp_path / "train" / "0002.png").unlink()
    assert draw(tmp_path) == 0
    assert sorted(contents(tmp_path)) == sorted(before)
    assert draw(tmp_path, "daynight", n="1") == 0
    assert not (tmp_path / "train").exists()


def test_interrupted_drawing_leaves_no_half_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = make_demo.draw_image

    def stop_at_third(*arguments: object, **named: object) -> np.ndarray:
        if arguments[1:] == (0, 2):
            raise KeyboardInterrupt
        return drawn(*arguments, **named)

    monkeypatch.setattr(make_demo, "draw_image", stop_at_third)
    assert draw(tmp_path, n="3") == 130
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
    monkeypatch.setattr(make_demo, "draw_image", drawn)
    assert draw(tmp_path, n="3") == 0
    assert len(contents(tmp_path)) == 4
    assert json.loads((tmp_path / "demo.json").read_text())["complete"] is True


def test_runs_as_script_from_anywhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(SCRIPT),
        "facades",
        "--out",
        "a b",
        "--n_train",
        "1",
        "--n_test",
        "0",
        "--size",
        "64",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "train.py --dataroot 'a b'" in done.stdout
    assert (tmp_path / "a b" / "train" / "0001.png").exists()


def test_blur_keeps_the_sum_and_spreads_as_asked() -> None:
    spot = np.zeros((65, 65, 1), np.float32)
    spot[32, 32] = 1
    soft = blurred(spot, 3.0)[:, :, 0]
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    assert (soft.sum(axis=0) * (np.arange(65) - 32) ** 2).sum() == pytest.approx(9, abs=1e-2)


@pytest.mark.parametrize("x", [-90.0, 258.0])
@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.roof)
def test_house_outside_the_picture_leaves_it_alone(style: Style, x: float) -> None:
    canvas, rng = Canvas(32), np.random.default_rng(0)
    paint_house(canvas, House(rng, style, x + 4, x + 82, 230, 120, 8), rng)
    assert not canvas.pixels.any()


def test_polygon_covers_its_area() -> None:
    canvas = Canvas(64)
    canvas.polygon([(32, 32), (160, 32), (32, 160)], (1.0, 1.0, 1.0))
    # half of 32 x 32 pixels; Pillow paints the outline, too, a quarter of a canvas pixel at each edge
    assert (canvas.picture(np.random.default_rng(0), 0)[:, :, 0] / 255).sum() == pytest.approx(512, rel=0.02)


@pytest.mark.parametrize("size", [32, 64, 128, 192, 256, 512])
def test_the_command_it_names_is_accepted_and_fits_the_network(size):
    command = train_command("facades", Path("a b"), size)
    words = shlex.split(command)
    options = parse_train(words[2:], MODELS, DATASETS)
    assert words[:2] == ["python", "train.py"] and options.data.dataroot == "a b" and options.data.direction == "BtoA"
    net = build_generator(options.model.netG, 3, 3, ngf=1)
    check_image_size(net, options.data.crop_size, options.data.crop_size)


def test_the_command_of_coco_reads_the_boxes():
    command = train_command("coco", Path("x"), 256)
    options = parse_train(shlex.split(command)[2:], MODELS, DATASETS)
    assert options.run.dataset_mode == "unaligned_coco" and options.model.instance_level
