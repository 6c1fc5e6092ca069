"""A number with its protocol, and the file that keeps such numbers."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from util.metrics import measurement
from util.metrics.measurement import FILE_NAME, Measurement, columns, read_measurements, title, update_measurements


def number(name="kid_inception", value=0.0123, std=0.0045, **other):
    short = next(
        each
        for each in ("mean_kid", "kid", "fid", "psnr", "ssim", "lpips", "precision", "diversity_lpips", "diversity")
        if name.startswith(each)
    )
    return Measurement(name, short, value, std, **other)


@pytest.mark.parametrize(
    ("name", "value", "std", "title", "shown"),
    [
        ("kid_inception", 0.01234, 0.00456, "KID x100", "1.23 +/- 0.46"),
        ("kid_inception", -0.00021, 0.0, "KID x100", "-0.02 +/- 0.00"),
        ("kid_efficientnet_lite0", 1.5, 0.25, "KID_efficientnet_lite0 x100", "150.00 +/- 25.00"),
        ("mean_kid_inception", 0.1, 0.01, "mean KID (target, source) x100", "10.00 +/- 1.00"),
        ("fid_inception", 123.456, None, "FID", "123.46"),
        ("fid_efficientnet_lite0", 1.0, None, "FID_efficientnet_lite0", "1.00"),
        ("fid_inception", -0.0049, None, "FID", "0.00"),
        ("kid_inception", -0.00004, 0.0, "KID x100", "0.00 +/- 0.00"),
        ("diversity", 0.12345, 0.01, "diversity", "0.1235 +/- 0.0100"),
        ("diversity_lpips_alex", 0.1, 0.02, "diversity-LPIPS_alex", "0.1000 +/- 0.0200"),
        ("precision_inception", 0.75, None, "precision", "0.750"),
        ("psnr", 21.987, 1.5, "PSNR", "21.99 +/- 1.50"),
        ("psnr", math.inf, None, "PSNR", "inf"),
        ("ssim", 0.98765, 0.01, "SSIM", "0.9877 +/- 0.0100"),
        ("lpips_alex", 0.1, 0.02, "LPIPS_alex", "0.1000 +/- 0.0200"),
    ],
)
def test_title_and_text(name, value, std, title, shown):
    each = number(name, value, std)
    assert (each.title, each.shown) == (title, shown)
    assert Measurement(each.name, each.short, value, std, domain="A").title == f"{title} (A)"


def test_mean_kid_of_another_extractor_and_domain():
    assert (
        title("mean_kid_efficientnet_lite0", "mean_kid", "A") == "mean KID_efficientnet_lite0 (target, source) x100 (A)"
    )


def test_direction_of_better():
    assert not number().higher_is_better and number("psnr").higher_is_better
    assert not number("lpips_vgg").higher_is_better and number("precision_inception").higher_is_better


def test_file_is_read_back_as_it_was_written(tmp_path):
    file = tmp_path / "new" / FILE_NAME
    every = [
        number(protocol={"seed": 1, "fake": {"n": 3}, "list": [1, 2.5]}, notes=("a note",), folder="test_5", tag="5"),
        number("psnr", math.inf, None, domain="A"),
        number("ssim", -math.inf, 0.1),
    ]
    assert update_measurements(file, every) == every == read_measurements(file)
    assert read_measurements(tmp_path / "none.json") == []
    assert [each.name for each in (tmp_path / "new").iterdir()] == [FILE_NAME]


def test_several_that_write_at_once_lose_nothing(tmp_path, monkeypatch):
    """Without a lock all of them have read the empty file before the first one writes."""

    def slow(file):
        found = read_measurements(file)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(measurement, "read_measurements", slow)
    epochs = [str(epoch) for epoch in range(4)]
    with ThreadPoolExecutor(len(epochs)) as pool:
        jobs = [pool.submit(update_measurements, tmp_path / FILE_NAME, [number(folder=each)]) for each in epochs]
    assert all(job.exception() is None for job in jobs)
    assert sorted(each.folder for each in read_measurements(tmp_path / FILE_NAME)) == epochs


def test_file_is_plain_json(tmp_path):
    file = tmp_path / FILE_NAME
    update_measurements(file, [number(folder="test_latest", tag="latest"), number("psnr", math.inf, None)])

    def no_constants(word):
        raise AssertionError(f"{word} is no JSON")

    kid, psnr = json.loads(file.read_text(), parse_constant=no_constants)["measurements"]
    assert psnr["value"] == "Infinity" and psnr["std"] is None and psnr["better"] == "higher"
    assert kid == {
        "name": "kid_inception",
        "metric": "kid",
        "folder": "test_latest",
        "tag": "latest",
        "domain": "B",
        "title": "KID x100",
        "shown": "1.23 +/- 0.45",
        "value": 0.0123,
        "std": 0.0045,
        "better": "lower",
        "notes": [],
        "protocol": {},
    }


def test_a_nan_is_written_as_a_word(tmp_path):
    (back,) = update_measurements(tmp_path / FILE_NAME, [number(value=math.nan, std=None)])
    assert math.isnan(back.value) and math.isnan(read_measurements(tmp_path / FILE_NAME)[0].value)


def test_a_new_number_takes_the_place_of_the_same(tmp_path):
    """The same is: of one name, one result folder, one domain."""
    file = tmp_path / FILE_NAME
    first = [
        number(folder="test_5"),
        number(folder="test_10"),
        number(folder="test_5", domain="A"),
        number("kid_efficientnet_lite0", folder="test_5"),
        number("psnr", folder="test_5"),
    ]
    update_measurements(file, first)
    changed = number(value=9.0, folder="test_10")
    added = number("fid_inception", 3.0, None, folder="test_5")
    expected = [first[0], changed, *first[2:], added]
    assert update_measurements(file, [added, changed]) == expected == read_measurements(file)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "measurements": [{}]}',
        '{"format": 1, "measurements": [3]}',
        '{"format": 1, "measurements": [{"name": "x", "metric": "x", "std": null, "value": 1}]}',
        b"\xff\xfe\x00",
    ],
)
def test_damaged_file_is_refused_and_kept(content, tmp_path):
    file = tmp_path / FILE_NAME
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = file.read_bytes()
    for use in (lambda: read_measurements(file), lambda: update_measurements(file, [number()])):
        with pytest.raises(ValueError, match=r"metrics\.json: cannot be read .* delete it"):
            use()
    assert file.read_bytes() == before


def test_a_file_of_a_newer_version_is_nothing_to_delete(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"format": 2, "measurements": []}')
    with pytest.raises(ValueError, match=r"in format 2, this version reads 1; update the program"):
        read_measurements(tmp_path / FILE_NAME)


def test_numbers_of_earlier_pictures_go(tmp_path):
    def of(content, name):
        return number(name, folder="test_5", protocol={"fake": {"content": content}})

    file = tmp_path / FILE_NAME
    update_measurements(file, [of("old", "psnr"), of("old", "kid_inception")])
    other = number("psnr", folder="test_6", protocol={"fake": {"content": "old"}})
    update_measurements(file, [other])
    assert update_measurements(file, [of("new", "psnr")]) == [of("new", "psnr"), other] == read_measurements(file)


def test_columns_are_in_the_order_of_the_metrics_and_domains():
    every = [
        number("psnr"),
        number("fid_inception", domain="A"),
        number("kid_inception"),
        number("kid_efficientnet_lite0"),
        number("kid_inception", folder="other"),
    ]
    assert columns(every) == [
        ("kid_efficientnet_lite0", "B"),
        ("kid_inception", "B"),
        ("psnr", "B"),
        ("fid_inception", "A"),
    ]
