"""The page in a real browser, as a visitor uses it."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.app_runs import LABELS, colours_of, facade_map
from tests.class_run import NAMES
from tests.conftest import SIZE
from tests.scripts.apps.conftest import Served
from tests.scripts.apps.test_uploads import huge_png

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: bash scripts/setup.sh --dev")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
]

PATIENCE = 20_000  # milliseconds


class Visitor:
    """A page of the app, and what its visitor does.

    Attributes:
        page: of the browser.
        others: addresses of other hosts that the page asked for.
        problems: errors of its scripts.
    """

    def __init__(self, browser: Any, address: str, width: int = 1280, height: int = 900) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(PATIENCE)
        self.others: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda asked: self._note(asked.url, address))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(address)
        self.canvas = self.page.locator("#label-canvas canvas")
        self.page.wait_for_selector("[data-ready=true]", state="attached")

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.others.append(url)

    def press(self, name: str) -> None:
        buttons = self.page.locator("button:visible:not([role=tab]):not([tabindex='-1'])")
        buttons.filter(has_text=re.compile(f"^\\s*{name}\\s*$")).first.click()

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab).click()

    def map(self) -> np.ndarray:
        """The map on the canvas, as class ids; a colour that is not in the palette is 255."""
        url = self.canvas.evaluate("canvas => canvas.toDataURL()")
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
        ids = np.full(image.shape[:2], 255)
        for number, colour in enumerate(LABELS.values()):
            ids[(image == list(bytes.fromhex(colour))).all(axis=2)] = number
        return ids

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the map is on the page."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        return box["x"] + (x + 0.5) / SIZE * box["width"], box["y"] + (y + 0.5) / SIZE * box["height"]

    def drag(self, *points: tuple[float, float]) -> None:
        """One stroke through these pixels of the map."""
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=4)
        mouse.up()

    def changed(self, selector: str, act: Callable[[], None]) -> str:
        """The address of the first picture there, once ``act`` has changed it."""
        read = f"() => [...document.querySelectorAll('{selector}')].find(each => each.offsetParent)?.src || ''"
        before = self.page.evaluate(read)
        act()
        self.page.wait_for_function(f"before => (({read})() || before) !== before", arg=before, timeout=PATIENCE)
        return str(self.page.evaluate(read))

    def generated(self, act: Callable[[], None]) -> np.ndarray:
        """The picture of the label map, once ``act`` has changed it."""
        return self.fetch(self.changed(".result img", act))

    def fetch(self, url: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.page.request.get(url).body())))

    def files(self) -> dict[str, str]:
        """Name -> address of the files that the tab offers."""
        links = self.page.locator(".block:not(.drop) .file-preview a[download]:visible")
        links.first.wait_for()
        found = [(each.get_attribute("download"), each.get_attribute("href")) for each in links.all()]
        return {str(name): str(url) for name, url in found}

    def send(self, label: str, name: str, data: bytes) -> None:
        """Drop a file into an upload box."""
        box = self.page.locator(".drop:visible").filter(has_text=label)
        if (clear := box.locator(".top-panel button[aria-label=Clear]")).count():
            clear.click()
        box.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})

    def told(self, text: str) -> None:
        """Wait for a message to the visitor, and close it."""
        toast = self.page.get_by_text(text).first
        toast.wait_for()
        for close in self.page.locator(".toast-close").all():
            close.click()
        toast.wait_for(state="hidden")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture()
def visitor(browser: Any, app: Served) -> Iterator[Visitor]:
    found = Visitor(browser, app.address)
    yield found
    assert found.problems == [] and found.others == []
    found.page.close()


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_paint_undo_redo_fill_and_save(visitor: Visitor):
    page = visitor.page
    page.wait_for_selector(".result img")
    start = visitor.map()
    assert np.array_equal(start, facade_map())

    # a stroke of the brush: exact colours, a picture after it, and one step of undo
    visitor.press("door")
    page.locator(".lc-size").fill("3")
    visitor.generated(lambda: visitor.drag((4, 3), (20, 3), (20, 6)))
    painted = visitor.map()
    expected = start.copy()
    for x in range(4, 21):
        for dy in (-1, 0, 1):
            expected[3 + dy, x] = 3
    expected[3:7, 19:22] = 3
    expected[3, 3] = expected[2, 3] = expected[4, 3] = expected[2, 21] = 3
    expected[7, 19:22] = 3
    assert set(np.unique(painted)) <= {0, 1, 2, 3} and (painted != expected).sum() <= 8  # round ends
    visitor.generated(lambda: visitor.press("Undo"))
    assert np.array_equal(visitor.map(), start) and page.get_by_role("button", name="Undo").is_disabled()
    visitor.generated(lambda: visitor.press("Redo"))
    assert np.array_equal(visitor.map(), painted)

    # what is painted later lies on top, whatever its class
    page.keyboard.press("r")
    page.keyboard.press("1")
    visitor.drag((0, 0), (31, 4))
    page.keyboard.press("3")
    visitor.drag((8, 2), (11, 5))
    page.keyboard.press("2")
    visitor.drag((10, 4), (13, 7))
    layered = visitor.map()
    assert layered[2, 8] == 2 and layered[4, 10] == 1 and layered[0, 0] == 0

    # fill takes what is connected; the eyedropper takes the class of a pixel
    visitor.press("Eyedropper")
    page.mouse.click(*visitor.place(8, 3))
    assert page.locator(".lc-current").inner_text() == "window"
    visitor.press("Fill")
    visitor.generated(lambda: visitor.drag((0, 0)))
    filled = visitor.map()
    assert filled[0, 0] == filled[0, 31] == 2 and filled[30, 0] == 1
    page.keyboard.press("Control+z")
    assert np.array_equal(visitor.map(), layered)
    page.keyboard.press("Control+Shift+z")
    assert np.array_equal(visitor.map(), filled)
    page.keyboard.press("]")
    assert page.locator(".lc-size-number").inner_text() == "4"
    page.locator(".lc-size").fill("64")
    page.keyboard.press("]")
    assert page.locator(".lc-size-number").inner_text() == "64"

    # the files are what is seen
    result = visitor.generated(lambda: visitor.press("Clear"))
    assert np.array_equal(visitor.map(), start)
    visitor.press("Save")
    files = visitor.files()
    assert list(files) == ["result.png", "label_map.png", "pair.png"]
    assert np.array_equal(visitor.fetch(files["label_map.png"]), colours_of(facade_map()))
    assert np.array_equal(visitor.fetch(files["result.png"]), result)
    assert visitor.fetch(files["pair.png"]).shape == (SIZE, 2 * SIZE, 3)


def choose(page: Any, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).locator("visible=true").first.click()
    page.get_by_role("option", name=option, exact=True).first.click()


def test_switch_the_run_and_start_from_files(visitor: Visitor):
    page = visitor.page
    page.wait_for_selector(".result img")
    visitor.press("door")
    visitor.generated(lambda: visitor.drag((2, 2), (12, 2)))
    painted = visitor.map()
    visitor.generated(lambda: choose(page, "Run", "noise"))
    assert np.array_equal(visitor.map(), painted)  # the drawing stays
    visitor.generated(lambda: visitor.press("New sample"))
    visitor.press("Undo")
    assert np.array_equal(visitor.map(), facade_map())  # and so does its history

    visitor.generated(lambda: visitor.press("Start empty"))
    assert not visitor.map().any()
    visitor.generated(lambda: choose(page, "Start from the run's data", "2: 1"))
    assert np.array_equal(visitor.map(), np.roll(facade_map(), 1, axis=1))

    jpeg = io.BytesIO()
    Image.fromarray(colours_of(facade_map(4 * SIZE))).save(jpeg, "JPEG", quality=80)
    visitor.generated(lambda: visitor.send("label map", "../../map.jpg", jpeg.getvalue()))
    page.locator(".drop:visible input[type=file]").first.wait_for(state="attached")  # ready for another one
    assert (visitor.map() != facade_map()).mean() < 0.02  # snapped; a few edges may fall to the other side
    visitor.send("label map", "map.png", b"no picture")
    visitor.told("no picture of a kind that this app reads")
    visitor.send("label map", "map.png", huge_png(14_143))
    visitor.told("200.0 megapixels")


def test_translate_and_bad_files(visitor: Visitor):
    page = visitor.page
    visitor.open("Translate")
    visitor.press("Translate")
    visitor.told("Upload a picture, or choose one")
    bad = {
        "broken.png": (png(facade_map(200))[:60], "The PNG file cannot be read"),
        "noise.png": (np.random.default_rng(0).bytes(400_000), "no picture of a kind"),
        "huge.png": (huge_png(14_143), "200.0 megapixels"),
    }
    for name, (data, says) in bad.items():
        visitor.send("Picture", name, data)
        page.get_by_text(name.partition(".")[0]).first.wait_for()
        visitor.press("Translate")
        visitor.told(says)
    visitor.send("Picture", "noise.png", np.random.default_rng(0).bytes(1_000_000))
    visitor.told("exceed the maximum allowed size")

    choose(page, "Picture of the data of facades", "1: 0")
    page.get_by_role("checkbox", name="noise").check()
    page.get_by_role("spinbutton", name="number input for Draws").fill("3")
    visitor.changed(".grid-container img", lambda: visitor.press("Translate"))
    page.get_by_text("noise: draw 3").first.wait_for()
    page.get_by_text("noise: spread of the draws").first.wait_for()
    page.get_by_text("with queue and transfer").locator("visible=true").first.wait_for()
    page.locator(".result img").locator("visible=true").nth(1).wait_for()  # before and after

    page.get_by_role("checkbox", name="facades").uncheck()
    page.get_by_role("checkbox", name="noise").uncheck()
    page.get_by_role("checkbox", name="zebra").check()
    page.get_by_role("radio", name="B to A").check()
    choose(page, "Picture of the data of zebra", "1")
    visitor.press("Translate")
    page.get_by_text("zebra: attention").first.wait_for()


def test_sixteen_bits_have_a_window(visitor: Visitor):
    page = visitor.page
    visitor.open("Translate")
    page.get_by_role("checkbox", name="deep").check()
    page.get_by_role("checkbox", name="facades").uncheck()
    ramp = np.linspace(1000, 9000, SIZE * SIZE).reshape(SIZE, SIZE).astype(np.uint16)
    visitor.send("Picture", "deep.png", png(ramp))
    page.get_by_text("deep.png").first.wait_for(timeout=60000)
    visitor.changed(".grid-container img", lambda: visitor.press("Translate"))
    (file,) = visitor.files().values()
    result = visitor.fetch(file)
    assert result.dtype == np.uint16 and len(np.unique(result)) > 300

    # the first picture is the input: black at 1000, white at 9000; then white at 5000
    read = "() => [...document.querySelectorAll('.grid-container img')].find(each => each.offsetParent).src"
    seen = visitor.fetch(page.evaluate(read))[:, :, 0]
    assert seen[0, 0] == 0 and seen[-1, -1] == 255 and abs(int(seen[16, 0]) - 128) <= 4
    white = page.get_by_role("spinbutton", name="number input for White of the input")
    white.fill("5000")
    brighter = visitor.fetch(visitor.changed(".grid-container img", lambda: white.press("Tab")))[:, :, 0]
    assert brighter[17, 0] == 255 and brighter[0, 0] == 0


def test_morph_between_classes(visitor: Visitor):
    page = visitor.page
    visitor.open("Classes")
    first = visitor.changed("#classes img", lambda: visitor.press("Draw"))
    place = page.get_by_role("spinbutton", name="number input for Morph")
    pictures = [visitor.fetch(first)]
    for share in ("0.5", "1"):
        pictures.append(visitor.fetch(visitor.changed("#classes img", lambda share=share: place.fill(share))))
    assert not np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[1], pictures[2])
    place.fill("0")
    visitor.changed("#classes img", lambda: choose(page, "Class", NAMES[1]))
    visitor.changed("#classes img", lambda: visitor.press("New sample"))
    visitor.press("Save")
    assert len(visitor.files()) == 6


def test_phone(browser: Any, app: Served, tmp_path: Path):
    visitor = Visitor(browser, app.address, 390, 844)
    page = visitor.page
    page.wait_for_selector(".result img")
    for tab in ("Translate", "Classes", "Edit labels"):
        visitor.open(tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visitor.press("door")
    visitor.generated(lambda: visitor.drag((3, 3), (9, 3)))
    assert visitor.map()[3, 6] == 3
    for button in page.locator("#label-canvas button:visible").all():
        box = button.bounding_box()
        assert box["height"] >= 32 and box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.close()
