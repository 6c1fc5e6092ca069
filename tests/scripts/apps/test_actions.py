"""What the app does for a visitor, without the page."""

from __future__ import annotations

import base64
import io
import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from models.trained import load
from scripts.apps.actions import OF_THE_DATA, Actions, Times, level, number
from scripts.apps.pictures import data_url
from scripts.apps.runs import Runs
from scripts.apps.uploads import Limits
from scripts.generate import main as generate
from tests.app_runs import LABELS, colours_of, draw_facades, facade_map, make_run
from tests.class_run import NAMES
from tests.conftest import SIZE, SMALL_ATME


def opened(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_palette_and_maps_of_the_run(actions: Actions):
    assert actions.palette("facades").names == tuple(LABELS)
    assert np.array_equal(actions.sample_map("facades", 0, OF_THE_DATA), facade_map())
    assert actions.empty_map("facades").shape == (SIZE, SIZE)
    given = json.loads(actions.canvas("facades", OF_THE_DATA, facade_map()))
    assert given["palette"][1] == {"name": "facade", "colour": "#002fff"}
    assert np.array_equal(opened(given["image"]), colours_of(facade_map()))
    assert "image" not in json.loads(actions.canvas("facades", OF_THE_DATA, None))


def test_network_sees_the_snapped_map(actions: Actions, app_runs):
    """What the app makes of a map with mixed colours is what the run makes of the clean one."""
    clean = colours_of(facade_map())
    mixed = np.clip(clean.astype(int) + np.random.default_rng(0).integers(-9, 10, clean.shape), 0, 255)
    ids = actions.drawn_map("facades", data_url(mixed.astype(np.uint8)), OF_THE_DATA)
    made = actions.generate("facades", ids, OF_THE_DATA, 0, Times()).array
    run = load("facades", checkpoints_dir=app_runs / "checkpoints")
    image = torch.from_numpy(clean.transpose(2, 0, 1)).float() / 127.5 - 1
    run.model.set_input({"A": image[None], "A_paths": ["map"]})
    with torch.inference_mode():
        run.model.forward()
        expected = run.model.visuals()["fake_B"][0]
    assert np.abs(made.transpose(2, 0, 1) - (expected.numpy() + 1) * 127.5).max() < 0.51


def test_uploaded_map_gets_the_size_of_the_run(actions: Actions, tmp_path):
    Image.fromarray(colours_of(facade_map(64))).save(tmp_path / "map.png")
    ids = actions.uploaded_map("facades", str(tmp_path / "map.png"), OF_THE_DATA)
    assert ids.shape == (SIZE, SIZE) and np.array_equal(ids[::4, ::4], facade_map()[::4, ::4])


def test_saved_files(actions: Actions):
    """The pair has the photo left and the labels right, as the data of a run with ``--direction BtoA``."""
    files = actions.save_map("facades", facade_map(), OF_THE_DATA, 0)
    result, labels, pair = (np.asarray(Image.open(file)) for file in files)
    assert [file.rpartition("/")[2] for file in files] == ["result.png", "label_map.png", "pair.png"]
    assert np.array_equal(labels, colours_of(facade_map()))
    assert np.array_equal(pair, np.concatenate([result, labels], axis=1))


def test_draws_and_their_spread(actions: Actions):
    picture = colours_of(facade_map())
    made = actions.translate("noise", picture, "", 3, 4, Times())
    again = actions.translate("noise", picture, "", 3, 4, Times())
    assert len(made.results) == 4 and not np.array_equal(made.results[0].array, made.results[1].array)
    assert all(np.array_equal(a.array, b.array) for a, b in zip(made.results, again.results))
    deviation = np.stack([each.array for each in made.results]).astype(float).std(axis=0)
    assert np.abs(np.minimum(deviation * 8, 255) - made.spread).max() <= 0.51
    steady = actions.translate("facades", picture, "", 3, 4, Times())
    assert len(steady.results) == 1 and steady.spread is None


def test_sixteen_bits_stay_sixteen_bits(actions: Actions):
    ramp = np.linspace(0, 65535, SIZE * SIZE).reshape(SIZE, SIZE, 1).astype(np.uint16)
    result = actions.translate("deep", ramp, "", 0, 1, Times()).results[0].array
    assert result.dtype == np.uint16 and len(np.unique(result)) > 300


def test_both_directions_and_attention(actions: Actions):
    picture = colours_of(facade_map())
    there = actions.translate("zebra", picture, "AtoB", 0, 1, Times()).results[0]
    back = actions.translate("zebra", picture, "BtoA", 0, 1, Times()).results[0]
    assert not np.array_equal(there.array, back.array)
    assert there.maps["heat_fake_B"].shape == back.maps["heat_fake_A"].shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(("model", "flags", "name"), [("atme", SMALL_ATME, "Disc_B"), ("augan", [], "conf_A")])
def test_maps_beside_the_result(tmp_path, model, flags, name):
    make_run(tmp_path, "own", model, draw_facades(tmp_path / "data"), *flags)
    runs = Runs(["own"], ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--gpu_ids", "-1"], 1)
    assert runs.facts["own"].options.run.model == model
    own = Actions(runs, Limits(100_000, 1), tmp_path)
    maps = own.translate("own", colours_of(facade_map()), "", 0, 1, Times()).results[0].maps
    assert list(maps) == [name] and maps[name].shape == (SIZE, SIZE, 3)


def test_classes_are_those_of_generate(actions: Actions, app_runs, tmp_path):
    drawn = actions.draw("run", (NAMES[1], NAMES[1]), 0.0, 2, 0.7, 5, Times())
    flags = ["--name", "run", "--checkpoints_dir", str(app_runs / "checkpoints"), "--gpu_ids", "-1"]
    flags += ["--class_name", NAMES[1], "--num_images", "2", "--truncation", "0.7", "--sample_seed", "5"]
    assert generate([*flags, "--output", str(tmp_path / "drawn")]) == 0
    files = sorted((tmp_path / "drawn" / "images").rglob("*.png"))
    for image, file in zip(drawn, files, strict=True):
        assert np.abs(image.astype(int) - np.asarray(Image.open(file))).max() <= 1  # rounded there, cut here


def test_morph_begins_and_ends_with_its_classes(actions: Actions):
    ends = (NAMES[0], NAMES[2])
    way = [actions.draw("run", ends, place, 2, 9.0, 1, Times()) for place in (0.0, 0.5, 1.0)]
    assert np.array_equal(way[0], actions.draw("run", (NAMES[0],) * 2, 0.0, 2, 9.0, 1, Times()))
    assert not np.array_equal(way[0], way[1]) and not np.array_equal(way[1], way[2])


def test_one_copy_of_a_model_for_all(app_runs):
    """Eight visitors at once load a run once; with room for one run the other goes."""
    flags = ["--checkpoints_dir", str(app_runs / "checkpoints"), "--gpu_ids", "-1"]
    runs = Runs(["facades", "deep"], flags, max_models=1)
    assert runs.loads == 0
    seen = []

    def visit() -> None:
        with runs.use("facades") as opened_run:
            seen.append(opened_run)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs.loads == 1 and all(each is seen[0] for each in seen)
    for name in ("deep", "facades"):
        with runs.use(name):
            assert runs.loaded == (name,)
    assert runs.loads == 3


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a: a.palette("nobody"), "no run 'nobody' here"),
        (lambda a: a.palette("facades", "nothing"), "no palette 'nothing'"),
        (lambda a: a.sample_map("facades", 99, OF_THE_DATA), "no such picture"),
        (lambda a: a.picture("facades", "", None, -1), "Upload a picture"),
        (lambda a: a.translate("facades", np.zeros((8, 8, 5), np.uint8), "", 0, 1, Times()), "5 channels"),
        (lambda a: a.translate("facades", np.zeros((8, 8, 3), np.uint8), "AtoB", 0, 1, Times()), "BtoA only"),
        (lambda a: a.draw("facades", ("a", "a"), 0, 1, 1, 0, Times()), "draws no classes"),
        (lambda a: a.draw("run", ("nobody", "nobody"), 0, 1, 1, 0, Times()), "no class 'nobody'"),
        (lambda a: number("1e99", 0, 9, "The seed"), "The seed must be a whole number from 0 to 9"),
        (lambda a: level(float("nan")), "are numbers"),
    ],
)
def test_refused_in_words(actions: Actions, call, says):
    with pytest.raises(ValueError, match=says):
        call(actions)


def test_what_programs_are_told(actions: Actions):
    facades, noise, deep, zebra, classes = actions.models()
    assert facades["directions"] == ["BtoA"] and facades["palette"]["door"] == "#00cfff"
    assert zebra["directions"] == ["AtoB", "BtoA"] and classes["classes"] == list(NAMES)
    assert noise["model"] == "stochastic" and deep["palette"] == {}


@pytest.mark.parametrize("drawn", ["", "[]", "{", '"x"', '{"of": 1}'])
def test_an_editor_that_sends_something_else_gets_a_map_to_start_from(actions, drawn):
    pytest.importorskip("gradio", reason="the app needs gradio: bash scripts/setup.sh --optional")
    from scripts.apps import label_tab

    assert "image" in json.loads(label_tab._kept_map(actions, "facades", OF_THE_DATA, drawn))
    with pytest.raises(ValueError, match="There is no label map yet"):
        label_tab._drawn(actions, "facades", OF_THE_DATA, drawn)
