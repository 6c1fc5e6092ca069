"""Messages about damaged or missing files: what they say, and what they leave out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import train
from data import DATASETS
from options.base_options import DataOptions
from options.files import read_options
from options.schema import OptionError
from util.run.checkpoint import Checkpointer


def checkpoints(folder: Path) -> Checkpointer:
    for tag in ("latest", "5", "10", "iter_30"):
        torch.save(nn.Linear(2, 2).state_dict(), folder / f"{tag}_net_G.pth")
    torch.save({}, folder / "15_net_D.pth")
    return Checkpointer(folder)


@pytest.mark.parametrize("kept", [0, 100])
def test_a_damaged_checkpoint_names_those_that_can_be_used(kept: int, tmp_path: Path) -> None:
    found = checkpoints(tmp_path)
    file = tmp_path / "latest_net_G.pth"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"latest_net_G\.pth: ") as error:
        found.load_network("latest", "G", nn.Linear(2, 2))
    told = str(error.value)
    assert told.endswith("use another checkpoint of the run: --epoch 10, --epoch 5, --load_iter 30")
    assert ("empty" if not kept else "damaged or not a checkpoint (100 bytes)") in told
    assert not any(word in told for word in ("miniz", "PytorchStreamReader", "zip", "weights_only", "\n"))


def test_a_damaged_checkpoint_without_another(tmp_path: Path) -> None:
    (tmp_path / "latest_net_G.pth").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"\(1 bytes\); restore a copy of it$"):
        Checkpointer(tmp_path).load_network("latest", "G", nn.Linear(2, 2))


def test_empty_options_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "train_opt.json").write_text("")
    with pytest.raises(OptionError, match=r"train_opt\.json is empty\): restore a copy"):
        read_options(tmp_path)
    (tmp_path / "train_opt.json").write_text(json.dumps([1]))
    with pytest.raises(OptionError, match="not an object"):
        read_options(tmp_path)


def test_data_that_were_moved(tmp_path: Path) -> None:
    options = DataOptions(dataroot=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"no such folder; .*were moved give the new place by --dataroot"):
        DATASETS.get("aligned")(options, input_nc=3, output_nc=3)


@pytest.mark.parametrize(
    ("there", "direction", "suffix"),
    [("A", "AtoB", "_A"), ("B", "AtoB", "_B"), ("A", "BtoA", "_B"), ("B", "BtoA", "_A")],
)
def test_one_side_of_unpaired_data_has_a_way_to_be_tested(
    there: str, direction: str, suffix: str, tmp_path: Path
) -> None:
    folder = tmp_path / f"test{there}"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"")
    options = DataOptions(dataroot=str(tmp_path), phase="test", direction=direction)
    with pytest.raises(FileNotFoundError, match="there is no folder") as error:
        DATASETS.get("unaligned")(options, input_nc=3, output_nc=3)
    way = f"--model test --model_suffix {suffix} --dataset_mode single --dataroot {folder}"
    assert way in str(error.value)


LAYOUTS = {"A/train, B/train": ("A/train", "B/train"), "A, B": ("A", "B"), "train/input, train/target": ()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_that_no_model_reads_comes_with_the_way_out(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in LAYOUTS[layout] or ("train/input", "train/target"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (16, 16)).save(tmp_path / folder / f"{number}.png")
    argv = ["--dataroot", str(tmp_path), "--gpu_ids", "-1", "--name", "run", "--checkpoints_dir", str(tmp_path / "ck")]
    assert train.main([*argv, "--model", "pix2pix"]) == 2
    told = capsys.readouterr().err
    if LAYOUTS[layout]:
        assert f"move them to {tmp_path}/train/A and {tmp_path}/train/B, or join them by" in told
        assert f"datasets/combine_A_and_B.py --fold_A {tmp_path}/A --fold_B {tmp_path}/B --fold_AB" in told
        assert train.main([*argv, "--model", "cycle_gan"]) == 2
        assert f"move {tmp_path / LAYOUTS[layout][0]} to {tmp_path}/trainA" in capsys.readouterr().err
    else:
        assert "0.png: 16x16 pixels look like one picture" in told
        assert f"if {tmp_path}/train/input and target hold the sides of pairs, call these folders A and B" in told
    assert len(told.strip().splitlines()) == 1 and not (tmp_path / "ck").exists()


def test_folders_of_other_names_are_no_hint_for_pairs_in_one_file(tmp_path: Path) -> None:
    """Side by side, in a folder for each town."""
    for folder in ("aachen", "bremen"):
        (tmp_path / "train" / folder).mkdir(parents=True)
        Image.new("RGB", (32, 16)).save(tmp_path / "train" / folder / "0.png")
    options = DataOptions(dataroot=str(tmp_path), load_size=16, crop_size=16)
    assert len(DATASETS.get("aligned")(options, input_nc=3, output_nc=3)) == 2
