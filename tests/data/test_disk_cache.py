"""Decoded pictures on disk: equal samples, what is decoded again, what a kill leaves."""

# ruff: noqa: F811 (a fixture that is imported)

import json
import logging
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import DATASETS, disk_cache
from data.base_dataset import BaseDataset
from tests.data.test_datasets import Draw, draw, make  # noqa: F401 (a fixture)


def sources(draw: Draw) -> None:
    for number in range(4):
        draw(f"train/{number}.png", 80, 40)
        draw(f"trainA/{number}.png")
        draw(f"trainB/{number}.png", 50, 40)


def equal(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    if found.keys() != expected.keys():
        return False
    both = [(found[key], expected[key]) for key in expected]
    return all(torch.equal(a, b) if isinstance(b, torch.Tensor) else repr(a) == repr(b) for a, b in both)  # NaN too


def cached(mode: str, root: Path, folder: Path, **options: Any) -> tuple[BaseDataset, list[int]]:
    """A data set with its cache filled, and the units that were decoded for that, without the probes of the size."""
    dataset = make(mode, root, cache="disk", cache_dir=str(folder), **options)
    decoded: list[int] = []
    plain = dataset.decode
    dataset.decode = lambda unit: decoded.append(unit) or plain(unit)  # type: ignore[assignment, func-returns-value]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk_cache, "estimate", lambda decode, count: 0)
        dataset.fill_cache()
    dataset.decode = plain  # type: ignore[method-assign]
    return dataset, sorted(decoded)


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "single", "colorization"])
def test_samples_are_those_of_the_files(mode: str, tmp_path: Path, draw: Draw) -> None:
    sources(draw)
    plain = make(mode, tmp_path)
    first, decoded = cached(mode, tmp_path, tmp_path / "cache")
    assert decoded == list(range(plain.num_units()))
    again, decoded = cached(mode, tmp_path, tmp_path / "cache")
    assert decoded == []
    keys = [(epoch, index) for epoch in (1, 2) for index in range(len(plain))]
    assert all(equal(dataset[key], plain[key]) for dataset in (first, again) for key in keys)


def test_values_ranges_and_gaps_are_kept(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8, 1)
    values[2, 3] = np.nan
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/0.npy", values)
    kind = DATASETS.get("single")
    how = {"dataroot": str(tmp_path / "data"), "preprocess": "none", "nodata_A": "nan", "value_range_A": (0.0, 70.0)}
    plain = kind(kind.Options(**how), input_nc=1, output_nc=1)
    kept = kind(kind.Options(**how, cache="disk", cache_dir=str(tmp_path / "c")), input_nc=1, output_nc=1)
    kept.fill_cache()
    assert equal(kept[0], plain[0]) and float(kept[0]["A_mask"].sum()) == 63
    assert kept.fetch(0)["A"] is not kept.fetch(0)["A"] and kept.fetch(0)["A"].array.dtype == np.float32


def test_only_what_changed_is_decoded_again(tmp_path: Path, draw: Draw) -> None:
    sources(draw)
    cache = tmp_path / "cache"
    cached("aligned", tmp_path, cache)
    os.utime(tmp_path / "train/0.png", (1, 1))  # touched
    assert cached("aligned", tmp_path, cache)[1] == []
    draw("train/1.png", 90, 46)
    dataset, decoded = cached("aligned", tmp_path, cache)
    assert decoded == [1] and equal(dataset[1], make("aligned", tmp_path)[1])
    draw("train/05.png", 84, 44)  # comes second
    dataset, decoded = cached("aligned", tmp_path, cache)
    assert decoded == [int(Path(dataset.unit_paths(unit)[0]).stem == "05" and unit) for unit in decoded]
    assert len(decoded) == 1 and all(equal(dataset[i], make("aligned", tmp_path)[i]) for i in range(5))


def test_a_moved_data_set_is_known_and_another_way_of_decoding_is_not(tmp_path: Path, draw: Draw) -> None:
    sources(draw)
    cache = tmp_path / "cache"
    cached("unaligned", tmp_path, cache)
    for side in "AB":
        shutil.move(tmp_path / f"train{side}", tmp_path / f"moved/train{side}")
    assert cached("unaligned", tmp_path / "moved", cache)[1] == []
    assert cached("unaligned", tmp_path / "moved", cache, no_flip=True, batch_size=2)[1] == []
    assert len(cached("unaligned", tmp_path / "moved", cache, load_size=40)[1]) == 8


def test_equal_files_of_both_sides_are_not_mixed_up(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
        np.save(tmp_path / f"train{side}/0.npy", np.full((40, 40, 1), 8.0, np.float32))
    kind = DATASETS.get("unaligned")
    how = {"load_size": 40, "crop_size": 32, "value_range_A": (0.0, 16.0), "value_range_B": (0.0, 32.0)}
    dataset = kind(
        kind.Options(dataroot=str(tmp_path), cache="disk", cache_dir=str(tmp_path / "c"), **how),
        input_nc=1,
        output_nc=1,
    )
    dataset.fill_cache()
    assert [float(dataset[0][side].mean()) for side in "AB"] == [0.0, -0.5]


def test_what_a_kill_leaves_is_gone_over(tmp_path: Path, draw: Draw) -> None:
    sources(draw)
    cache = tmp_path / "cache"
    cached("aligned", tmp_path, cache)
    (own,) = cache.iterdir()
    index = own / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    (own / "files.jsonl").write_bytes((own / "files.jsonl").read_bytes()[:-9])
    dataset, decoded = cached("aligned", tmp_path, cache)
    assert decoded == [2, 3] and all(equal(dataset[i], make("aligned", tmp_path)[i]) for i in range(4))
    assert len(index.read_text().splitlines()) == 4
    with open(own / "pixels.bin", "rb+") as pixels:  # the machine lost its power: pixels that never reached the disk
        pixels.truncate(json.loads(lines[0])["end"])
    dataset, decoded = cached("aligned", tmp_path, cache)
    assert decoded == [1, 2, 3] and all(equal(dataset[i], make("aligned", tmp_path)[i]) for i in range(4))


def test_a_copy_for_a_worker_maps_the_file_itself(tmp_path: Path, draw: Draw) -> None:
    sources(draw)
    dataset, _ = cached("aligned", tmp_path, tmp_path / "cache")
    expected = dataset[0]
    data = pickle.dumps(dataset)
    assert len(data) < dataset._cache.nbytes and equal(pickle.loads(data)[0], expected)  # type: ignore[union-attr]


def _fill_in_process(root: Path, folder: Path) -> None:
    make("aligned", root, cache="disk", cache_dir=str(folder)).fill_cache()


def test_two_processes_fill_it_once(tmp_path: Path, draw: Draw) -> None:
    sources(draw)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill_in_process, args=(tmp_path, tmp_path / "cache")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    (own,) = (tmp_path / "cache").iterdir()
    assert len((own / "index.jsonl").read_text().splitlines()) == 4


def test_no_room_and_no_right_to_write(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    sources(draw)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--cache disk: .* cannot be written \(Not a directory\): choose another"):
        make("aligned", tmp_path, cache="disk", cache_dir=str(tmp_path / "file")).fill_cache()
    monkeypatch.setattr(disk_cache, "estimate", lambda decode, count: 2**50)
    with pytest.raises(ValueError, match=r"--cache disk needs about 1048576\.0 GB in .* free: choose another"):
        make("aligned", tmp_path, cache="disk", cache_dir=str(tmp_path / "cache")).fill_cache()


def test_a_broken_picture_stops_it_and_the_others_are_kept(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sources(draw)
    whole = (tmp_path / "train/3.png").read_bytes()
    (tmp_path / "train/3.png").write_bytes(whole[:60])
    monkeypatch.setattr(disk_cache, "estimate", lambda decode, count: 0)
    with pytest.raises(ValueError, match=r"3\.png"):
        make("aligned", tmp_path, cache="disk", cache_dir=str(tmp_path / "cache")).fill_cache()
    (tmp_path / "train/3.png").write_bytes(whole)
    assert cached("aligned", tmp_path, tmp_path / "cache")[1] == [3]
    assert "1 picture decoded" in caplog.text
