"""Published checkpoints of TensorFlow and Paddle become runs that test.py and train.py read."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import test as test_program
import train
from options.files import read_options
from scripts import import_official
from tests.official_golden import FOLDER, golden, image, value, write_bundle
from util.images.io import read_image

RUN = Path("checkpoints/theirs")
AUGAN, UGATIT = (FOLDER / system / "tiny_checkpoint" for system in ("augan_tf", "ugatit_tf"))
PADDLE = FOLDER / "ugatit_paddle" / "tiny_files"
STEM = "cyclegan.model-12345"
NETWORKS = {"G_A2B", "G_B2A", "D_GA", "D_GB", "D_LA", "D_LB"}


def imported(file: Path | str, *argv: str) -> int:
    return import_official.main([str(file), "--name", "theirs", *argv])


def networks() -> set[str]:
    return {file.stem.removeprefix("latest_net_") for file in RUN.glob("*.pth")}


def refused(file: Path | str, *argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of an import that ends with exit code 2 and leaves nothing."""
    capsys.readouterr()
    assert imported(file, *argv) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and not Path("checkpoints").exists(), err
    return err


# --- from the file to the picture -------------------------------------------------------------------------------------


def save_images(folder: Path, **images: np.ndarray) -> None:
    """Images ``[H, W, C]`` in [-1, 1] as files of numbers from 0 to 1."""
    for side, pixels in images.items():
        (folder / f"test{side}").mkdir(parents=True)
        np.save(folder / f"test{side}" / "x.npy", (pixels + 1) / 2)


def translated(name: str, *argv: str) -> np.ndarray:
    """A picture of ``test.py --name theirs``, in [-1, 1]."""
    words = ["--name", "theirs", "--dataroot", "data", "--gpu_ids", "-1", *argv]
    assert test_program.main(words) == 0
    return 2 * read_image(Path("results/theirs/test_latest/images") / f"x_{name}.tif").array - 1


def nearly(found: np.ndarray, wanted: np.ndarray, limit: float) -> bool:
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() < limit)


def test_augans_file_gives_the_published_picture(workdir) -> None:
    index, outputs = golden("augan_tf", "outputs.npz")
    write_bundle(Path("cyclegan.model-7"), {name: value(name, shape) for name, shape in index["variables"]})
    assert imported("cyclegan.model-7", "--crop_size", "64") == 0
    assert networks() == {"G_A", "G_B", "D_A", "D_B"}
    save_images(Path("data"), **{side: image(f"real_{side}", [1, 64, 128, 3])[0] for side in "AB"})
    assert nearly(translated("fake_B"), outputs["fake_B"][0], 3e-5)
    assert nearly(translated("fake_A"), outputs["fake_A"][0], 3e-5)


@pytest.mark.parametrize(("light", "size", "stem"), [(True, 96, "light_96"), (False, 64, "full_64")])
def test_tensorflows_file_gives_the_published_picture(workdir, light, size, stem) -> None:
    index, outputs = golden("ugatit_tf", f"{stem}.npz")
    write_bundle(Path("U.model-1"), {name: value(name, shape) for name, shape in index["variables"][stem]})
    assert imported("U.model-1.index", *(["--crop_size", "96"] if light else [])) == 0
    options = read_options(RUN)
    assert options["light"] is light and options["crop_size"] == size and options["ugatit_variant"] == "tensorflow"
    save_images(Path("data"), **{side: image(f"domain_{side}", [1, size, size, 3])[0] for side in "AB"})
    assert nearly(translated("fake_B"), outputs["fake_B"][0], 5e-5)
    assert nearly(translated("fake_A"), outputs["fake_A"][0], 5e-5)


def paddle_state(program: str, network: str) -> dict[str, np.ndarray]:
    keys = golden("ugatit_paddle", f"{program}_outputs.npz")[0]["keys"][program][network]
    state = {key: value(f"{network}.{key}", shape) for key, shape in keys.items()}
    if program == "ppgan":
        for key in state:
            if key.startswith("DownBlock") and key.endswith(("scale", "bias")):
                state[key][...] = key.endswith("scale")
    return state


@pytest.mark.parametrize(("program", "limit"), [("ppgan", 5e-5), ("port", 5e-4)])
@pytest.mark.parametrize("protocol", [2, 4])
def test_paddles_file_of_one_network_gives_the_published_picture(workdir, program, limit, protocol) -> None:
    content = {**paddle_state(program, "genA2B"), "StructuredToParameterName@@": {"gap_fc.weight": "linear_0.w_0"}}
    Path("weights.pdparams").write_bytes(pickle.dumps(content, protocol))
    assert imported("weights.pdparams", "--network", "genA2B", "--crop_size", "64") == 0
    assert networks() == {"G_A2B"}
    pixels = image("domain_A", [1, 3, 64, 64])[0].transpose(1, 2, 0)
    save_images(Path("data"), A=pixels)
    wanted = golden("ugatit_paddle", f"{program}_outputs.npz")[1]["genA2B_out"][0].transpose(1, 2, 0)
    shutil.move("data/testA/x.npy", "data/x.npy")
    assert nearly(translated("fake_B"), wanted, limit)


# --- the files that real savers wrote ---------------------------------------------------------------------------------


def save_pictures(folder: Path, width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    for phase in ("train", "test"):
        for side in "AB":
            (folder / f"{phase}{side}").mkdir(parents=True)
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{phase}{side}" / "x.png")


def losses_after(count: int) -> list[dict[str, float]]:
    words = ["--name", "theirs", "--dataroot", "data", "--continue_train", "--gpu_ids", "-1", "--num_threads", "0"]
    words += ["--display_id", "0", "--print_freq", "1", "--n_iters", str(count), "--n_iters_decay", "0"]
    assert train.main(words) == 0
    lines = (RUN / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row.get("type") == "losses" or "losses" in row]


@pytest.mark.parametrize(
    ("file", "flags", "made", "size"),
    [
        (AUGAN, ["--crop_size", "64"], {"G_A", "G_B", "D_A", "D_B"}, (72, 40)),
        (UGATIT, ["--crop_size", "96"], NETWORKS, (96, 96)),
        (PADDLE / "epoch_1_weight.pdparams", ["--crop_size", "96"], NETWORKS, (96, 96)),
        (PADDLE / "selfie2anime_params_0000001.pickle", ["--crop_size", "96"], NETWORKS, (96, 96)),
        (PADDLE / "generators_nested_tensors.pdparams", ["--crop_size", "96"], {"G_A2B", "G_B2A"}, (96, 96)),
    ],
    ids=lambda each: each.name if isinstance(each, Path) else "",
)
def test_what_real_savers_wrote_is_tested_without_another_flag(workdir, file, flags, made, size, capsys) -> None:
    assert imported(file, *flags) == 0
    assert networks() == made
    report = (RUN / "import_report.txt").read_text()
    assert "used:\n" in report and "folded, or made without a tensor:\n" in report and "ignored:\n" in report
    save_pictures(Path("data"), *size)
    assert test_program.main(["--name", "theirs", "--dataroot", "data"]) == 0
    with Image.open("results/theirs/test_latest/images/x_fake_B.png") as picture:
        assert picture.size == ((128, 64) if file == AUGAN else size)
    if not any(name.startswith("D_") for name in made):
        capsys.readouterr()
        words = ["--name", "theirs", "--dataroot", "data", "--continue_train", "--num_threads", "0"]
        assert train.main(words) == 2
        assert "latest_net_D_GA.pth does not exist" in capsys.readouterr().err
