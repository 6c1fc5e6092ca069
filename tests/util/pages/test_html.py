"""Pages of images: the published shape, names of any kind, and no need of another file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from dominate.tags import span, td, th

from util.pages.html import HTML, bullets, fold, image_link, image_row, page, warning, wide_table


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.sources.append(values["src"] or "")
        if tag == "a":
            self.targets.append(values["href"] or "")


def _saved(tmp_path: Path, **kwargs: int) -> tuple[HTML, Path]:
    return HTML(tmp_path / "web", "Experiment = x", **kwargs), tmp_path / "web" / "index.html"


def test_a_row_has_the_published_shape() -> None:
    row = image_row("7", ["7_fake_B.png"], ["fake_B"], ["7_fake_B.png"], width=192).render()
    assert "<h3>7</h3>" in row
    assert '<table border="1" style="table-layout: fixed;"><tr>' in row
    assert '<td halign="center" style="word-wrap: break-word;" valign="top"><p><a href="images/7_fake_B.png">' in row
    assert 'src="images/7_fake_B.png" style="width:192px"></a><br><p>fake_B</p></p></td>' in row
    assert 'loading="lazy"' in row


def test_the_page_holds_every_row_in_order_under_its_header(tmp_path: Path) -> None:
    page, index = _saved(tmp_path)
    for name in ("first", "second"):
        page.add_header(name)
        page.add_images([f"{name}_a.png", f"{name}_b.png"], ["a", "b"], [f"{name}_a.png", f"{name}_b.png"])
    page.add_header("alone")
    page.save()
    text = index.read_text(encoding="utf-8")
    assert re.findall("<h3>(.*?)</h3>", text) == ["first", "second", "alone"]
    links = _Links()
    links.feed(text)
    assert links.sources == [f"images/{name}_{v}.png" for name in ("first", "second") for v in "ab"] == links.targets


def test_the_page_needs_no_other_file_and_fits_a_phone(tmp_path: Path) -> None:
    page, index = _saved(tmp_path)
    page.save()
    text = index.read_text(encoding="utf-8")
    links = _Links()
    links.feed(text)
    assert not {"link", "script", "iframe"} & set(links.tags)
    assert "url(" not in text and "@import" not in text
    assert '<meta content="width=device-width, initial-scale=1" name="viewport">' in text
    assert '<meta charset="utf-8">' in text


def test_names_are_escaped_and_links_percent_encoded(tmp_path: Path) -> None:
    name = 'ä #1 100% <b> "q" & ?.png'
    page, index = _saved(tmp_path)
    page.add_header(name)
    page.add_images([name], [name], [name])
    page.save()
    text = index.read_text(encoding="utf-8")
    assert "<b>" not in text.split("<body>")[1]
    links = _Links()
    links.feed(text)
    assert [unquote(link) for link in links.sources] == [f"images/{name}"]
    assert not set(' #?"<') & set(links.sources[0])


@pytest.mark.parametrize(
    ("file", "link"),
    [
        ("a/b c.png", "images/a/b%20c.png"),
        ("100%.png", "images/100%25.png"),
        ("ü.png", "images/%C3%BC.png"),
        ("\udcff.png", "images/%FF.png"),  # a byte that is no Unicode, as Python reads it from a folder
    ],
)
def test_links(file: str, link: str) -> None:
    assert image_link(file) == link


def test_refresh_only_when_asked_for(tmp_path: Path) -> None:
    page, index = _saved(tmp_path)
    page.save()
    assert "refresh" not in index.read_text(encoding="utf-8")
    page, index = _saved(tmp_path, refresh=30)
    page.save()
    assert '<meta content="30" http-equiv="refresh">' in index.read_text(encoding="utf-8")


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="row '7': 2 files, 1 captions and 2 links"):
        image_row("7", ["a", "b"], ["a"], ["a", "b"])


def test_the_image_folder_is_made(tmp_path: Path) -> None:
    page, _ = _saved(tmp_path)
    assert page.get_image_dir() == tmp_path / "web" / "images"
    assert page.get_image_dir().is_dir()


def test_cells_of_a_table_are_escaped_and_may_be_elements() -> None:
    rows = [["a<b", 1, td("x", cls="number best")], [span("&"), None, ()]]
    assert wide_table(["<run>", th("n", cls="number")], rows, kind="facts").render(pretty=False) == (
        '<div class="wide facts"><table><thead><tr><th>&lt;run&gt;</th><th class="number">n</th></tr></thead><tbody>'
        '<tr><th>a&lt;b</th><td>1</td><td class="number best">x</td></tr>'
        "<tr><th><span>&amp;</span></th><td>None</td><td>()</td></tr></tbody></table></div>"
    )
    assert "thead" not in wide_table([], [["a", "b"]]).render()


def test_sentences_are_escaped() -> None:
    for element in (bullets(["<i>"]), warning("<i>", ["<i>"]), fold("<i>", bullets(["<i>"]))):
        assert "<i>" not in element.render() and "&lt;i&gt;" in element.render()


def test_every_class_of_a_page_is_in_the_style_sheet() -> None:
    pieces = [
        image_row("1", ["a"], ["a"], ["a"]),
        wide_table([], [["a"]], kind="options"),
        warning("w", []),
        bullets([]),
    ]
    sheet, body = page("t", pieces).split("</style>")
    used = {name for names in re.findall(r'class="([^"]*)"', body) for name in names.split()}
    assert used == {"entry", "wide", "options", "warning", "notes"}
    assert all(f".{name}" in sheet for name in used)


def test_a_flag_is_broken_nowhere_and_copied_as_it_is() -> None:
    line = "python train.py --lr 0.1 --name a--b, or a <lower> --n_epochs: -- 5"
    for element in (warning("w", [line]), bullets([line])):
        text = element.render()
        whole = re.findall(r'<span class="flag">([^<]*)</span>', text)
        assert whole == ["--lr", "--name", "--n_epochs"]
        assert (
            re.sub(r"</?span[^>]*>", "", text).count("--lr 0.1 --name a--b, or a &lt;lower&gt; --n_epochs: -- 5") == 1
        )
