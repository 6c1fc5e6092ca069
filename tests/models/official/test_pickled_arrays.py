"""The reader of pickled arrays: what Paddle's programs wrote, and everything else."""

from __future__ import annotations

import collections
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.official.pickled_arrays import read_pickle
from models.official.stored import StoredTensor
from tests.official_golden import FOLDER

FILES = sorted((FOLDER / "ugatit_paddle" / "tiny_files").iterdir())


def leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {key: leaf for part, value in tree.items() for key, leaf in leaves(value, f"{name}.{part}").items()}
    return {name: tree[1] if isinstance(tree, tuple) else tree}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_paddles_programs_wrote_is_read_as_pickle_reads_it(file) -> None:
    found = leaves(read_pickle(file))
    wanted = leaves(pickle.loads(file.read_bytes(), encoding="latin1"))  # our own file: nothing foreign in it
    assert found.keys() == wanted.keys() and len(found) > 40
    for name, tensor in found.items():
        if isinstance(tensor, StoredTensor):
            np.testing.assert_array_equal(tensor.load(), wanted[name])
            assert tensor.load().dtype == wanted[name].dtype and tensor.shape == wanted[name].shape
        else:
            assert tensor == wanted[name]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers_orders_and_long_arrays(tmp_path, protocol) -> None:
    arrays = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big endian": np.arange(3000, dtype=">i4"),
        "scalar": np.array(3, np.int64),
        "axes": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
        "every second": np.arange(9, dtype=np.int16)[::2],
    }
    content = {**arrays, "epoch": 7, "lr": 1e300, "minus": -5, "large": 2**40, "off": False, "list": [1, 2]}
    file = tmp_path / "x.pdparams"
    file.write_bytes(pickle.dumps(collections.OrderedDict(content), protocol))
    found = read_pickle(file)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].load(), array)
        assert found[name].shape == array.shape
    assert [found[name] for name in ("epoch", "lr", "minus", "large", "off")] == [7, 1e300, -5, 2**40, False]
    assert found["list"] == (1, 2)


class Calls:
    """Pickled, it asks for a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def error_of(tmp_path: Path, raw: bytes) -> str:
    file = tmp_path / "x.pdparams"
    file.write_bytes(raw)
    with pytest.raises(ValueError) as caught:
        for tensor in leaves(read_pickle(file)).values():
            tensor.load()
    assert "\n" not in str(caught.value) and "x.pdparams" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Calls(os.mkdir, "made"), r"it asks for (posix|nt).mkdir"),
        ({"a": Calls(os.mkdir, "made")}, r"it asks for (posix|nt).mkdir"),
        ({"a": Calls(eval, "1")}, r"it asks for (builtins|__builtin__).eval"),
        ({"a": np.array([{}], object)}, "not of plain numbers"),
        ({"a": np.array(["text"])}, "not of plain numbers"),
        ({"a": {1, 2}}, "is none that writes arrays|it asks for"),
        ({(1, 2): np.zeros(1)}, "a key in it is no name"),
        ([np.zeros(1)], "no dictionary of arrays"),
        ({"a": Calls(tuple, "text")}, "a call of tuple in it has a form"),
        ({"a": Calls(np.dtype, "O8", False, True)}, "not of plain numbers"),
    ],
)
def test_whatever_else_a_file_asks_for_is_refused_and_not_done(
    tmp_path, monkeypatch, content, message, protocol
) -> None:
    monkeypatch.chdir(tmp_path)
    found = error_of(tmp_path, pickle.dumps(content, protocol))
    assert re.search(message, found), found
    assert not Path("made").exists()


def test_a_cut_file_is_refused_at_every_length(tmp_path) -> None:
    whole = FILES[1].read_bytes()
    for size in [0, 1, 2, 3, *range(10, len(whole), 1999), len(whole) - 1]:
        assert "not read" in error_of(tmp_path, whole[:size]), size


def test_a_shape_that_does_not_fit_its_bytes_is_refused(tmp_path) -> None:
    for protocol in (2, 4, 5):
        raw = pickle.dumps({"a": np.zeros((77, 1000), np.float32)}, protocol)
        assert raw.count(b"K\x4d") == 1
        assert "an array 78x1000 has 308000 bytes" in error_of(tmp_path, raw.replace(b"K\x4d", b"K\x4e"))


def test_no_file_keeps_the_reader_busy(tmp_path) -> None:
    """Tuples of tuples: thirty lines stand for a thousand million values."""
    doubled = b")" + b"q\x00h\x00\x86" * 40
    assert "a key in it is no name" in error_of(tmp_path, b"\x80\x04}" + doubled + b"K\x01s.")
    assert "far more values" in error_of(tmp_path, b"\x80\x04}\x8c\x01a" + doubled + b"s.")
    assert "far more instructions" in error_of(tmp_path, b"\x80\x04" + b"N" * 2_000_001)
    assert "nested too deeply" in error_of(tmp_path, b"\x80\x04}" + b"\x8c\x01a}" * 5000 + b"s" * 5000 + b".")


@pytest.mark.parametrize(
    "raw", [b"\x80\x04.", b"\x80\x04h\x05.", b"\x80\x04}a.", b"\x80\x04Nb.", b"\x80\x04))R.", b"text"]
)
def test_instructions_without_sense_are_refused(tmp_path, raw) -> None:
    assert "not read" in error_of(tmp_path, raw)


@pytest.mark.parametrize("axes", [(0, 0), (0, 2), (1,), (1, 0, 2), (0, True), [1, 0], None, "10"])
def test_an_order_of_axes_that_is_none_is_refused(tmp_path, axes) -> None:
    """As protocol 5 stores arrays: bytes, type, shape, "K" and the order."""
    raw = pickle.dumps({"a": Calls(np._core.numeric._frombuffer, bytearray(24), np.dtype("f4"), (2, 3), "K", axes)}, 5)
    assert "not read" in error_of(tmp_path, raw)
