"""The app as a gradio server: the page with the tabs that the runs need, limits, temporary files that go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
# Else its queue makes a table of the last 10,000 requests after every one (6.31): 500 requests slow it to a third.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # gradio brings the hub's client along; nothing here is fetched

import gradio as gr
from starlette.middleware import Middleware

from scripts.apps.actions import Actions
from scripts.apps.class_tab import build_class_tab
from scripts.apps.endpoints import add_endpoints
from scripts.apps.guard import Guard
from scripts.apps.label_tab import build_label_tab
from scripts.apps.page import CSS
from scripts.apps.translate_tab import build_translate_tab

_QUEUE = 200  # requests that wait; further ones get an error
_KEEP = 1800  # seconds that uploads and results stay
_CLEAN = 300  # seconds between looks for old ones
_SESSIONS = 100  # visitors, and calls of programs, that gradio remembers: 0.4 MB each
_THREADS = 8  # of handlers: networks run one at a time, and each thread keeps memory of its own
_ROOM = 65536  # bytes of a request beside an upload


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """The folder of the app's uploads and results, the only one that gradio serves; gone when the app ends."""
    folder = Path(tempfile.mkdtemp(prefix="app-"))
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def build_page(actions: Actions) -> gr.Blocks:
    """The page: a tab for each kind of run that the app was started with."""
    facts = actions.runs.facts.values()
    translating = [each.name for each in facts if not each.draws_from_noise]
    labelled = [each.name for each in facts if not each.draws_from_noise and each.palette is not None]
    drawing = [each.name for each in facts if each.draws_from_noise]
    with gr.Blocks(title="Image translation", delete_cache=(_CLEAN, _KEEP), analytics_enabled=False) as page:
        if labelled:
            with gr.Tab("Edit labels"):
                build_label_tab(actions, labelled)
        if translating:
            with gr.Tab("Translate"):
                build_translate_tab(actions, translating)
        if drawing:
            with gr.Tab("Classes"):
                build_class_tab(actions, drawing)
        add_endpoints(actions)
    page.queue(max_size=_QUEUE, default_concurrency_limit=4)
    return page


def serve(page: gr.Blocks, actions: Actions, *, host: str, port: int, auth: tuple[str, str] | None) -> str:
    """Start the server, and return its address. ``page.close()`` ends it.

    Raises:
        OSError: the port is taken.
    """
    guard = Middleware(Guard, max_bytes=actions.limits.max_bytes * 3 // 2 + _ROOM)  # base64 takes 4 / 3
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        auth=auth,
        app_kwargs={"middleware": [guard]},
        state_session_capacity=_SESSIONS,
        max_threads=_THREADS,
        max_file_size=actions.limits.max_bytes,
        css=CSS,
        footer_links=[],
        prevent_thread_lock=True,
        quiet=True,
        **_OFF,
    )
    return address


_OFF: dict[str, Any] = {
    "share": False,
    "ssr_mode": False,
    "mcp_server": False,
    "pwa": False,
    "run_history": False,  # else gradio keeps what visitors did in their browsers, and offers to upload it
    "enable_monitoring": False,
    "inbrowser": False,
    "show_error": False,
    "allowed_paths": [],
}
