"""The app's functions for programs: gradio API endpoints whose pictures are base64 text, in and out."""

from __future__ import annotations

from typing import Any

import gradio as gr

from scripts.apps.actions import NO_TRUNCATION, OF_THE_DATA, Actions, Times, level, number
from scripts.apps.page import LONGEST_SEED, spoken
from scripts.apps.pictures import data_url, file_url
from scripts.apps.uploads import decode_upload

MOST_DRAWS = 8
MOST_IMAGES = 16
_LONGEST_SIDE = 2048  # of a label map


def add_endpoints(actions: Actions) -> None:
    """``/models``, ``/generate``, ``/translate`` and ``/classes``; docs/app.md shows how they are called."""

    @spoken
    def generate(run: str, label_map: str, palette: str = OF_THE_DATA, seed: int = 0, count: int = 1) -> dict[str, Any]:
        """Pictures of a label map.

        Args:
            run: name of the run.
            label_map: a PNG picture in base64; it is snapped to the palette.
            palette: its name, "of the data" for that of the run.
            seed: of the first picture; the next has the next seed.
            count: how many, 1 to 8; they differ if the run draws at random.
        """
        clock = Times()
        ids = actions.drawn_map(run, label_map, palette)
        if max(ids.shape) > _LONGEST_SIDE:
            raise ValueError(f"A label map has {_LONGEST_SIDE} pixels a side at most.")
        first, many = number(seed, 0, LONGEST_SEED, "The seed"), number(count, 1, MOST_DRAWS, "The count")
        images = [actions.generate(run, ids, palette, first + draw, clock).array for draw in range(many)]
        snapped = actions.palette(run, palette).colours[ids]
        return {
            "images": [file_url(image) for image in images],
            "label_map": data_url(snapped),
            **_milliseconds(clock),
        }

    @spoken
    def translate(run: str, picture: str, direction: str = "", seed: int = 0, count: int = 1) -> dict[str, Any]:
        """Translations of a picture, in the depth of the run.

        Args:
            run: name of the run.
            picture: a PNG, JPEG, TIFF, BMP, WebP or NumPy file in base64.
            direction: AtoB or BtoA; empty for the run's own.
            seed: of the first translation; the next has the next seed.
            count: how many, 1 to 8; a run that does not draw at random makes one.
        """
        clock = Times()
        array = decode_upload(picture, actions.limits).array
        first, many = number(seed, 0, LONGEST_SEED, "The seed"), number(count, 1, MOST_DRAWS, "The count")
        made = actions.translate(run, array, direction, first, many, clock)
        maps = {name: data_url(image) for name, image in made.results[0].maps.items()}
        maps |= {"spread": data_url(made.spread)} if made.spread is not None else {}
        return {"images": [file_url(each.array) for each in made.results], "maps": maps, **_milliseconds(clock)}

    @spoken
    def classes(
        run: str,
        class_name: str,
        morph_to: str = "",
        place: float = 0.0,
        truncation: float = NO_TRUNCATION,
        seed: int = 0,
        count: int = 1,
    ) -> dict[str, Any]:
        """Images of a class, or between two.

        Args:
            run: name of the run.
            class_name: of the class.
            morph_to: of the other class; empty for none.
            place: 0 for the class, 1 for the other one.
            truncation: bound of the latent vectors; 3 and more is none.
            seed: of the latent vectors.
            count: how many, 1 to 16.
        """
        clock = Times()
        many, draw = number(count, 1, MOST_IMAGES, "The count"), number(seed, 0, LONGEST_SEED, "The seed")
        ends = (class_name, morph_to or class_name)
        images = actions.draw(run, ends, level(place), many, level(truncation), draw, clock)
        return {"images": [data_url(image) for image in images], **_milliseconds(clock)}

    @spoken
    def models() -> list[dict[str, Any]]:
        """The runs of the app: name, model, and directions and palette, or classes."""
        return actions.models()

    for function in (models, generate, translate, classes):
        gr.api(function, api_name=function.__name__)


def _milliseconds(clock: Times) -> dict[str, float]:
    return {"network_ms": round(1e3 * clock.network, 1), "server_ms": round(1e3 * clock.elapsed, 1)}
