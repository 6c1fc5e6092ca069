"""The two text files about classes: rows as published, and every kind of broken row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from util.run.class_names import read_class_names, read_label_map, write_class_names, write_label_map


def test_published_rows(tmp_path: Path) -> None:
    labels, names = tmp_path / "dirname_to_label.txt", tmp_path / "label_to_classname.txt"
    labels.write_text("n01440764 0\nn01443537 1\nn01484850 2\n")
    names.write_text("0: 'tench, Tinca tinca'\n1: \"jack-o'-lantern\"\n2: 'a: b'\n")
    assert list(read_label_map(labels).items()) == [("n01440764", 0), ("n01443537", 1), ("n01484850", 2)]
    assert read_class_names(names) == ("tench, Tinca tinca", "jack-o'-lantern", "a: b")


def test_other_orders_and_plain_names(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(b"\xef\xbb\xbfb c 1\r\na 0\r\n\r\n")  # as an editor of Windows saves it
    assert list(read_label_map(file).items()) == [("a", 0), ("b c", 1)]
    file.write_text("1: 'b'\n0: 'a'\n")
    assert read_class_names(file) == ("a", "b")
    file.write_text("great tit\nwren: the bird\n\n")
    assert read_class_names(file) == ("great tit", "wren: the bird")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    names = ("it's", 'so "called"', "two\nlines", "ä")
    write_class_names(tmp_path / "names.txt", names)
    assert (tmp_path / "names.txt").read_text(encoding="utf-8").startswith("0: \"it's\"\n1: 'so \"called\"'\n2: 'two")
    assert read_class_names(tmp_path / "names.txt") == names
    write_label_map(tmp_path / "labels.txt", ["great tit", "7"])
    assert (tmp_path / "labels.txt").read_text() == "great tit 0\n7 1\n"
    assert read_label_map(tmp_path / "labels.txt") == {"great tit": 0, "7": 1}
    with pytest.raises(ValueError, match=r"'two\\nlines' does not fit into one row"):
        write_label_map(tmp_path / "labels.txt", ["two\nlines"])


@pytest.mark.parametrize(
    ("read", "content", "words"),
    [
        (read_label_map, b"a 0\nb\n", r"row 2 is 'b': write the name of a folder, a space, and its label"),
        (read_label_map, b"a zero\n", "row 1 is 'a zero'"),
        (read_label_map, b"a -1\n", "row 1 is 'a -1'"),
        (read_label_map, b"a 0\na 1\n", "row 2: the folder a has a label already"),
        (read_label_map, b"a 0\n\nb 0\n", "row 3: label 0 is that of row 1 already"),
        (read_label_map, b"a 0\nb 2\n", "row 2 has label 2, but no row has label 1: number the 2 classes from 0 to 1"),
        (read_label_map, b"\n", "holds no labels"),
        (read_label_map, b"\x89PNG\r\n\x1a\n\x00", "is no text file"),
        (read_class_names, b"a\x00b\n", "is no text file"),
        (read_class_names, b"", "holds no names"),
        (read_class_names, b"a\n\nb\n", "row 2 is empty"),
        (read_class_names, b"0: 'a'\nb\n", "row 2 is 'b': write a label, a colon and a quoted name"),
        (read_class_names, b"0: tench\n", "row 1: 'tench' is no quoted name"),
        (read_class_names, b"0: 12\n", "row 1: '12' is no quoted name"),
        (read_class_names, b"0: 'a'\n0: 'b'\n", "row 2: label 0 is that of row 1 already"),
        (read_class_names, b"1: 'a'\n2: 'b'\n", "row 2 has label 2, but no row has label 0"),
    ],
)
def test_broken_rows(read: Callable[[Path], Any], content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        read(file)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_label_map, read_class_names])
def test_no_file(read: Callable[[Path], Any], tmp_path: Path) -> None:
    for file in (tmp_path / "gone.txt", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            read(file)
