"""Published checkpoints of TensorFlow and Paddle become runs that test.py and train.py read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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
    """One picture to test with on each side, and the same five times to train with."""
    rng = np.random.default_rng(0)
    for side in "AB":
        pixels = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        for phase, names in (("test", "x"), ("train", "12345")):
            (folder / f"{phase}{side}").mkdir(parents=True)
            for name in names:
                pixels.save(folder / f"{phase}{side}" / f"{name}.png")


def goes_on() -> list[dict[str, float]]:
    """The losses of five steps of ``train.py --continue_train``."""
    words = ["--name", "theirs", "--dataroot", "data", "--continue_train", "--gpu_ids", "-1", "--num_threads", "0"]
    words += ["--display_id", "0", "--print_freq", "1", "--n_epochs", "1", "--n_epochs_decay", "0"]
    assert train.main(words) == 0
    rows = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    return [row["losses"] for row in rows if row["kind"] == "scalars"]


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
        assert "imported from has G_A2B, G_B2A only" in capsys.readouterr().err
        return
    losses = goes_on()
    assert len(losses) == 5 and all(np.isfinite(list(each.values())).all() for each in losses)
    for name in {"G_cycle", "G_idt", "cycle_B", "A_rec", "B_rec"} & losses[0].keys():
        assert losses[-1][name] < 1.1 * losses[0][name], name  # no jump


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture()
def copies(workdir) -> Path:
    """Files that may be broken."""
    shutil.copytree(AUGAN, "augan")
    shutil.copytree(UGATIT, "ugatit")
    shutil.copytree(PADDLE, "paddle")
    return workdir


def change(file: str, change: Callable[[bytes], bytes]) -> str:
    path = Path(file)
    path.write_bytes(change(path.read_bytes()))
    return file


def flip(place: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def test_cut_and_changed_files_are_refused(copies, capsys) -> None:
    data = f"augan/{STEM}.data-00000-of-00001"
    change(data, flip(60_000))
    assert "the checksum of" in refused("augan", capsys=capsys)
    change(data, lambda raw: raw[:60_000])
    assert "it ends at byte 60000" in refused("augan", capsys=capsys)
    change(f"augan/{STEM}.index", flip(100))
    assert "a checksum is wrong" in refused("augan", capsys=capsys)
    for name in ("epoch_1_weight.pdparams", "selfie2anime_params_0000001.pickle"):
        assert "it is cut off" in refused(change(f"paddle/{name}", lambda raw: raw[:-1000]), capsys=capsys)
    # of the numbers in a pickle there is no checksum; a changed instruction or name is noticed
    nested = change("paddle/generators_nested_tensors.pdparams", lambda raw: raw.replace(b"gap_fc", b"gap_fb"))
    assert "there is no genA2B.gap_fc.weight" in refused(nested, capsys=capsys)


def test_files_of_other_networks_are_refused(copies, capsys) -> None:
    shutil.copy("ugatit/UGATIT.model-1000.data-00000-of-00001", f"augan/{STEM}.data-00000-of-00001")
    assert "the checksum of" in refused("augan", capsys=capsys)
    write_bundle(Path("other"), {"conv1/weights": np.zeros((3, 3, 1, 1), np.float32)})
    assert "neither AU-GAN (TensorFlow) nor U-GAT-IT (TensorFlow); its first" in refused("other", capsys=capsys)
    Path("other.pdparams").write_bytes(pickle.dumps({"genA2B": {"conv.weight": np.zeros(1, np.float32)}}))
    assert "there is no DownBlock.1.weight" in refused("other.pdparams", capsys=capsys)
    Path("one.pdparams").write_bytes(pickle.dumps({"conv.weight": np.zeros(1, np.float32)}))
    assert "give --network genA2B" in refused("one.pdparams", capsys=capsys)
    assert "neither U-GAT-IT (PaddleGAN)" in refused("one.pdparams", "--network", "disGA", capsys=capsys)
    torch.save({"x": torch.zeros(1)}, "torch.pt")
    assert "use scripts/convert_ugatit.py" in refused("torch.pt", capsys=capsys)
    Path("text.bin").write_text("no checkpoint")
    assert "no checkpoint of TensorFlow, there is no text.bin.index" in refused("text.bin", capsys=capsys)
    assert "there is no such file" in refused("none.index", capsys=capsys)


def test_a_pickle_that_asks_for_a_call_is_refused(workdir, capsys) -> None:
    class Call:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, ("made",)

    for protocol in (2, 4):
        Path("x.pickle").write_bytes(pickle.dumps({"genA2B": Call()}, protocol))
        assert ".mkdir, which no file of arrays needs" in refused("x.pickle", capsys=capsys)
    assert not Path("made").exists()


def test_a_run_is_not_written_over(copies, capsys) -> None:
    assert imported("augan") == 0
    kept = (RUN / "latest_net_G_A.pth").read_bytes()
    assert imported("ugatit", "--crop_size", "96") == 2
    assert "holds a run already" in capsys.readouterr().err
    change(f"augan/{STEM}.data-00000-of-00001", flip(0))
    assert imported("augan", "--overwrite") == 2
    assert (RUN / "latest_net_G_A.pth").read_bytes() == kept and os.listdir("checkpoints") == ["theirs"]
    assert imported("ugatit", "--crop_size", "96", "--overwrite") == 0
    assert networks() == NETWORKS


# --- Paddle's forms ---------------------------------------------------------------------------------------------------


def test_arrays_in_slices_are_joined(workdir) -> None:
    whole = paddle_state("ppgan", "genA2B")
    key = "FC.0.weight"
    flat = whole[key].ravel()
    parts = {f"{key}@@.{number}": part for number, part in enumerate((flat[:1000], flat[1000:]))}
    table = {key: {"OriginShape": whole[key].shape, "slices": list(parts)}}
    sliced = {name: array for name, array in whole.items() if name != key} | parts
    Path("genA2B.pdparams").write_bytes(pickle.dumps({**sliced, "UnpackBigParamInfor@@": table}, 2))
    found = import_official.recognise(Path("genA2B.pdparams"))
    found.check()
    np.testing.assert_array_equal(dict(found.state("G_A2B"))[key], whole[key].T)
    del sliced[f"{key}@@.1"]
    Path("genA2B.pdparams").write_bytes(pickle.dumps({**sliced, "UnpackBigParamInfor@@": table}, 2))
    with pytest.raises(ValueError, match=f"slices of {key} are missing"):
        import_official.recognise(Path("genA2B.pdparams"))


def test_states_of_optimizers_are_ignored(workdir) -> None:
    moments = {"gap_fc_moment1_0": np.zeros(2, np.float32)}
    content = {"epoch": 3, "genA2B": paddle_state("ppgan", "genA2B"), "optimG": moments}
    Path("x_checkpoint.pdparams").write_bytes(pickle.dumps(content))
    found = import_official.recognise(Path("x_checkpoint.pdparams"))
    found.check()
    assert found.ignored["optimG.gap_fc_moment1_0"] == "not of a network"
