"""The tab "Translate": one picture through one run or several, with draws, maps, and files in the depth of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from scripts.apps.actions import Actions, Times, number, place_of
from scripts.apps.endpoints import MOST_DRAWS
from scripts.apps.page import BUTTONS, ELAPSED, LONGEST_SEED, STAMP, files_box, seed_box, spoken, times_box, upload_box
from scripts.apps.pictures import save_file, shown, window_of
from scripts.apps.uploads import SUFFIXES
from util.images.io import read_image

_SHOWN_MAPS = {"heat": "attention", "conf": "uncertainty", "Disc": "W"}

Kept = list[dict[str, str]]
"""Of every picture of an answer: its caption, its side (``input``, ``result`` or ``map``) and its file."""


def build_translate_tab(actions: Actions, names: list[str]) -> None:
    """Build the tab.

    Args:
        actions: of the app.
        names: of the runs that translate pictures.
    """
    first = actions.runs.known(names[0])
    with gr.Row():
        with gr.Column(min_width=280, scale=2):
            upload = upload_box("Picture (drop a file, or choose one below)", SUFFIXES)
            sample = gr.Dropdown(list(first.samples), value=None, label=f"Picture of the data of {first.name}")
            runs = gr.CheckboxGroup(names, value=names[:1], label="Runs")
            direction = gr.Radio(_directions(actions, names[:1]), value=first.directions[0], label="Direction")
            seed, _ = seed_box(actions)
            samples = gr.Slider(1, MOST_DRAWS, 1, step=1, label="Draws (of runs that draw at random)")
            button = gr.Button("Translate", variant="primary")
        with gr.Column(min_width=280, scale=3):
            slider = gr.ImageSlider(
                label="Before and after", format="png", interactive=False, max_height=520, elem_classes="result"
            )
            with gr.Accordion("Window of values that are shown", open=True, visible=False) as windows:
                sides = {side: _window(side) for side in ("input", "result")}
            gallery = gr.Gallery(label="All pictures", format="png", columns=3, object_fit="contain", buttons=BUTTONS)
            times = times_box()
            files = files_box("Results in the depth of the run")
    kept = gr.State([], time_to_live=3600)
    levels = [slider_ for pair in sides.values() for slider_ in pair]

    @spoken
    def translate_picture(
        file: str | None, title: str | None, chosen: list[str], way: str, draw: Any, count: Any
    ) -> tuple[Any, ...]:
        if not chosen:
            raise ValueError("Choose a run.")
        clock = Times()
        value, many = number(draw, 0, LONGEST_SEED, "The seed"), number(count, 1, MOST_DRAWS, "The number of draws")
        place = place_of(actions.runs.known(chosen[0]).samples, title)
        picture = actions.picture(chosen[0], way, file, place)
        arrays: dict[tuple[str, str], NDArray[Any]] = {("input", "input"): picture}
        for name in dict.fromkeys(chosen):
            made = actions.translate(name, picture, _way_of(actions, name, way), value, many, clock)
            for number_, result in enumerate(made.results):
                arrays["result", _caption(name, number_, len(made.results))] = result.array
            maps = {_map_name(key): image for key, image in made.results[0].maps.items()}
            maps |= {"spread of the draws": made.spread} if made.spread is not None else {}
            arrays |= {("map", f"{name}: {key}"): image for key, image in maps.items()}
        saved = [
            {"side": side, "caption": caption, "file": save_file(array, actions.folder, _file_name(place_, caption))}
            for place_, ((side, caption), array) in enumerate(arrays.items())
        ]
        windows_ = {side: _levels([array for (of, _), array in arrays.items() if of == side]) for side in sides}
        deep = any(array.dtype != np.uint8 for array in arrays.values())
        updates = [update for side in sides for update in _updates(*windows_[side])]
        before_after, pictures = _pictures(saved, {side: window[:2] for side, window in windows_.items()})
        results = [each["file"] for each in saved if each["side"] != "input"]
        return (
            before_after,
            pictures,
            gr.File(value=results, visible=True),
            str(clock),
            saved,
            gr.Accordion(visible=deep),
            *updates,
        )

    @spoken
    def look(saved: Kept, low: float, high: float, low_result: float, high_result: float) -> tuple[Any, Any]:
        if not saved:
            return gr.skip(), gr.skip()
        return _pictures(saved, {"input": (low, high), "result": (low_result, high_result)})

    @spoken
    def change_runs(chosen: list[str], way: str, shown_title: str | None) -> tuple[Any, Any]:
        known = [actions.runs.known(name) for name in chosen or names[:1]]
        ways = _directions(actions, [each.name for each in known])
        own = known[0].directions[0]
        value = way if way in ways else own
        title = f"Picture of the data of {known[0].name}"
        kept_title = shown_title if shown_title in known[0].samples else None
        return (
            gr.Radio(choices=ways, value=value),
            gr.Dropdown(choices=list(known[0].samples), value=kept_title, label=title),
        )

    outputs = [slider, gallery, files, times, kept, windows, *levels]
    asked = [upload, sample, runs, direction, seed, samples]
    done = button.click(translate_picture, asked, outputs, js=STAMP, trigger_mode="once", api_visibility="private")
    done.then(None, times, times, js=ELAPSED, api_visibility="private")
    runs.input(
        change_runs, [runs, direction, sample], [direction, sample], api_visibility="private", show_progress="hidden"
    )
    sample.input(lambda: None, None, upload, api_visibility="private", show_progress="hidden")
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
    for level in levels:
        level.release(look, [kept, *levels], [slider, gallery], **quiet)


def _window(side: str) -> tuple[gr.Slider, gr.Slider]:
    with gr.Row():
        low = gr.Slider(0, 255, 0, label=f"Black of the {side}", min_width=120)
        high = gr.Slider(0, 255, 255, label=f"White of the {side}", min_width=120)
    return low, high


def _directions(actions: Actions, names: list[str]) -> list[tuple[str, str]]:
    """The directions that any of the runs has, as the page names them."""
    found = dict.fromkeys(way for name in names for way in actions.runs.known(name).directions)
    return [({"AtoB": "A to B", "BtoA": "B to A"}[way], way) for way in found]


def _way_of(actions: Actions, name: str, way: str) -> str:
    """The direction for one of several runs; its own where it has no other."""
    directions = actions.runs.known(name).directions
    return way if way in directions else directions[0]


def _caption(name: str, draw: int, count: int) -> str:
    return name if count == 1 else f"{name}: draw {draw + 1}"


def _map_name(output: str) -> str:
    return _SHOWN_MAPS.get(output.partition("_")[0], output)


def _file_name(place: int, caption: str) -> str:
    """A name of our own making: letters, digits and underscores of the caption."""
    return f"{place}_" + "".join(letter if letter.isalnum() else "_" for letter in caption)[:60]


def _levels(arrays: list[NDArray[Any]]) -> tuple[float, float, bool]:
    """Window of a side, and whether the page offers to change it."""
    return (*window_of(arrays), arrays[0].dtype != np.uint8)


def _updates(low: float, high: float, deep: bool) -> tuple[Any, Any]:
    step = (high - low) / 200
    shared: dict[str, Any] = {"minimum": low, "maximum": high, "step": step, "visible": deep}
    return gr.Slider(value=low, **shared), gr.Slider(value=high, **shared)


def _pictures(saved: Kept, windows: dict[str, tuple[float, float]]) -> tuple[Any, Any]:
    """Input and first result for the slider, and all pictures with captions for the gallery, of their files."""
    seen: list[tuple[NDArray[np.uint8], str]] = []
    for each in saved:
        if not Path(each["file"]).is_file():
            raise ValueError("The server keeps results for a while only. Translate again.")
        array = read_image(each["file"]).array
        seen.append((shown(array, *windows.get(each["side"], (0, 255))), each["caption"]))
    return (seen[0][0], seen[1][0]), seen
