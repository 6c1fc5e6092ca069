"""Tables of images: which rows are read, how often each comes, and what a table may not say."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train
from data import DATASETS
from data.base_dataset import BaseDataset
from data.check import find_phases, quick_check
from data.loader import create_loader
from data.table import read_table, shared_groups, table_place, weighted_order
from scripts import check_data

GREY = {"a0": 10, "a1": 20, "a2": 30, "b0": 110, "b1": 120, "b2": 130}
"""The grey of every image: an image is recognised by it."""

PAIRS = """A,B,phase,weight,group
in/a0.png,out/b0.png,train,1,p1
in/a1.png,out/b1.png,train,3,p2
in/a2.png,out/b2.png,test,,p3
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    for name, grey in GREY.items():
        Image.new("L", (32, 32), grey).save(tmp_path / ("in" if name[0] == "a" else "out") / f"{name}.png")
    return tmp_path


def write(root: Path, text: str, name: str = "pairs.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def make(root: Path, mode: str = "table", **options: Any) -> BaseDataset:
    kind = DATASETS.get(mode)
    return kind(kind.Options(dataroot=str(root), load_size=32, crop_size=32, **options), input_nc=1, output_nc=1)


def greys(sample: dict[str, Any]) -> dict[str, int]:
    return {side: round((float(sample[side].mean()) + 1) * 127.5) for side in "AB" if side in sample}


def test_pairs_of_a_phase_in_the_order_of_the_table(root: Path) -> None:
    write(root, PAIRS)
    dataset = make(root)
    assert [greys(dataset[index]) for index in range(len(dataset))] == [{"A": 10, "B": 110}, {"A": 20, "B": 120}]
    assert greys(make(root, phase="test")[0]) == {"A": 30, "B": 130}
    assert dataset.counts() == {"pairs": 2} and dataset.root == root / "in"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "A\tB\nin/a0.png\tout/b0.png\n"),
        ("t.csv", "\ufeffnote;B;A\nold;out/b0.png;in/a0.png\n;;\n"),
        ("t.csv", 'A, B\n"in/a0.png", out/b0.png\n'),
        ("t.jsonl", '{"A": "in/a0.png", "B": "out/b0.png", "age": 4}\n\n'),
    ],
)
def test_kinds_of_tables(root: Path, name: str, text: str) -> None:
    write(root, text, name)
    assert greys(make(root)[0]) == {"A": 10, "B": 110}


def test_paths_are_relative_to_the_table_or_absolute(root: Path, tmp_path: Path) -> None:
    (root / "tables").mkdir()
    write(root, f"A,B\n../in/a0.png,{root / 'out/b0.png'}\n", "tables/own.csv")
    assert greys(make(root, table="tables/own.csv")[0]) == {"A": 10, "B": 110}
    assert table_place("data/pairs.CSV") == ("data", "pairs.CSV")
    assert table_place("data", "x.csv") == ("data", "x.csv")


def test_inputs_alone(root: Path) -> None:
    write(root, "A\nin/a1.png\n")
    sample = make(root)[0]
    assert greys(sample) == {"A": 20} and "B_paths" not in sample


def test_an_epoch_has_each_pair_as_often_as_its_weight_says() -> None:
    weights = [1.0, 3.0, 0.0, 0.5, 1.5]
    counts: Counter[int] = Counter()
    for epoch in range(400):
        order = weighted_order(random.Random(f"0/{epoch}"), weights)
        counts.update(order)
        assert len(order) == 5
        assert order.count(0) in (0, 1) and order.count(1) in (2, 3) and order.count(2) == 0  # 5/6, 5/2, 0
    expected = [weight * 5 / 6 for weight in weights]
    np.testing.assert_allclose([counts[index] / 400 for index in range(5)], expected, atol=0.1)
    assert sorted(weighted_order(random.Random(1), [2.0] * 7)) == list(range(7))
    assert sorted(weighted_order(random.Random(1), [1e300, 1e-300])) == [0, 0]


def test_training_follows_the_weights_and_a_test_does_not(root: Path) -> None:
    write(root, "A,B,weight\nin/a0.png,out/b0.png,0\nin/a1.png,out/b1.png,1\n")
    options: dict[str, Any] = {"batch_size": 1, "num_threads": 0, "direction": "AtoB", "seed": 0}
    shuffled = create_loader(make(root), serial_batches=False, **options)
    serial = create_loader(make(root), serial_batches=True, **options)
    assert [batch["A_paths"][0][-6:] for batch in shuffled.batches(1)] == ["a1.png", "a1.png"]
    assert [batch["A_paths"][0][-6:] for batch in serial.batches(1)] == ["a0.png", "a1.png"]


def test_unpaired_images_by_their_own_weights(root: Path) -> None:
    write(root, "A,B,weight\nin/a0.png,,1\nin/a1.png,,1\nin/a2.png,,0\n,out/b0.png,0\n,out/b1.png,1\n")
    dataset = make(root, "unaligned_table")
    assert dataset.counts() == {"A": 3, "B": 2} and len(dataset) == 3
    order = dataset.epoch_order(random.Random(0))
    assert len(order) == 3 and 2 not in order
    samples = [greys(dataset[epoch, index]) for epoch in (1, 2) for index in order]
    assert {sample["B"] for sample in samples} == {120} and {sample["A"] for sample in samples} == {10, 20}
    phase = find_phases(root, (), DATASETS.get("unaligned_table"), dataset.options)[0]
    assert [len(phase.sides[side]) for side in "AB"] == [3, 2]


def test_a_group_in_two_phases_is_reported(root: Path) -> None:
    file = write(root, PAIRS + "in/a0.png,out/b0.png,test,1,p1\n")
    (line,) = shared_groups(read_table(file))
    assert line.startswith("group p1 is in the phases test and train (1 of 3 groups")
    assert line in quick_check(make(root))
    assert shared_groups(read_table(write(root, PAIRS))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must name the columns"),
        ("A,B\n", "has no rows"),
        ("a,b\nx,y\n", "first line must name the columns, A or B among them; found a, b"),
        ("A,A\nx,y\n", "two columns have one name"),
        ("A,B\nin/a0.png,out/b0.png,1\n", "line 2: has more fields"),
        ("A,B,phase\n,,train\n", "line 2: has neither A nor B"),
        ("A,B,weight\nin/a0.png,out/b0.png,-1\n", "line 2: weight -1: give a number of 0 or more"),
        ("A,B,weight\nin/a0.png,out/b0.png,nan\n", "line 2: weight nan"),
        ("A,B,weight\nin/a0.png,out/b0.png,0\n", "all weights of phase train are 0"),
        ("A,B\nin/a0.png,out/b0.png\nin/a1.png,\n", "line 3: has A, but needs an A and a B"),
        ("A,B\n,out/b0.png\n", "line 2: has B, but needs an A alone"),
    ],
)
def test_wrong_tables(root: Path, text: str, message: str) -> None:
    write(root, text)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make(root)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "A,B\nin/a0.png,out/gone.png\nin/x.png,out/b0.png\n",
            {},
            "line 2: .*gone.png does not exist; so it is with 2 f",
        ),
        (PAIRS, {"phase": "val"}, "--phase val: .*pairs.csv has only the phases test, train"),
        (PAIRS, {"table": "other.csv"}, "--table other.csv: .* does not exist"),
    ],
)
def test_what_is_missing(root: Path, text: str, options: dict[str, Any], message: str) -> None:
    write(root, text)
    with pytest.raises(FileNotFoundError, match=message):
        make(root, **options)


def test_which_table(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no \.csv, \.tsv or \.jsonl file"):
        make(root)
    write(root, PAIRS)
    write(root, PAIRS, "other.csv")
    with pytest.raises(ValueError, match=r"has 2 tables \(other.csv, pairs.csv\); choose one by --table"):
        make(root)
    with pytest.raises(ValueError, match=r"--table in/a0\.png: give a file that ends in"):
        make(root, table="in/a0.png")
    with pytest.raises(ValueError, match="line 1: is no JSON"):
        make(root, table=write(root, "{A: 1}", "t.jsonl").name)
    with pytest.raises(ValueError, match="line 1: give an object"):
        make(root, table=write(root, json.dumps(["a"]), "t.jsonl").name)


def test_check_data_reads_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (16, 32)).save(root / "out/b1.png")
    file = write(root, PAIRS + "in/a0.png,out/b0.png,test,1,p1\n")
    assert check_data.main([str(file), "--contact_sheet", str(root / "sheet.png")]) == 1
    printed = capsys.readouterr().out
    assert "train: pairs, files: A 2, B 2" in printed and "test: pairs, files: A 2, B 2" in printed
    assert "the sides of pair" in printed and "differ in size: 32x32 and 16x32" in printed
    assert "warning: group p1 is in the phases test and train" in printed


def test_training_from_a_table(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, PAIRS)
    monkeypatch.chdir(root)
    small = "--netG unet_128 --ngf 2 --ndf 2 --load_size 128 --crop_size 128 --input_nc 1 --output_nc 1 --gpu_ids -1"
    words = f"--dataroot pairs.csv --dataset_mode table --name t --n_epochs 1 --n_epochs_decay 0 {small}".split()
    assert train.main(words) == 0
    assert (root / "checkpoints/t/latest_net_G.pth").is_file()
