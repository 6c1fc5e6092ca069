"""The page of the app: its tabs, their wiring to the actions, and gradio's settings."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from scripts.apps.actions import Actions

logger = logging.getLogger(__name__)

LONGEST_SEED = 2**31 - 1

BUTTONS: Any = ["download", "fullscreen"]
"""Of a picture: without gradio's button that publishes it on the web."""

STAMP = "(...given) => { window.askedAt = performance.now(); return given; }"
"""JavaScript before a request: remembers when it was made."""

ELAPSED = "(text) => text && `${text}, with queue and transfer ${Math.round(performance.now() - window.askedAt)} ms`"
"""JavaScript after a request: adds the time of the whole request to its text."""

CSS = """
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto; }
.drop { min-height: 0 !important; }
.drop button { min-height: 84px; height: 84px; }
.drop .icon-wrap, .drop .or { display: none; }
.drop .wrap { font-size: var(--text-sm); line-height: 1.3; padding-top: 18px; }
.times { font-variant-numeric: tabular-nums; min-height: 1.6em; }
.result .image-frame, .result .image-frame img { width: 100% !important; max-height: 560px; }
.result .image-frame img { height: auto !important; object-fit: contain !important; }
"""


def upload_box(label: str, suffixes: list[str]) -> gr.File:
    """Where a visitor drops a file; never one that the server fetches from an address.

    The instance is changed, as gradio writes a ``.pyi`` beside every module that has a component class.
    """
    box = gr.File(label=label, file_types=suffixes, type="filepath", height=110, elem_classes="drop")
    keep = box.async_move_resource_to_block_cache

    async def keep_uploads(url_or_file_path: Any) -> str | None:
        if url_or_file_path is not None and "://" in str(url_or_file_path):
            raise gr.Error("Upload the file itself; addresses are not fetched.", print_exception=False)
        return await keep(url_or_file_path)

    vars(box)["async_move_resource_to_block_cache"] = keep_uploads
    return box


def spoken(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its errors as words for the visitor; what nobody foresaw goes to the log alone."""

    @functools.wraps(function)
    def run(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except gr.Error:
            raise
        except (ValueError, FileNotFoundError) as error:
            raise gr.Error(str(error), duration=12, print_exception=False) from error
        except MemoryError as error:
            raise gr.Error("The picture is too large for this server's memory.", print_exception=False) from error
        except Exception as error:
            logger.exception("%s failed", function.__name__)
            raise gr.Error("This failed on the server; its log says why.", print_exception=False) from error

    return run


def seed_box(actions: Actions) -> tuple[gr.Number, gr.Button]:
    """A seed, and a button for the next one."""
    with gr.Row():
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LONGEST_SEED, min_width=100)
        button = gr.Button("New sample", min_width=100)
    button.click(lambda value: (int(value or 0) + 1) % LONGEST_SEED, seed, seed, api_visibility="private")
    return seed, button


def files_box(label: str) -> gr.File:
    """Files to download, hidden until there are any."""
    return gr.File(label=label, file_count="multiple", interactive=False, visible=False)


def times_box() -> gr.Markdown:
    """Where a tab says how long a request took."""
    return gr.Markdown(elem_classes="times", min_height=24)
