"""Web pages of images that need no server: results of a test, pictures of a training."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

import dominate
from dominate.tags import a, br, h1, h3, img, meta, p, section, style, table, td, tr
from dominate.util import raw

from util.files import replace_text

STYLE = """
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--text:#1c2127;--soft:#5b6570;--line:#dfe3e8;--accent:#2563c9}
@media (prefers-color-scheme:dark){
:root{--back:#14171b;--card:#1d2126;--text:#e4e8ec;--soft:#97a1ac;--line:#343a42;--accent:#7fb0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1600px;padding:20px 24px 48px;background:var(--back);color:var(--text);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:22px;line-height:1.25;margin:0 0 14px;overflow-wrap:anywhere}
a{color:var(--accent)}
.status{display:flex;flex-wrap:wrap;gap:0 18px;color:var(--soft);margin:-10px 0 18px}
.entry,.panel{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:0 0 14px;padding:12px 16px}
.entry{content-visibility:auto;contain-intrinsic-size:auto 360px}
.entry h3{font-size:15px;font-weight:600;margin:0 0 10px;overflow-wrap:anywhere}
.entry table{display:block;border:0;width:100%}
.entry tbody{display:block}
.entry tr{display:flex;flex-wrap:wrap;gap:12px}
.entry td{display:block;border:0;padding:0;max-width:100%}
.entry p{margin:0}
.entry p:empty{display:none}
.entry td p:not(:first-child){color:var(--soft);font-size:13px;text-align:center;padding-top:4px}
.entry br{display:none}
.entry img{display:block;max-width:100%;height:auto;border-radius:6px;background:var(--line)}
details.panel summary{cursor:pointer;font-weight:600}
.panel table{border-collapse:collapse;margin-top:10px;
font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.panel td{border-top:1px solid var(--line);padding:2px 18px 2px 0;vertical-align:top;overflow-wrap:anywhere}
.panel td:first-child{color:var(--soft);white-space:nowrap}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:14px;margin:0 0 14px}
.chart{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:0;padding:10px 12px 6px}
.chart figcaption{display:flex;justify-content:space-between;gap:10px;margin-bottom:4px}
.chart figcaption b{font-weight:600;overflow-wrap:anywhere}
.chart figcaption span{color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap}
.chart svg{display:block;width:100%;height:auto}
.chart text{fill:var(--soft);font-size:10px}
.chart .axis{stroke:var(--line);fill:none}
.chart .band{fill:var(--accent);opacity:.22;stroke:none}
.chart .line{stroke:var(--accent);fill:none;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}
@media (max-width:640px){
body{padding:14px 10px 32px}
.entry,.panel{padding:10px}
.entry tr{gap:8px}
.entry td{flex:0 0 calc(50% - 4px)}
.entry td:only-child{flex-basis:100%}
.entry img{width:100%!important}
.panel td:first-child{white-space:normal}}
"""
"""The style sheet of every page; it stands inside the page, which needs no other file than its images."""


class HTML:
    """A page ``<web_dir>/index.html`` of headed rows of images, which lie in ``<web_dir>/images``.

    A row has the shape that tools for pix2pix/CycleGAN result pages expect: ``<h3>header</h3>``, then a table with one
    cell an image. The style sheet wraps the cells on a narrow screen, follows the light or dark mode of the reader,
    and the images load when they come into view, so that a page of thousands opens at once.

    Args:
        web_dir: folder of the page; it and ``images`` are made when missing.
        title: title of the document and first headline.
        refresh: seconds after which a browser loads the page again; 0 for never. (The original code asks for 1 second,
            which takes the page away from under the reader.)
    """

    def __init__(self, web_dir: str | os.PathLike[str], title: str, refresh: int = 0) -> None:
        self.web_dir = Path(web_dir)
        self.title = title
        self.refresh = refresh
        self._pieces: list[str] = []
        self._header = ""
        self.get_image_dir().mkdir(parents=True, exist_ok=True)

    def get_image_dir(self) -> Path:
        """Return the folder that holds the images: ``<web_dir>/images``."""
        return self.web_dir / "images"

    def add_header(self, text: str) -> None:
        """Head the next row of images with ``text``; a header without images stays a headline."""
        self._flush_header()
        self._header = text

    def add_images(self, files: Sequence[str], captions: Sequence[str], links: Sequence[str], width: int = 256) -> None:
        """Add a row of images.

        Args:
            files: names of the image files, relative to ``get_image_dir()``, with ``/`` between folders.
            captions: a caption an image.
            links: what a click on an image opens, a name like those in ``files``.
            width: width of each image in CSS pixels.

        Raises:
            ValueError: the three lists have different lengths.
        """
        self._pieces.append(image_row(self._header, files, captions, links, width))
        self._header = ""

    def save(self) -> None:
        """Write the whole page; a reader never sees a part of it."""
        self._flush_header()
        replace_text(self.web_dir / "index.html", [page(self.title, self._pieces, refresh=self.refresh)])

    def _flush_header(self) -> None:
        if self._header:
            self._pieces.append(image_row(self._header, [], [], []))
            self._header = ""


def image_row(
    header: str,
    files: Sequence[str],
    captions: Sequence[str],
    links: Sequence[str],
    width: int = 256,
    own_width: Collection[str] = (),
) -> str:
    """Return one headed row of images as HTML; arguments as in ``HTML.add_images``.

    The pictures with the captions ``own_width`` are as wide as they are, where the page is wide enough.
    """
    if not len(files) == len(captions) == len(links):
        raise ValueError(f"row {header!r}: {len(files)} files, {len(captions)} captions and {len(links)} links")
    row = tr()
    for file, caption, link in zip_longest(files, captions, links):
        size = {} if caption in own_width else {"style": f"width:{width}px"}
        picture = img(src=image_link(file), loading="lazy", alt=caption, **size)
        cell = p(a(picture, href=image_link(link)), br(), p(caption))
        row.add(td(cell, halign="center", style="word-wrap: break-word;", valign="top"))
    entry = section(cls="entry")
    if header:
        entry.add(h3(header))
    if files:
        entry.add(table(row, border="1", style="table-layout: fixed;"))
    return entry.render(pretty=False)


def image_link(file: str) -> str:
    """Return the relative, percent-encoded link to a file of the ``images`` folder."""
    return "images/" + quote(os.fsencode(file))


def page(title: str, pieces: Iterable[str], *, refresh: int = 0) -> str:
    """Return a whole HTML document.

    Args:
        title: title of the document and headline.
        pieces: HTML of the body, in order.
        refresh: seconds after which a browser loads the page again; 0 for never.
    """
    document = dominate.document(title=title)
    document["lang"] = "en"
    with document.head:
        meta(charset="utf-8")
        meta(name="viewport", content="width=device-width, initial-scale=1")
        if refresh > 0:
            meta(http_equiv="refresh", content=str(refresh))
        style(raw(STYLE))
    with document.body:
        h1(title)
    document.body.add(raw("\n".join(pieces)))
    return document.render(pretty=False) + "\n"
