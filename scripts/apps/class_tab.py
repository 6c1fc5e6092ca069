"""The tab "Classes": images of a class, and on the way from one class to another."""

from __future__ import annotations

from typing import Any

import gradio as gr

from scripts.apps.actions import NO_TRUNCATION, Actions, Times, level, number
from scripts.apps.endpoints import MOST_IMAGES
from scripts.apps.page import BUTTONS, ELAPSED, LONGEST_SEED, STAMP, files_box, seed_box, spoken, times_box
from scripts.apps.pictures import save_file


def build_class_tab(actions: Actions, names: list[str]) -> None:
    """Build the tab.

    Args:
        actions: of the app.
        names: of the runs that draw classes.
    """
    classes = list(actions.runs.known(names[0]).class_names)
    with gr.Row():
        with gr.Column(min_width=280, scale=2):
            run = gr.Dropdown(names, value=names[0], label="Run")
            first = gr.Dropdown(classes, value=classes[0], label="Class")
            last = gr.Dropdown(classes, value=classes[-1], label="Morph to")
            place = gr.Slider(0, 1, 0, step=0.02, label="Morph: 0 is the class, 1 the other one", elem_id="morph")
            truncation = gr.Slider(
                0.1, NO_TRUNCATION, NO_TRUNCATION, step=0.05, label=f"Truncation ({NO_TRUNCATION:g}: none)"
            )
            count = gr.Slider(1, MOST_IMAGES, 6, step=1, label="Images")
            seed, again = seed_box(actions)
            button = gr.Button("Draw", variant="primary")
            save = gr.Button("Save")
        with gr.Column(min_width=280, scale=3):
            gallery = gr.Gallery(
                label="Images", format="png", columns=3, object_fit="contain", elem_id="classes", buttons=BUTTONS
            )
            times = times_box()
            files = files_box("Files")

    def images(*asked: Any, clock: Times) -> Any:
        name, begin, end, share, bound, many, draw = asked
        how = (
            number(many, 1, MOST_IMAGES, "The number of images"),
            level(bound),
            number(draw, 0, LONGEST_SEED, "The seed"),
        )
        return actions.draw(name, (begin, end), level(share), *how, clock)

    @spoken
    def draw_images(*asked: Any) -> tuple[Any, str]:
        clock = Times()
        return list(images(*asked, clock=clock)), str(clock)

    @spoken
    def save_images(*asked: Any) -> Any:
        drawn = images(*asked, clock=Times())
        saved = [save_file(image, actions.folder, str(number_)) for number_, image in enumerate(drawn)]
        return gr.File(value=saved, visible=True)

    @spoken
    def change_run(name: str) -> tuple[Any, Any]:
        known = list(actions.runs.known(name).class_names)
        return gr.Dropdown(choices=known, value=known[0]), gr.Dropdown(choices=known, value=known[-1])

    asked = [run, first, last, place, truncation, count, seed]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
    made = [button.click(draw_images, asked, [gallery, times], js=STAMP, api_visibility="private")]
    for event in (place.input, first.input, last.input, truncation.release, count.release, again.click):
        made.append(event(draw_images, asked, [gallery, times], js=STAMP, **quiet))
    for event in made:
        event.then(None, times, times, js=ELAPSED, api_visibility="private")
    run.input(change_run, run, [first, last], **quiet)
    save.click(save_images, asked, files, api_visibility="private")
