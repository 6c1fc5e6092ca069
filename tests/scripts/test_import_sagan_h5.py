"""Published SAGAN parameter files become runs that test.py and train.py read, and back."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import test as test_program
from models.sagan.h5 import layout, read_h5, write_h5
from models.sagan.networks import SAGANDiscriminator, SAGANGenerator
from options.files import read_options
from scripts import import_sagan_h5
from scripts.import_sagan_h5 import empty_networks, infer_options
from tests.golden_rules import GOLDEN
from tests.sagan_golden import CLASSES, INDEX, LATENT, WIDTH, differs, golden_inputs, h5_values
from util.run.class_names import CLASSES_FILE, read_class_names
from util.run.folder import open_run_folder

h5py = pytest.importorskip("h5py")

RUN = Path("checkpoints/theirs")
FILE = Path("params_15.h5")
WEIGHTS = h5_values()
TRAINED = {name: entry["trained"] for name, entry in INDEX["parameters"].items()}


def put(arrays: Mapping[str, np.ndarray] = WEIGHTS) -> None:
    write_h5(FILE, arrays, TRAINED)


def imported(*argv: str, file: Path = FILE) -> int:
    return import_sagan_h5.main([str(file), "--name", "theirs", *argv])


def report() -> dict[str, list[str]]:
    """What the run's report lists: heading -> rows."""
    found: dict[str, list[str]] = {}
    first, *lines = (RUN / "import_report.txt").read_text().splitlines()
    assert first.startswith(f"{FILE}: ")
    for line in lines:
        if line.startswith("  "):
            found[[*found][-1]].append(line[2:])
        else:
            found[line.removesuffix(":")] = []
    return found


def refused(*argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    capsys.readouterr()
    assert import_sagan_h5.main([*argv, "--name", "theirs"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def equals_golden(spectral: bool = True) -> bool:
    """Whether the networks of the run give the golden images and scores in test mode."""
    kwargs: dict[str, Any] = {"num_classes": CLASSES, "spectral": spectral}
    networks: dict[str, nn.Module] = {"G": SAGANGenerator(ngf=WIDTH, nz=LATENT, **kwargs)}
    networks["D"] = SAGANDiscriminator(ndf=WIDTH, **kwargs)
    for key, net in networks.items():
        net.load_state_dict(torch.load(RUN / f"latest_net_{key}.pth", weights_only=True))
    x = golden_inputs()
    with torch.no_grad():
        images = networks["G"].eval()(x["z"], x["y_fake"])
        scores = networks["D"].eval()(x["x_real"], x["y_real"])
    return differs(images, INDEX["g_test"]) < 1e-4 and np.allclose(scores[:, 0], INDEX["d_test"], rtol=1e-4)


def test_a_file_and_its_way_back(workdir, capsys) -> None:
    put()
    Path("names.txt").write_text("".join(f"{label}: 'class {label}, etc.'\n" for label in range(CLASSES)))
    assert imported("--check", "--class_names", "names.txt") == 0
    said = capsys.readouterr().out
    assert "165 tensors, 165 used, 0 ignored, 0 unknown, 0 missing\n" in said and "iteration 15\n" in said
    assert f"names of all tensors: {RUN / 'import_report.txt'}\n" in said
    used = report()["used"]
    assert len(used) == 165 and report() == {"used": used, "ignored": [], "unknown": [], "missing": []}
    assert "generator/sn_affine/W 16x1024 -> G: affine.weight" in used
    assert "discriminator/block-1/conv1/sn_conv/singular-vector 4 -> D: block1.conv1.u" in used
    assert equals_golden()
    options = read_options(RUN)
    wanted = {"model": "sagan", "image_size": 128, "crop_size": 128, "num_classes": CLASSES, "nz": LATENT}
    wanted |= {"ngf": WIDTH, "ndf": WIDTH, "no_sn": False, "ema_decay": 0.0, "attn_res_G": 32, "attn_res_D": 32}
    assert {key: options[key] for key in wanted} == wanted
    assert read_class_names(RUN / CLASSES_FILE)[1] == "class 1, etc."
    for name, source in (("iter_15_net_G", "G"), ("latest_net_G_ema", "G"), ("iter_15_net_D", "D")):
        assert (RUN / f"{name}.pth").read_bytes() == (RUN / f"latest_net_{source}.pth").read_bytes()
    with Image.open(RUN / "import_check.png") as picture:
        assert picture.size == (4 * 129, 4 * 129)
        pixels = np.asarray(picture)
    assert not pixels[128::129].any() and (pixels[:128, :128] != pixels[129:257, :128]).mean() > 0.9

    assert import_sagan_h5.main(["--name", "theirs", "--epoch", "iter_15", "--export", "out/back.h5"]) == 0
    back = read_h5(Path("out/back.h5"))
    assert back.keys() == WEIGHTS.keys() and all(np.array_equal(back[name], WEIGHTS[name]) for name in back)
    with h5py.File("out/back.h5") as opened:
        found = [(int(opened[name].attrs["index"]), name, bool(opened[name].attrs["need_grad"])) for name in back]
    rows = [row.split("\t") for row in (GOLDEN / "sagan" / "h5_layout.tsv").read_text().splitlines()[1:]]
    assert sorted(found) == [(int(row[0]), row[1], row[3] == "yes") for row in rows]


def test_shapes_of_the_published_file() -> None:
    networks = empty_networks(
        {"image_size": 128, "ngf": 64, "ndf": 64, "nz": 128, "num_classes": 1000, "attn_res_G": 32, "attn_res_D": 32}
    )
    rows = [row.split("\t") for row in (GOLDEN / "sagan" / "h5_layout.tsv").read_text().splitlines()[1:]]
    found = [(entry.name, "x".join(map(str, entry.shape))) for entry in layout(networks)]
    assert found == [(row[1], row[2]) for row in rows] and len(found) == 165
    sums = {(network, trained): 0 for network in "GD" for trained in (True, False)}
    for entry in layout(networks):
        sums[entry.network, entry.trained] += math.prod(entry.shape)
    assert list(sums.values()) == [42_078_852, 32_643, 30_062_338, 8_225]


def normalised_weights() -> dict[str, np.ndarray]:
    """``W_sn`` of every layer: the weight divided by sigma of one power step from the layer's vector u.

    The matrix of a convolution has the outputs as rows, that of an affine layer and of a table their last axis.
    """
    found = {}
    for name, u in WEIGHTS.items():
        if name.endswith("/singular-vector"):
            W = WEIGHTS[name.replace("singular-vector", "W")].astype("float64")
            A = W.reshape(len(W), -1) if W.ndim == 4 else W.T
            v = A.T @ u
            sigma = np.linalg.norm(A @ v) / np.sqrt((v**2).sum() + 1e-12)
            found[name.replace("singular-vector", "W_sn")] = (W / sigma).astype("float32")
    return found


def test_the_normalised_weights_of_old_files_are_used_when_asked_for(workdir, capsys) -> None:
    """With other power-iteration vectors beside them, so that the plain weights give other images."""
    vectors = {name: value for name, value in WEIGHTS.items() if name.endswith("/singular-vector")}
    turned = {name: np.roll(value, 1) * np.float32(0.5) for name, value in vectors.items()}
    put({**WEIGHTS, **turned, **normalised_weights()})
    assert imported() == 0
    assert "207 tensors, 165 used, 42 ignored, 0 unknown" in capsys.readouterr().out
    assert len(report()["ignored"]) == 42 and "generator/sn_affine/W_sn 16x1024" in report()["ignored"]
    assert not equals_golden()
    assert imported("--use_w_sn", "--overwrite") == 0
    assert "207 tensors, 165 used" not in (said := capsys.readouterr().out)
    assert "207 tensors, 123 used, 84 ignored, 0 unknown" in said
    assert "generator/sn_affine/W_sn 16x1024 -> G: affine.weight" in report()["used"]
    assert len(report()["ignored"]) == 84 and "generator/sn_affine/singular-vector 1024" in report()["ignored"]
    assert equals_golden(spectral=False) and read_options(RUN)["no_sn"] is True
    assert test_program.main(["--name", "theirs", "--load_iter", "15", "--num_images", "1", "--gpu_ids", "-1"]) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 3, "nz": 7},
        {"ngf": 5, "ndf": 9},
        {"image_size": 32, "attn_res_G": 16, "attn_res_D": 16},
        {"image_size": 64, "attn_res_G": 16, "num_classes": 1},
        {"image_size": 256, "attn_res_G": 64, "attn_res_D": 64, "ndf": 8},
        {"attn_res_G": 0, "attn_res_D": 0},
        {"attn_res_D": 16},
        {"attn_res_G": 8, "attn_res_D": 4},
        {"attn_res_G": 16, "attn_res_D": 8},
        {"image_size": 64, "attn_res_G": 8, "attn_res_D": 8},
        {"image_size": 256, "attn_res_G": 8, "attn_res_D": 128},
    ],
)
def test_options_are_read_off_the_shapes(changes: dict[str, int]) -> None:
    wanted = {"image_size": 128, "ngf": 4, "ndf": 8, "nz": 16, "num_classes": 5, "attn_res_G": 32, "attn_res_D": 32}
    wanted |= changes
    arrays = {entry.name: np.broadcast_to(np.float32(0), entry.shape) for entry in layout(empty_networks(wanted))}
    assert infer_options(arrays, FILE) == {**wanted, "model": "sagan"}


def test_a_generator_alone_and_unknown_names(workdir, capsys) -> None:
    put({**{k: v for k, v in WEIGHTS.items() if k.startswith("generator")}, "generator/extra/W": np.ones((2, 3))})
    assert imported() == 0
    said = capsys.readouterr().out
    assert "102 used, 0 ignored, 1 unknown" in said and "unknown: generator/extra/W 2x3\n" in said
    assert "no discriminator" in said and not list(RUN.glob("*_D.pth"))
    assert report()["unknown"] == ["generator/extra/W 2x3"] and report()["ignored"] == []
    assert "the file has no discriminator" in (RUN / "import_report.txt").read_text()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("generator/block-1/conv1/ccbn/gamma", None, "there is no generator/block-1/conv1/ccbn/gamma/embed/W"),
        ("generator/block-3/conv2/sn_conv/b", None, "missing: generator/block-3/conv2/sn_conv/b 16"),
        ("generator/block-3/conv2/sn_conv/b", np.zeros(5), "/b 5, not 16"),
        ("discriminator/projection/embed/W", np.zeros((4, 64)), "embed/W 4x64, not 5x64"),
        ("generator/bn/var", np.full((1, 4, 1, 1), np.nan), "not finite: generator/bn/var"),
        ("generator/block-7/x", np.zeros(1), "7 blocks make 512x512 pixels"),
        ("generator/sn_affine/W", np.zeros(3), "generator/sn_affine/W is 3"),
        ("generator/block-1/conv1/ccbn/gamma/embed/W", np.zeros((5, 24)), "24 columns, which is no multiple of 16"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(workdir, capsys, name, value, message) -> None:
    changed = {**WEIGHTS, name: value}
    if value is None:
        changed = {key: array for key, array in WEIGHTS.items() if not key.startswith(name)}
    put(changed)
    assert message in refused(str(FILE), capsys=capsys)
    assert not Path("checkpoints").exists()


def test_bad_files_and_flags_are_named_in_one_line(workdir, capsys, monkeypatch) -> None:
    put()
    Path("text.h5").write_text("no parameters")
    with h5py.File("words.h5", "w") as opened:
        opened["generator/words"] = "abc"
    Path("two.txt").write_text("cat\ndog\n")
    assert "text.h5: damaged or no .h5 file" in refused("text.h5", capsys=capsys)
    assert "words.h5: damaged or no .h5 file" in refused("words.h5", capsys=capsys)
    assert "none.h5: there is no such file" in refused("none.h5", capsys=capsys)
    assert "give either" in refused(capsys=capsys)
    assert "2 names for 5 classes" in refused(str(FILE), "--class_names", "two.txt", capsys=capsys)
    assert "(and 41 more, listed above); --use_w_sn is for files" in refused(str(FILE), "--use_w_sn", capsys=capsys)
    assert not Path("checkpoints").exists()
    real_import = builtins.__import__

    def without_h5py(name: str, *args: Any) -> Any:
        if name == "h5py":
            raise ImportError("No module named 'h5py'")
        return real_import(name, *args)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without_h5py)
        assert "pip install h5py" in refused(str(FILE), capsys=capsys)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["params.h5"], "required: --name"),
        (["params.h5", "--name", "x", "--use_w"], "unknown option --use_w: did you mean --use_w_sn?"),
        (["params.h5", "--name", "x", "--exp", "y.h5"], "unknown option --exp: did you mean --export?"),
        (["params.h5", "--name", "x", "more.h5"], "unexpected word 'more.h5'"),
    ],
)
def test_bad_words_end_with_exit_code_2_and_one_line(workdir, capsys, argv, said) -> None:
    put()
    FILE.rename("params.h5")
    assert import_sagan_h5.main(argv) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not Path("checkpoints").exists()


def test_help_is_answered(capsys) -> None:
    assert import_sagan_h5.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "\n    python test.py --name imported " in text and "--use_w_sn" in text


def test_what_is_missing_is_named_on_the_console(workdir, capsys) -> None:
    put({name: value for name, value in WEIGHTS.items() if "/block-3/conv2/sn_conv/" not in name})
    assert imported() == 2
    said = capsys.readouterr().out
    assert "165 tensors" not in said and "159 used, 0 ignored, 0 unknown, 6 missing\n" in said
    assert said.count("  missing: ") == 6 and "  missing: generator/block-3/conv2/sn_conv/b 16\n" in said


def test_a_training_that_replaces_an_import_leaves_nothing_of_it(workdir) -> None:
    put()
    assert imported("--check") == 0
    (RUN / "notes.txt").write_text("mine")
    open_run_folder(RUN, overwrite=True).close()
    assert {file.name for file in RUN.iterdir()} == {".lock", "notes.txt"}


def test_a_run_is_replaced_only_when_asked_for(workdir, capsys) -> None:
    put()
    Path("names.txt").write_text("a\nb\nc\nd\ne\n")
    assert imported("--class_names", "names.txt") == 0
    before = (RUN / "latest_net_G.pth").read_bytes()
    put({**WEIGHTS, "generator/sn_conv/b": np.float32([1, 2, 3])})
    assert "holds a run already" in refused(str(FILE), capsys=capsys)
    assert (RUN / "latest_net_G.pth").read_bytes() == before
    assert imported("--overwrite") == 0
    assert not (RUN / CLASSES_FILE).exists()
    assert torch.load(RUN / "latest_net_G.pth", weights_only=True)["conv.bias"].tolist() == [1, 2, 3]


def test_what_the_published_program_cannot_build_is_not_written(workdir, capsys) -> None:
    put()
    assert imported() == 0
    options = json.loads((RUN / "train_opt.json").read_text())
    for changes, flag in (
        ({"image_size": 64}, "--image_size 64"),
        ({"attn_kind": "pooled"}, "--attn_kind pooled"),
        ({"no_sn_D": True}, "--no_sn_D True"),
        ({"num_classes": 1}, "--num_classes 1"),
        ({"ndf": 8}, "two widths"),
        ({"model": "pix2pix"}, "--model pix2pix"),
    ):
        (RUN / "train_opt.json").write_text(json.dumps({**options, **changes}))
        assert flag in refused("--export", "y.h5", capsys=capsys)
    (RUN / "train_opt.json").write_text(json.dumps({**options, "maps": 128}))
    assert "affine.weight is 1024x16, not 2048x16" in refused("--export", "y.h5", capsys=capsys)
    (RUN / "train_opt.json").write_text(json.dumps(options))
    assert "3_net_G.pth does not exist" in refused("--epoch", "3", "--export", "y.h5", capsys=capsys)
    assert not Path("y.h5").exists()
