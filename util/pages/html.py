"""Web pages that need no server and no other file than their images: results of a test, pictures of a training."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

import dominate
from dominate import tags
from dominate.dom_tag import dom_tag
from dominate.tags import html_tag
from dominate.util import raw

from util.files import replace_text

_FLAG = re.compile(r"(?<!\w)(--[a-zA-Z]\w*)")


class HTML:
    """A page ``<web_dir>/index.html`` of headed rows of images, which lie in ``<web_dir>/images``.

    A row has the shape that tools for pix2pix/CycleGAN result pages expect: ``<h3>header</h3>``, then a table with one
    cell per image. The images load when they come into view, so that a page of thousands opens at once.

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
        self._rows: list[dom_tag] = []
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
            captions: one per image.
            links: what a click on each image opens, names like those in ``files``.
            width: width of each image in CSS pixels.

        Raises:
            ValueError: the three lists have different lengths.
        """
        self._rows.append(image_row(self._header, files, captions, links, width))
        self._header = ""

    def save(self) -> None:
        """Write the whole page; a reader never sees a part of it."""
        self._flush_header()
        replace_text(self.web_dir / "index.html", [page(self.title, self._rows, refresh=self.refresh)])

    def _flush_header(self) -> None:
        if self._header:
            self._rows.append(image_row(self._header, [], [], []))
            self._header = ""


SHOWN = "shown"
"""Folder beside ``images``: what the page shows of results that a browser would draw almost black."""


def shown_of(file: Path, images: Path) -> Path:
    """What to look at of a result in ``images``: the picture in ``SHOWN``, else the result itself."""
    other = images.parent / SHOWN / file.relative_to(images)
    return other if other.is_file() else file


def page(title: str, pieces: Iterable[dom_tag], *, refresh: int = 0) -> str:
    """Return a whole HTML document with its style sheet.

    Args:
        title: title of the document and headline.
        pieces: of the body, in order.
        refresh: seconds after which a browser loads the page again; 0 for never.
    """
    document = dominate.document(title=title)
    document["lang"] = "en"
    document.head.add(
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        *([tags.meta(http_equiv="refresh", content=str(refresh))] if refresh > 0 else []),
        tags.style(raw(_style_sheet())),
    )
    document.body.add(tags.h1(title))
    for piece in pieces:
        document.body.add(raw("\n"), piece)
    return document.render(pretty=False) + "\n"


def image_row(
    header: str,
    files: Sequence[str],
    captions: Sequence[str],
    links: Sequence[str],
    width: int = 256,
    own_width: Collection[str] = (),
) -> dom_tag:
    """Return one headed row of images, rendered once for all pages that hold it; arguments as in ``HTML.add_images``.

    The pictures with the captions ``own_width`` are as wide as they are, where the page is wide enough.
    """
    if not len(files) == len(captions) == len(links):
        raise ValueError(f"row {header!r}: {len(files)} files, {len(captions)} captions and {len(links)} links")
    row = tags.tr()
    for file, caption, link in zip(files, captions, links):
        size = {} if caption in own_width else {"style": f"width:{width}px"}
        picture = tags.img(src=image_link(file), loading="lazy", alt=caption, **size)
        cell = tags.p(tags.a(picture, href=image_link(link)), tags.br(), tags.p(caption))
        row.add(tags.td(cell, halign="center", style="word-wrap: break-word;", valign="top"))
    entry = tags.section(cls="entry")
    if header:
        entry.add(tags.h3(header))
    if files:
        entry.add(tags.table(row, border="1", style="table-layout: fixed;"))
    return raw(entry.render(pretty=False))


def image_link(file: str) -> str:
    """Return the relative, percent-encoded link to a file of the ``images`` folder."""
    return "images/" + quote(os.fsencode(file))


def wide_table(heads: Sequence[object], rows: Iterable[Sequence[object]], *, kind: str = "") -> html_tag:
    """A table that scrolls within the page; the first cell of each row is its head.

    Args:
        heads: of the columns; empty for none.
        rows: cells as elements, also ``td`` and ``th`` of their own, or as anything that has a text.
        kind: a class of the style sheet: ``facts`` or ``options``.
    """
    body = tags.tbody(
        tags.tr(_cell(tags.td if place else tags.th, cell) for place, cell in enumerate(row)) for row in rows
    )
    head = [tags.thead(tags.tr(_cell(tags.th, cell) for cell in heads))] if heads else []
    return tags.div(tags.table(*head, body), cls=f"wide {kind}".strip())


def bullets(lines: Iterable[str], kind: str = "notes") -> html_tag:
    """A list of sentences."""
    return tags.ul((tags.li(whole_flags(line)) for line in lines), cls=kind)


def warning(head: str, lines: Iterable[str]) -> html_tag:
    """A box that a reader does not overlook."""
    items = (tags.li(whole_flags(line)) for line in lines)
    return tags.div(tags.p(tags.b(head)), tags.ul(items), cls="warning", role="note")


def whole_flags(text: str) -> dom_tag:
    """A sentence or command whose flags a browser breaks nowhere, as it does after each of their hyphens."""
    return raw(_FLAG.sub(r'<span class="flag">\1</span>', escape(text)))


def fold(head: str, body: dom_tag) -> html_tag:
    """What a click on ``head`` shows."""
    return tags.details(tags.summary(head), body)


def _cell(kind: type[html_tag], content: object) -> html_tag:
    if isinstance(content, (tags.td, tags.th)):
        return content
    return kind(content if isinstance(content, dom_tag) else str(content))


@cache
def _style_sheet() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
