"""The page that compares runs: complete, whole in itself, honest about what is not known."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from tests.util.pages.test_comparison import SHA_2, kid, psnr, run
from util.pages.comparison import ComparedRun, Comparison, ImageCell, compare_numbers, compare_options
from util.pages.comparison_page import MARK, comparison_page


class _Page(HTMLParser):
    """Tags with their attributes, and the text of every section under its headline."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: dict[str, str] = {}
        self._section, self._inside = "top", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "h2":
            self._section = dict(attrs)["id"] or ""

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.said[self._section] = self.said.get(self._section, "") + data + " "

    def all_of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def shown(*runs: ComparedRun, **more: Any) -> tuple[str, _Page]:
    options = compare_options(runs)
    rows = more.pop("rows", {"7": [ImageCell("1_a/7_fake_B.png", "a", 0)]})
    comparison = Comparison(runs, "test_latest", options, compare_numbers(runs), rows, **more)
    text = comparison_page(comparison, width=200)
    page = _Page()
    page.feed(text)
    return text, page


A = run("a", kid(0.05, std=0.01), psnr(20), options={"lr": 0.1, "norm": "x", "model": "m", "dataroot": "/d/set"})
B = run("b", kid(0.04, std=0.01), psnr(19), options={"lr": 0.2, "norm": "x", "model": "m", "lambda_A": 10})


def test_the_page_needs_no_other_file_than_its_images() -> None:
    text, page = shown(A, B)
    assert MARK in text
    assert not {"link", "script", "iframe"} & {tag for tag, _ in page.tags}
    assert "url(" not in text and "@import" not in text
    assert not [word for word in re.findall(r'(?:src|href)="([^"]*)"', text) if not word.startswith(("images/", "#"))]
    anchors = {each["href"] for each in page.all_of("a") if (each["href"] or "").startswith("#")}
    assert anchors == {f"#{each['id']}" for each in page.all_of("h2")}


def test_every_run_keeps_its_colour_on_the_whole_page() -> None:
    curves = {"G": [(1.0, 1.0), (2.0, 2.0)]}
    silent = run("a", options={})
    text, _ = shown(silent, run("b", losses=curves), rows={"7": [ImageCell("2_b/7.png", "b", 1)]})
    bar = text.split('<nav class="bar">')[1].split("</nav>")[0]
    assert list(dict.fromkeys(re.findall(r"var\(--curve(\d)\)", bar))) == ["0", "1"]
    for part in ('<h2 id="curves">', '<h2 id="images">'):
        assert set(re.findall(r"var\(--curve(\d)\)", text.split(part)[1].split("<h2")[0])) == {"1"}, part


def test_head_tells_model_data_set_checkpoint_and_training() -> None:
    _, page = shown(
        run("a", options={"model": "pix2pix", "dataroot": "/data/facades"}, tag="5", epochs=60, images=2400),
        run("b", tag="latest", images=1),
    )
    said = " ".join(page.said["runs"].split())
    assert "a pix2pix facades 5 60 epochs, 2,400 images" in said
    assert "b ? ? latest 1 image Results test_latest" in said


def test_options_differing_partial_and_same() -> None:
    text, page = shown(A, B)
    assert "<th>lr</th><td>0.1</td><td>0.2</td>" in text
    said = page.said["options"]
    assert "2 that only some of the runs have" in said and "2 with the same value in all runs" in said


def test_a_run_without_options_is_told() -> None:
    _, page = shown(A, run("b", psnr(20)))
    assert "no option file (train_opt.json) of b" in page.said["options"]
    assert "of the run that has a file" in page.said["options"]
    _, page = shown(A, A)
    assert "None: these runs were trained with the same options." in page.said["options"]


def test_the_best_numbers_are_marked() -> None:
    text, page = shown(A, B)
    assert re.findall(r'class="number best">([^<]*)<', text) == ["20.00", "4.00 ± 1.00"]
    assert "KID x100 ↓" in page.said["metrics"] and "PSNR ↑" in page.said["metrics"]
    assert "not comparable" not in text.split("</style>")[-1] and 'role="note"' not in text


def test_numbers_of_different_protocols_are_told_and_none_is_best() -> None:
    text, page = shown(A, run("b", kid(0.04, real__sha256=SHA_2), psnr(19), options={}))
    assert re.findall(r'class="number best">([^<]*)<', text) == ["20.00"]
    assert (
        "KID x100: different content of the real images (real.sha256): 11111111 in a; 22222222 in b"
        in (page.said["metrics"])
    )
    assert text.count('class="number doubtful"') == 2


def test_notes_and_runs_that_were_not_measured() -> None:
    _, page = shown(run("a", kid(0.1, notes=("of 10 images only",))), run("b"))
    assert "KID x100 of a: of 10 images only" in page.said["metrics"]
    assert "b: not measured; measure by python scripts/evaluate.py --name b" in " ".join(page.said["metrics"].split())
    _, page = shown(run("a"), run("b"))
    assert "Nothing was measured yet" in page.said["metrics"]


def lines_of(chart: str) -> list[tuple[str, int]]:
    """Opacity and number of points of the curves of a chart, which are cut at its axes."""
    found = []
    for points, look in re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="([^"]*--curve[^"]*)"', chart):
        opacity = re.search(r"stroke-opacity: ([\d.]+)", look)
        found.append((opacity[1] if opacity else "1", len(re.findall("[ML]", points))))
    return found


def test_curves_of_losses_and_metrics() -> None:
    single = [(float(n), 100.0 + n) for n in range(5)]
    means = [(2.0, 1.0), (4.0, 2.0)]
    runs = (
        run("a", losses={"G": single, "D": single}, means={"G": means}, metrics={"kid_inception": means}),
        run("b", losses={"G": single}),
        run("c"),
    )
    text, page = shown(*runs)
    titles = re.findall(r"<figcaption><b>(.*?)</b>", text)
    assert titles == ["KID x100", "G", "D"]
    assert "lower is better" in page.said["curves"] and "No metrics.jsonl with losses of c." in page.said["curves"]
    chart = text.split("<b>G</b>")[1].split("</figure>")[0]
    # pale single values of a, its means, the single values of b, which has no means
    assert lines_of(chart) == [("0.28", 5), ("1", 2), ("1", 5)]
    many, _ = shown(*runs, run("d"), run("e"))
    assert lines_of(many.split("<b>G</b>")[1].split("</figure>")[0]) == [("1", 2), ("1", 5)]


def test_a_run_of_one_epoch_without_single_values_has_its_mean() -> None:
    text, _ = shown(
        run("a", means={"G": [(12.0, 1.5)]}), run("b", means={"G": [(12.0, 2.5)]}, losses={"G": [(6.0, 3.0)]})
    )
    assert re.findall(r"<title>(.*?)</title>", text.split("<b>G</b>")[1]) == ["a: 1.5 at 12", "b: 3 at 6"]


def test_images_have_the_names_of_their_runs() -> None:
    cells = [ImageCell("0_input/x/7_real_A.png", "input"), ImageCell("1_a/x/7 #_fake_B.png", "a", 0)]
    text, page = shown(
        *(A, B), rows={"x/7": cells}, num_left_out=3, image_remarks=["remark"], image_warnings=["the inputs differ"]
    )
    assert [each["src"] for each in page.all_of("img")] == [
        "images/0_input/x/7_real_A.png",
        "images/1_a/x/7%20%23_fake_B.png",
    ]
    assert [each["alt"] for each in page.all_of("img")] == ["input", "a"]
    assert "--count:2;--width:200px" in text and "<h3>x/7</h3>" in text
    assert "1 test image; 3 more that all runs have are left out (--num_images). remark." in page.said["images"]
    assert "the inputs differ" in page.said["images"]


def test_a_page_without_images() -> None:
    _, page = shown(A, B, rows={})
    assert not page.all_of("img") and "None (--num_images 0)" in page.said["images"]


def test_everything_is_escaped() -> None:
    bad = '<b>"&'
    text, _ = shown(
        run(bad, kid(0.1, notes=(bad,)), options={bad: bad}, tag=bad, losses={bad: [(1, 1.0)]}),
        run("b", kid(0.1, extra=bad), options={bad: 1}),
        rows={bad: [ImageCell(f"1/{bad}.png", bad, 0)]},
        image_remarks=[bad],
        image_warnings=[bad],
    )
    assert bad not in text.split("</style>")[-1]
    assert "&lt;b&gt;" in text
