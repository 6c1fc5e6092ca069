"""Which options differ between runs, and which numbers may be compared; the same as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pytest

from util.metrics.measurement import Measurement
from util.pages.comparison import (
    ComparedRun,
    Comparison,
    compare_numbers,
    compare_options,
    doubts,
    joined,
    notes,
    option_text,
    soft_doubts,
)
from util.pages.comparison_page import csv_text, markdown_text

SHA_1, SHA_2 = "1" * 64, "2" * 64


def protocol(**changes: Any) -> dict[str, Any]:
    """The protocol of a KID; ``real__n=5`` changes ``real.n``."""
    facts: dict[str, Any] = {
        "fake": {"n": 10, "from": "results/a", "sha256": SHA_1, "size": "256x256"},
        "real": {"n": 10, "from": "results/a", "sha256": SHA_1, "size": "256x256"},
        "subset_size": 10,
        "weights_sha256": SHA_1,
        "versions": {"torch": "2.14", "numpy": "2.4"},
        "tag": "latest",
    }
    for key, value in changes.items():
        side, _, name = key.partition("__")
        if name:
            facts[side] = {**facts[side], name: value}
        else:
            facts[key] = value
    return facts


def kid(value: float, *, std: float | None = None, notes: tuple[str, ...] = (), **changes: Any) -> Measurement:
    return Measurement("kid_inception", "kid", value, std, protocol(**changes), notes)


def psnr(value: float, *, domain: str = "B", std: float | None = None, notes: tuple[str, ...] = ()) -> Measurement:
    return Measurement("psnr", "psnr", value, std, {"pairs": 10}, notes, domain=domain)


def run(name: str, *measured: Measurement, options: dict[str, Any] | None = None, **facts: Any) -> ComparedRun:
    return ComparedRun(name, options=options, measurements=measured, **facts)


def test_options_are_sorted_into_differing_partial_and_same() -> None:
    table = compare_options(
        [
            run("a", options={"lr": 0.0002, "norm": "batch", "lambda_L1": 100.0, "name": "a"}),
            run("b", options={"lr": 0.1, "norm": "batch", "name": "b"}),
            run("c"),
        ],
        ["name"],
    )
    assert table.differing == {"lr": ("0.0002", "0.1", "?")}
    assert table.partial == {"lambda_L1": ("100", "–", "?")}
    assert table.same == {"norm": "batch"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100.0, "100"),
        ("100.0", "100"),
        (0.0002, "0.0002"),
        ("2e-4", "0.0002"),
        (0.1 + 0.2, "0.3"),
        (True, "True"),
        ("True", "True"),
        ([], "(empty)"),
        ("()", "(empty)"),
        ("", "(empty)"),
        ([5, "latest"], "5, latest"),
        ("inf", "inf"),
        ("unet_256", "unet_256"),
        ("0 1", "0 1"),
    ],
)
def test_equal_values_of_json_and_text_files_have_equal_texts(value: Any, text: str) -> None:
    assert option_text(value) == text


def test_the_best_is_the_highest_or_lowest_as_the_metric_says() -> None:
    kids, psnrs = compare_numbers([run("a", kid(0.05), psnr(20)), run("b", kid(0.04), psnr(21)), run("c", psnr(19))])
    assert (kids.title, kids.best, psnrs.title, psnrs.best) == ("KID x100", {1}, "PSNR", {1})
    assert [cell and cell.value for cell in kids.cells] == [0.05, 0.04, None]


def test_what_looks_equal_is_equally_good_and_nan_is_never_best() -> None:
    (column,) = compare_numbers([run("a", kid(0.04001)), run("b", kid(0.04004)), run("c", kid(math.nan))])
    assert column.best == {0, 1}  # both are shown as 4.00
    (column,) = compare_numbers([run("a", kid(math.nan)), run("b", kid(math.nan))])
    assert column.best == set()
    (column,) = compare_numbers([run("a", psnr(math.inf)), run("b", psnr(30))])
    assert column.best == {0}


def test_a_number_of_one_run_only_has_no_best() -> None:
    (column,) = compare_numbers([run("a", kid(0.04)), run("b")])
    assert column.best == set() and column.obstacles == ()


def test_domains_are_different_numbers() -> None:
    columns = compare_numbers([run("a", psnr(20, domain="A"), psnr(10)), run("b", psnr(21, domain="A"))])
    assert [(c.title, len([x for x in c.cells if x])) for c in columns] == [("PSNR", 1), ("PSNR (A)", 2)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"real__n": 5}, "number of real images (real.n): 10 in a; 5 in b"),
        ({"fake__n": 5}, "number of images (fake.n): 10 in a; 5 in b"),
        ({"subset_size": [50, 10]}, "size of the subsets (subset_size): 10 in a; [50, 10] in b"),
        ({"weights_sha256": SHA_2}, "weights of the network (weights_sha256): 11111111 in a; 22222222 in b"),
        ({"real__sha256": SHA_2}, "content of the real images (real.sha256): 11111111 in a; 22222222 in b"),
        ({"fake__size": "64x64"}, "size of the images (fake.size): 256x256 in a; 64x64 in b"),
        ({"fact_of_later": 1}, "fact_of_later: not recorded in a; 1 in b"),
    ],
)
def test_a_different_protocol_forbids_to_compare(changes: dict[str, Any], said: str) -> None:
    (column,) = compare_numbers([run("a", kid(0.05)), run("b", kid(0.04, **changes))])
    assert column.obstacles == (said,)
    assert column.best == set()
    assert doubts([column]) == [f"KID x100: different {said}"]


@pytest.mark.parametrize(
    "changes",
    [
        {"fake__sha256": SHA_2},
        {"fake__from": "results/b"},
        {"real__from": "results/b"},
        {"tag": "5"},
        {"parts": {"to_target": [0.1, 0.2]}},
        {"seconds": 3.5},
    ],
)
def test_what_belongs_to_a_run_does_not(changes: dict[str, Any]) -> None:
    same = {"parts": {"to_target": [0.3, 0.4]}, "seconds": 1} if {"parts", "seconds"} & changes.keys() else {}
    (column,) = compare_numbers([run("a", kid(0.05, **same)), run("b", kid(0.04, **{**same, **changes}))])
    assert column.obstacles == column.remarks == () and column.best == {1}


def test_versions_are_a_remark_only() -> None:
    versions = {"torch": "2.13", "numpy": "2.4"}
    columns = compare_numbers([run("a", kid(0.05)), run("b", kid(0.04, versions=versions))])
    assert columns[0].obstacles == () and columns[0].best == {1}
    assert soft_doubts(columns) == ["version of torch: 2.14 in a; 2.13 in b (KID x100)"]


def test_the_inception_score_looks_at_no_real_image() -> None:
    def score(value: float, **changes: Any) -> Measurement:
        return Measurement("is_inception", "is", value, None, protocol(**changes))

    (column,) = compare_numbers([run("a", score(2.0)), run("b", score(3.0, real__sha256=SHA_2, real__n=1))])
    assert column.obstacles == () and column.best == {1}
    (column,) = compare_numbers([run("a", score(2.0)), run("b", score(3.0, fake__n=1))])
    assert column.obstacles


def test_equal_reasons_are_said_once_for_all_numbers() -> None:
    def both(size: str) -> tuple[Measurement, ...]:
        return tuple(Measurement(n, n, 1.0, None, {"fake": {"size": size}, "pairs": 1}) for n in ("psnr", "ssim"))

    assert doubts(compare_numbers([run("a", *both("8x8")), run("b", *both("9x9")), run("c", *both("8x8"))])) == [
        "PSNR and SSIM: different size of the images (fake.size): 8x8 in a and c; 9x9 in b"
    ]


def test_notes_name_numbers_and_runs_once() -> None:
    runs = [
        run("a", kid(0.1, notes=("few images",)), psnr(20, notes=("few images", "2 infinite"))),
        run("b", kid(0.1, notes=("few images",)), psnr(20, notes=("few images",))),
    ]
    assert notes(compare_numbers(runs), runs) == ["KID x100, PSNR: few images", "PSNR of a: 2 infinite"]


def test_joined() -> None:
    assert [joined(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def compared(*runs: ComparedRun) -> Comparison:
    return Comparison(runs, "test_latest", compare_options(runs), compare_numbers(runs), {})


TWO = (
    run("a", kid(0.05, std=0.01), psnr(20, domain="A"), options={"lr": 0.1, "norm": "batch"}, tag="latest", images=80),
    run("b|c", kid(0.04, std=0.02), options={"lr": 0.2, "norm": "batch"}, tag="latest", epochs=2, images=100),
)


def test_csv_has_options_that_differ_and_numbers_with_every_digit() -> None:
    first, second = csv.DictReader(io.StringIO(csv_text(compared(*TWO))))
    assert first == {
        "run": "a",
        "tag": "latest",
        "images": "80",
        "lr": "0.1",
        "kid_inception": "0.05",
        "kid_inception_std": "0.01",
        "psnr_A": "20",
        "psnr_A_std": "",
    }
    assert (second["run"], second["kid_inception"], second["psnr_A"]) == ("b|c", "0.04", "")


def test_markdown_marks_the_best_and_keeps_the_table_whole() -> None:
    lines = markdown_text(compared(*TWO)).splitlines()
    assert lines[0] == "# Comparison of a and b|c"
    assert lines[2:6] == [
        "| run | trained | lr | KID x100 ↓ | PSNR (A) ↑ |",
        "| --- | --- | --- | ---: | ---: |",
        "| a | 80 images | 0.1 | 5.00 ± 1.00 | 20.00 |",
        "| b\\|c | 2 epochs, 100 images | 0.2 | **4.00 ± 2.00** | – |",
    ]
    assert lines[-1] == "- results: test_latest"


def test_markdown_says_what_is_not_comparable() -> None:
    text = markdown_text(compared(run("a", kid(0.05)), run("b", kid(0.04, real__n=5))))
    assert "- not comparable: KID x100: different number of real images (real.n): 10 in a; 5 in b\n" in text
    assert "**" not in text


def test_a_title_names_few_runs_and_counts_many() -> None:
    assert compared(*(run(name) for name in "abcd")).title == "Comparison of a, b, c and d"
    assert compared(*(run(name) for name in "abcde")).title == "Comparison of 5 runs"
