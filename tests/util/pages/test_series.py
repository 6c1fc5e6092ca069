"""The table, the CSV file, the page and the plots of a run's checkpoints."""

from __future__ import annotations

import csv
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from util.metrics.measurement import Measurement
from util.pages.series import Series


def sides(count=6):
    return {"fake": {"n": count, "size": "8x8"}, "real": {"n": 6, "size": "8x8"}}


def kid(value, std=0.001, **other):
    return Measurement("kid_inception", "kid", value, std, **{"protocol": {**sides(), "subset_size": 5}, **other})


def psnr(value, std=1.0, **other):
    return Measurement("psnr", "psnr", value, std, **{"protocol": sides(), **other})


def series(*tags, kids=(0.03, 0.01, 0.02), decibels=(10.0, 12.0, 15.0), notes=()):
    rows = {}
    for tag, first, second in zip(tags, kids, decibels):
        rows[f"test_{tag}"] = [kid(first, tag=tag, notes=notes), psnr(second, tag=tag)]
    return Series("my <run>", rows)


def test_table_has_aligned_columns_and_a_star_for_the_best():
    lines = series("5", "10", "latest", notes=("small sets",)).table().splitlines()
    assert lines == [
        "results      KID x100         PSNR",
        "test_5       3.00 +/- 0.10    10.00 +/- 1.00",
        "test_10      1.00 +/- 0.10 *  12.00 +/- 1.00",
        "test_latest  2.00 +/- 0.10    15.00 +/- 1.00 *",
        "  KID x100: 6 images of 8x8, 6 real ones of 8x8, subset_size 5",
        "  PSNR: 6 images of 8x8, 6 real ones of 8x8",
        "  note: KID x100: small sets",
    ]


def test_rows_that_were_measured_differently_have_no_best():
    rows = {"test_5": [kid(0.1), psnr(9.0)], "test_6": [kid(0.2), psnr(10.0, protocol=sides(2))]}
    lines = Series("run", rows).table().splitlines()
    assert lines[1].count("*") == 1 and lines[2].count("*") == 0  # KID of test_5; no PSNR
    assert lines[-2:] == ["  PSNR: 6 images of 8x8, 6 real ones of 8x8", "  PSNR: 2 images of 8x8, 6 real ones of 8x8"]


def test_one_row_alone_is_not_the_best():
    assert "*" not in series("5").table()


def test_csv_has_all_digits(tmp_path):
    value = 0.1 + 0.2
    series("5", "latest", kids=(value, 0.5), decibels=(math.inf, 3.0)).write(tmp_path)
    rows = list(csv.reader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert rows[0] == ["folder", "tag", "kid_inception", "kid_inception_std", "psnr", "psnr_std"]
    assert rows[1][:2] == ["test_5", "5"] and float(rows[1][2]) == value and math.isinf(float(rows[1][4]))
    assert rows[2][:2] == ["test_latest", "latest"] and len(rows) == 3


def test_number_without_a_spread_has_an_empty_cell(tmp_path):
    fid = Measurement("fid_inception", "fid", 3.0, None, tag="5", domain="A")
    Series("run", {"test_5": [fid]}).write(tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == "folder,tag,fid_inception_A,fid_inception_A_std\ntest_5,5,3.0,\n"


def test_page_links_the_result_pages_and_marks_the_best(tmp_path):
    files = series("5", "10", "latest", notes=("a < b",)).write(tmp_path)
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()}
    page = (tmp_path / "metrics.html").read_text()
    assert "Metrics of my &lt;run&gt;" in page and "<run>" not in page and "a &lt; b" in page
    assert '<a href="test_10/index.html">test_10</a>' in page
    assert re.findall(r'class="number best">([^<]*)<', page) == ["1.00 ± 0.10", "15.00 ± 1.00"]
    assert page.count("<figure") == 2 and page.count('class="number"') == 6


def marks(file):
    """The titles of the marks of a plot: every point in words."""
    root = ElementTree.parse(file).getroot()
    return [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]


def test_plot_is_over_epochs_with_error_bars(tmp_path):
    series("5", "10", "latest").write(tmp_path)
    assert marks(tmp_path / "metrics_kid_inception.svg") == ["my <run>: 3 ± 0.1 at 5", "my <run>: 1 ± 0.1 at 10"]
    text = (tmp_path / "metrics_psnr.svg").read_text()
    assert ">epoch<" in text and ">PSNR<" in text


def test_plot_is_over_images_where_there_are_no_epochs(tmp_path):
    series("iter_500", "iter_2000", "latest").write(tmp_path)
    assert marks(tmp_path / "metrics_psnr.svg") == ["my <run>: 10 ± 1 at 500", "my <run>: 12 ± 1 at 2,000"]
    assert ">images<" in (tmp_path / "metrics_psnr.svg").read_text()


def test_one_place_is_no_plot(tmp_path):
    series("5", "best_kid", "latest").write(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"metrics.csv", "metrics.html"}


def test_infinite_numbers_are_left_out_of_the_plot(tmp_path):
    series("5", "10", "15", decibels=(math.inf, 12.0, 15.0)).write(tmp_path)
    assert len(marks(tmp_path / "metrics_psnr.svg")) == 2
    series("5", "10", decibels=(math.inf, math.inf)).write(tmp_path)
    assert "inf" in (tmp_path / "metrics.html").read_text()


def test_domain_is_part_of_the_file_name(tmp_path):
    rows = {f"test_{tag}": [psnr(3.0 + int(tag), tag=tag, domain="A")] for tag in ("1", "2")}
    Series("run", rows).write(tmp_path)
    assert (tmp_path / "metrics_psnr_A.svg").exists()
    assert "PSNR (A)" in (tmp_path / "metrics.html").read_text()


def test_numbers_of_a_chart_are_scaled_and_its_file_has_the_format(tmp_path):
    found = series("5", "10", "latest")
    chart = found.chart(("kid_inception", "B"))
    assert chart.curves == {"my <run>": [(5, 3), (10, 1)]} and chart.errors["my <run>"] == pytest.approx([0.1, 0.1])
    files = found.write(tmp_path, "pdf")
    assert [file.name for file in files[2:]] == ["metrics_kid_inception.pdf", "metrics_psnr.pdf"]
    assert all(file.read_bytes().startswith(b"%PDF-") for file in files[2:])
