"""The reader of TensorFlow's checkpoints, on files that its own saver wrote, and on broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.official.crc32c import masked_crc32c
from models.official.tensorflow_bundle import find_index, read_bundle
from tests.official_golden import FOLDER, bundle_entry, value, write_bundle, write_table

AUGAN, UGATIT = (FOLDER / system / "tiny_checkpoint" for system in ("augan_tf", "ugatit_tf"))
STEM = "cyclegan.model-12345"
FOOTER = 48


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """A copy that may be broken."""
    copy = tmp_path / "author"
    shutil.copytree(AUGAN, copy)
    return copy


def error_of(folder: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        for tensor in read_bundle(find_index(folder)).values():
            tensor.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("source", "count"), [(AUGAN, 370), (UGATIT, 776)])
def test_every_tensor_is_what_was_saved(source, count) -> None:
    tensors = read_bundle(find_index(source))
    assert len(tensors) == count
    for name, tensor in tensors.items():
        if "Adam" in name:
            assert not tensor.load().any()
        elif not name.startswith("beta"):
            np.testing.assert_array_equal(tensor.load(), value(name, tensor.shape))


@pytest.mark.parametrize("name", ["", STEM, f"{STEM}.index", f"{STEM}.data-00000-of-00001", f"{STEM}.meta"])
def test_ways_to_name_a_checkpoint(folder, name) -> None:
    assert find_index(folder / name) == folder / f"{STEM}.index"


def test_the_folder_without_its_note_is_enough_if_there_is_one(folder) -> None:
    (folder / "checkpoint").unlink()
    assert find_index(folder) == folder / f"{STEM}.index"
    shutil.copy(folder / f"{STEM}.index", folder / "other-2.index")
    with pytest.raises(ValueError, match="2 files end in"):
        find_index(folder)


def test_what_is_not_there_is_said(folder, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file that ends in .index"):
        find_index(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"and no none.index"):
        find_index(tmp_path / "none")
    shutil.copy(folder / f"{STEM}.index", folder / "other-2.index")
    (folder / "checkpoint").write_text('model_checkpoint_path: "C:\\\\there\\\\gone-7"\n')
    with pytest.raises(ValueError, match="it names gone-7, which is not there"):
        find_index(folder)
    (folder / f"{STEM}.data-00000-of-00001").unlink()
    assert "there is no such file" in error_of(folder / STEM)


def test_a_cut_file_is_refused(folder) -> None:
    data = folder / f"{STEM}.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    assert "cut off, or not the data of" in error_of(folder)
    index = folder / f"{STEM}.index"
    index.write_bytes(index.read_bytes()[:-1])
    assert "its last bytes are not those of such a table" in error_of(folder)


@pytest.mark.parametrize("place", [0, 40_000, -1])
def test_a_changed_byte_of_the_data_is_noticed(folder, place) -> None:
    data = folder / f"{STEM}.data-00000-of-00001"
    raw = bytearray(data.read_bytes())
    raw[place] ^= 1
    data.write_bytes(raw)
    assert "the checksum of" in error_of(folder)


def test_a_changed_byte_of_the_index_is_noticed_wherever_it_counts(folder) -> None:
    index = folder / f"{STEM}.index"
    whole = index.read_bytes()
    for place in [*range(0, len(whole) - FOOTER, 97), len(whole) - FOOTER - 1, len(whole) - 1]:
        raw = bytearray(whole)
        raw[place] ^= 0x40
        index.write_bytes(raw)
        assert "damaged, or no index" in error_of(folder), place


def test_the_data_of_another_checkpoint_is_noticed(folder) -> None:
    other = UGATIT / "UGATIT.model-1000.data-00000-of-00001"
    shutil.copy(other, folder / f"{STEM}.data-00000-of-00001")
    assert "the checksum of" in error_of(folder)


# --- an index made by hand --------------------------------------------------------------------------------------------


def entry(*, dtype: int = 1, sides: tuple[int, ...] = (2,), shard: int = 0, size: int = 8, more: bytes = b"") -> bytes:
    crc = masked_crc32c(np.arange(2, dtype="<f4").view(np.uint8))
    return bundle_entry(dtype=dtype, sides=sides, shard=shard, offset=0, size=size, crc=crc) + more


ONE_SHARD = (b"", b"\x08\x01")


def test_what_the_tests_write_is_what_tensorflow_writes(tmp_path) -> None:
    """But for prefixes of names that the index shares."""
    tensors = read_bundle(AUGAN / f"{STEM}.index")
    write_bundle(tmp_path / "x", {name: tensor.load() for name, tensor in tensors.items()})
    assert read_bundle(tmp_path / "x.index").keys() == tensors.keys()
    assert (tmp_path / "x.data-00000-of-00001").read_bytes() == (AUGAN / f"{STEM}.data-00000-of-00001").read_bytes()


def test_tensors_of_several_data_files(tmp_path) -> None:
    write_table(tmp_path / "x.index", (b"", b"\x08\x02"), (b"a", entry()), (b"b", entry(shard=1)))
    for shard in range(2):
        np.arange(2, dtype="<f4").tofile(tmp_path / f"x.data-0000{shard}-of-00002")
    assert [tensor.load().tolist() for tensor in read_bundle(tmp_path / "x.index").values()] == [[0, 1]] * 2


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(b"", b"\x08\x01\x10\x01"), (b"a", entry())], "the other byte order"),
        ([(b"a", entry())], "0 data files"),
        ([ONE_SHARD, (b"b", entry()), (b"a", entry())], "not sorted"),
        ([ONE_SHARD, (b"a", entry(dtype=7))], "a is of type 7"),
        ([ONE_SHARD, (b"a", entry(more=b"\x3a\x00"))], "a is stored in slices"),
        ([ONE_SHARD, (b"a", entry(sides=(3,)))], "a 3 is said to have 8 bytes"),
        ([ONE_SHARD, (b"a", entry(sides=(2**62, 4), size=0))], "is said to have 0 bytes"),
        ([ONE_SHARD, (b"a", entry(shard=4))], "data file 4 of 1"),
        ([ONE_SHARD, (b"a", b"\x08" + b"\xff" * 11)], "a number is too long"),
        ([ONE_SHARD, (b"a", b"\x12\x7f")], "it ends too early"),
        ([ONE_SHARD, (b"a", b"\x0b")], "an unknown kind of field"),
        ([ONE_SHARD, (b"\xff\xfe", entry())], "a name in it is no text"),
        ([ONE_SHARD, (b"n" * 5000, entry())], "a name is too long"),
    ],
)
def test_an_index_that_says_what_cannot_be_is_refused(tmp_path, pairs, message) -> None:
    write_table(tmp_path / "x.index", *pairs)
    np.arange(2, dtype="<f4").tofile(tmp_path / "x.data-00000-of-00001")
    assert message in error_of(tmp_path)


def test_a_compressed_block_is_refused(tmp_path) -> None:
    write_table(tmp_path / "x.index", ONE_SHARD, kind=1)
    assert "compressed" in error_of(tmp_path)
