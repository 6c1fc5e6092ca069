"""The tab "Edit labels": a map is painted, and its picture is generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from scripts.apps.actions import OF_THE_DATA, Actions, Times, number, place_of
from scripts.apps.page import BUTTONS, ELAPSED, LONGEST_SEED, STAMP, files_box, seed_box, spoken, times_box, upload_box
from scripts.apps.pictures import shown, window_of
from scripts.apps.uploads import SUFFIXES

_HERE = Path(__file__).parent


def build_label_tab(actions: Actions, names: list[str]) -> None:
    """Build the tab.

    Args:
        actions: of the app.
        names: of the runs that translate pictures.
    """
    first = names[0]
    with gr.Row():
        run = gr.Dropdown(names, value=first, label="Run")
        palette = gr.Dropdown([OF_THE_DATA, *actions.palettes], value=OF_THE_DATA, label="Palette")
        sample = gr.Dropdown(_samples(actions, first), label="Start from the run's data", value=None)
        upload = upload_box("Or drop a label map here", SUFFIXES)
        empty = gr.Button("Start empty", min_width=100)
    with gr.Row():
        with gr.Column(min_width=300):
            canvas = _canvas(_first_map(actions, first))
        with gr.Column(min_width=300):
            result = gr.Image(label="Result", format="png", interactive=False, elem_classes="result", buttons=BUTTONS)
            with gr.Row():
                generate = gr.Button("Generate", variant="primary")
                save = gr.Button("Save")
            seed, again = seed_box(actions)
            also = gr.Dropdown(names, multiselect=True, label="Compare with", value=[])
            others = gr.Gallery(
                label="Other runs", format="png", columns=2, visible=False, object_fit="contain", buttons=BUTTONS
            )
            times = times_box()
            files = files_box("Files: result, label map, pair")

    @spoken
    def change_run(name: str, chosen: str, drawn: str) -> tuple[Any, Any]:
        return _kept_map(actions, name, chosen, drawn), gr.Dropdown(choices=_samples(actions, name), value=None)

    @spoken
    def change_palette(name: str, chosen: str, drawn: str) -> str:
        return _kept_map(actions, name, chosen, drawn)

    @spoken
    def start_empty(name: str, chosen: str) -> str:
        return actions.canvas(name, chosen, actions.empty_map(name))

    @spoken
    def start_from_data(name: str, chosen: str, title: str | None) -> Any:
        if title is None:
            return gr.skip()
        place = place_of(actions.runs.known(name).samples, title)
        return actions.canvas(name, chosen, actions.sample_map(name, place, chosen))

    @spoken
    def start_from_file(name: str, chosen: str, file: str) -> tuple[str, None]:
        return actions.canvas(name, chosen, actions.uploaded_map(name, file, chosen)), None

    @spoken
    def paint(name: str, chosen: str, drawn: str, draw: Any, more: list[str] | None) -> tuple[Any, Any, str]:
        clock, ids = Times(), _drawn(actions, name, chosen, drawn)
        value = number(draw, 0, LONGEST_SEED, "The seed")
        own = _looked_at(actions.generate(name, ids, chosen, value, clock).array)
        beside = [
            (_looked_at(actions.generate(each, ids, chosen, value, clock).array), each)
            for each in (more or [])
            if each != name
        ]
        return own, gr.Gallery(value=beside, visible=bool(beside)), str(clock)

    @spoken
    def write(name: str, chosen: str, drawn: str, draw: Any) -> Any:
        value = number(draw, 0, LONGEST_SEED, "The seed")
        files = actions.save_map(name, _drawn(actions, name, chosen, drawn), chosen, value)
        return gr.File(value=files, visible=True)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    asked = [run, palette, canvas, seed, also]
    for event in (canvas.submit, generate.click, again.click, also.change):
        made = event(paint, asked, [result, others, times], js=STAMP, trigger_mode="always_last", **quiet)
        made.then(None, times, times, js=ELAPSED, api_visibility="private")
    run.input(change_run, [run, palette, canvas], [canvas, sample], **quiet)
    palette.input(change_palette, [run, palette, canvas], canvas, **quiet)
    sample.input(start_from_data, [run, palette, sample], canvas, **quiet)
    empty.click(start_empty, [run, palette], canvas, **quiet)
    upload.upload(start_from_file, [run, palette, upload], [canvas, upload], **quiet)
    save.click(write, [run, palette, canvas, seed], files, **quiet)


def _canvas(value: str) -> gr.HTML:
    html, css, js = ((_HERE / f"label_canvas.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    return gr.HTML(
        value,
        html_template=html,
        css_template=css,
        js_on_load=js + "\nlabelCanvas(element, props, trigger, watch); // events: 'submit'",
        apply_default_css=False,
        elem_id="label-canvas",
    )


def _samples(actions: Actions, run: str) -> list[str]:
    return list(actions.runs.known(run).samples)


def _first_map(actions: Actions, run: str) -> str:
    """What the page opens with: the first label map of the data, else an empty one."""
    try:
        ids = actions.sample_map(run, 0, OF_THE_DATA)
    except ValueError:
        ids = actions.empty_map(run)
    return actions.canvas(run, OF_THE_DATA, ids)


def _sent(drawn: str) -> dict[str, Any]:
    """What the editor has sent; empty for what is no JSON object."""
    try:
        sent = json.loads(drawn or "{}")
    except ValueError:
        sent = {}
    return sent if isinstance(sent, dict) else {}


def _drawn(actions: Actions, run: str, palette: str, drawn: str) -> NDArray[np.uint8]:
    """The map that the page has sent."""
    image = _sent(drawn).get("image")
    if not isinstance(image, str) or not image:
        raise ValueError("There is no label map yet: start empty, choose one of the run's data, or upload one.")
    return actions.drawn_map(run, image, palette)


def _kept_map(actions: Actions, run: str, palette: str, drawn: str) -> str:
    """The editor's map for another run or palette: as it is where both fit, else another one to start from."""
    if _sent(drawn).get("of") == actions.palette(run, palette).key:
        return actions.canvas(run, palette, None)
    if palette == OF_THE_DATA:
        return _first_map(actions, run)
    return actions.canvas(run, palette, actions.empty_map(run))


def _looked_at(array: NDArray[Any]) -> NDArray[np.uint8]:
    return shown(array, *window_of([array]))
