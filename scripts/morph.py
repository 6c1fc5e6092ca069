"""From one class to another, or from one sample to another of its class, in small steps: an animation and a strip.

Usage:
    python scripts/morph.py --name RUN --from_class_name cat --to_class_name dog --n_morphs 16 --loop
    python scripts/morph.py --name RUN --morph latent --class_name cat --from_seed 3 --to_seed 4
Classes: z stays, and the class-conditional batch norms take mixtures of the two classes. Latent: the class stays.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import json
import math
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from models.sagan.latent import labels_between, numbered_latents
from models.sagan.sample_options import LatentOptions
from models.sagan.samples import NoiseRun, batch_size_of, load_noise_run, names_of_run, one_class, parse_noise_run
from models.trained import result_folder
from options.schema import OptionError, arg
from util.background import BackgroundWriter
from util.exit_code import EXIT_DONE, run_command
from util.files import drafted, replace_text
from util.images.draw import column_sheet, fitted
from util.images.io import save_gif, write_image
from util.pages.html import HTML

logger = logging.getLogger("morph")


_ANIMATED = 128  # pixels of a picture in the animation; smaller ones are enlarged by a whole factor
_BAR = 24  # pixels below a frame of the animation: where it is on the way
_PARALLEL = 1e-6  # sine of the angle below which two vectors have no arc between them


def positions(count: int) -> list[float]:
    """Place of every frame on the way: 0 for the first, 1 for the last."""
    return [frame / (count - 1) for frame in range(count)]


def slerp(first: Tensor, last: Tensor, place: float) -> Tensor:
    """Between vectors on the arc, not on the chord, which leads through shorter vectors than training has seen.

    ``sin((1 - a) w) / sin(w) z0 + sin(a w) / sin(w) z1`` with w the angle between them (White 2016, arXiv:1609.04468);
    at the ends the vectors themselves. Parallel vectors have the chord only.

    Args:
        first: ``[N, nz]``, not 0.
        last: the same.
        place: a, 0 for the first, 1 for the last.

    Returns:
        ``[N, nz]`` float32.
    """
    if place in (0.0, 1.0):
        return (last if place else first).clone()
    z0, z1 = first.double(), last.double()
    cosine = (z0 * z1).sum(1, keepdim=True) / (z0.norm(dim=1, keepdim=True) * z1.norm(dim=1, keepdim=True))
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - place) * angle).sin() * z0 + (place * angle).sin() * z1) / sine.clamp_min(_PARALLEL)
    return torch.where(sine < _PARALLEL, torch.lerp(z0, z1, place), arc).float()


def latents_between(first: Tensor, last: Tensor, places: list[float], truncation: float) -> Tensor:
    """Latent vectors of every frame.

    The arc between two truncated vectors leads out of the bound; what is beyond is cut, and the ends stay.

    Returns:
        ``[frames, N, nz]``.
    """
    arcs = torch.stack([slerp(first, last, place) for place in places])
    return arcs.clamp(-truncation, truncation) if math.isfinite(truncation) else arcs


def draw_morph(run: NoiseRun, way: Way) -> tuple[Tensor, Tensor]:
    """All frames. The first one, and with ``--morph latent`` the last one too, are what test.py draws with that seed.

    (The published program goes from the last class to the first, and stops a step before it is there.)

    Returns:
        float32 ``[frames, N, C, S, S]`` in [-1, 1] on the CPU, and their latent vectors ``[frames, N, nz]``.
    """
    asked, size = run.options.test, batch_size_of(run.options)
    rows = [(way.classes[0], number) for number in range(asked.num_images)]
    nz, places = run.model.options.nz, positions(asked.n_morphs)
    first, last = (numbered_latents(seed, rows, nz, truncation=asked.truncation) for seed in way.seeds)
    if asked.morph == "latent":
        latents = latents_between(first, last, places, asked.truncation)
    else:
        latents = first.expand(len(places), -1, -1)
    frames = []
    for z, place in zip(latents, places):
        y = labels_between(way.classes, place, len(run.names), len(z))
        frames.append(torch.cat([run.model.sample(*part).cpu() for part in zip(z.split(size), y.split(size))]))
    return torch.stack(frames), latents


def write_morph(run: NoiseRun, way: Way, folder: Path) -> None:
    """Draw a morph into a folder: ``morph.gif``, ``strip.png``, ``images/``, ``morph.json`` and ``index.html``.

    The strip has a row a sample and a column a frame. The single frames are ``images/<sample>_<frame>.png``.

    Args:
        run: what draws.
        way: from where to where.
        folder: is made.
    """
    asked = run.options.test
    frames, latents = draw_morph(run, way)
    places = positions(len(frames))
    facts = run.facts
    title = f"Experiment = {facts['run']}, Epoch = {facts['checkpoint']}, {way.ends[0]} to {way.ends[1]}"
    page = HTML(folder, title)
    files = [[f"{row:05d}_{frame:04d}.png" for frame in range(len(frames))] for row in range(asked.num_images)]
    with BackgroundWriter() as writer:
        for row, names in enumerate(files):
            for frame, name in enumerate(names):
                writer.submit(write_image, page.get_image_dir() / name, frames[frame, row])
    shares = [f"{100 * place:.0f} %" for place in places]
    captions = [way.ends[0], *shares[1:-1], way.ends[1]]
    Image.fromarray(column_sheet(frames.flatten(0, 1), asked.num_images, captions)).save(folder / "strip.png")
    animation = [animated(pictures, place, way.ends) for pictures, place in zip(frames, places)]
    back = animation[-2:0:-1] if asked.loop else []
    save_gif(folder / "morph.gif", [*animation, *back], duration=round(1000 * asked.duration))
    page.add_header("all frames")
    page.add_images(["../morph.gif"], [f"{asked.duration:g} s a frame"], ["../morph.gif"], width=animation[0].width)
    page.add_images(["../strip.png"], ["a row a sample"], ["../strip.png"], width=1600)
    for row, names in enumerate(files):
        page.add_header(f"sample {row}")
        page.add_images(names, captions, names, width=min(run.options.result.display_winsize, 128))
    page.save()
    facts |= {"morph": asked.morph, **_ends(run, way), "duration": asked.duration, "loop": asked.loop}
    facts["largest_latent"] = float(latents.abs().max())
    facts["frames"] = [
        {"place": place, "files": [f"images/{names[frame]}" for names in files]} for frame, place in enumerate(places)
    ]
    replace_text(folder / "morph.json", [json.dumps(facts, indent=1)])


def _ends(run: NoiseRun, way: Way) -> dict[str, Any]:
    return {
        side: {"class": label, "name": run.names[label], "seed": seed}
        for side, label, seed in zip(("from", "to"), way.classes, way.seeds)
    }


def animated(pictures: Tensor, place: float, ends: tuple[str, str]) -> Image.Image:
    """A frame of the animation: the samples in as square a grid as possible, below it the way and where this is on it.

    Args:
        pictures: ``[N, C, S, S]`` in [-1, 1].
        place: 0 at the beginning, 1 at the end.
        ends: names of both.
    """
    rows = math.ceil(len(pictures) / math.ceil(math.sqrt(len(pictures))))
    missing = -len(pictures) % rows
    whole = torch.cat([pictures, pictures.new_ones(missing, *pictures.shape[1:])]) if missing else pictures
    columns = len(whole) // rows
    by_column = whole.unflatten(0, (rows, columns)).transpose(0, 1).flatten(0, 1)
    grid = Image.fromarray(column_sheet(by_column, rows, (), smallest=_ANIMATED))
    canvas = Image.new("RGB", (grid.width, grid.height + _BAR), "white")
    canvas.paste(grid)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    middle, half = grid.height + 6, (grid.width - 12) // 2
    draw.line((6, middle, grid.width - 6, middle), fill="grey")
    x = 6 + place * (grid.width - 12)
    draw.ellipse((x - 4, middle - 4, x + 4, middle + 4), fill="black")
    names = [fitted(name, half, font) for name in ends]
    draw.text((4, grid.height + 11), names[0], fill="black", font=font)
    draw.text((grid.width - 4 - font.getlength(names[1]), grid.height + 11), names[1], fill="black", font=font)
    return canvas


PUBLISHED = (947, 153)
"""From a mushroom to a Maltese dog, where the run has ImageNet's classes."""


@dataclass(frozen=True, kw_only=True)
class MorphOptions(LatentOptions):
    """What becomes what, in how many steps."""

    morph: str = arg("class", choices=("class", "latent"), help="what changes: the class, or the latent vector")
    from_class_id: int | None = arg(
        None,
        minimum=0,
        aliases=("from-class-id",),
        help="first class (default: 947 of ImageNet's 1000, else the first)",
    )
    from_class_name: str = arg("", aliases=("from-class-name",), help="the same by name")
    to_class_id: int | None = arg(
        None, minimum=0, aliases=("to-class-id",), help="last class (default: 153 of ImageNet's 1000, else the last)"
    )
    to_class_name: str = arg("", aliases=("to-class-name",), help="the same by name")
    class_id: int | None = arg(None, minimum=0, aliases=("class-id",), help="the class, with --morph latent")
    class_name: str = arg("", aliases=("class-name",), help="the same by name")
    from_seed: int | None = arg(
        None, minimum=0, maximum=2**63 - 1, help="first sample, with --morph latent (default: --sample_seed)"
    )
    to_seed: int | None = arg(None, minimum=0, maximum=2**63 - 1, help="last sample (default: --from_seed + 1)")
    n_morphs: int = arg(8, minimum=2, maximum=1000, aliases=("n-morphs",), help="frames, both ends included")
    num_images: int = arg(4, minimum=1, maximum=1000, aliases=("n_samples",), help="rows: samples that change together")
    duration: float = arg(0.25, minimum=0.02, maximum=600.0, help="of a frame of the animation (seconds)")
    loop: bool = arg(False, help="the animation goes there and back")

    def __post_init__(self) -> None:
        for what in ("from_class", "to_class", "class"):
            if getattr(self, f"{what}_id") is not None and getattr(self, f"{what}_name"):
                raise OptionError(f"--{what}_id and --{what}_name together: give one")
        of_latent = ("class_id", "class_name", "from_seed", "to_seed")
        of_class = ("from_class_id", "from_class_name", "to_class_id", "to_class_name")
        unused, remedy = (
            (of_latent, "they belong to --morph latent; here it is --from_class_id and --to_class_id")
            if self.morph == "class"
            else (of_class, "the class stays with --morph latent; name it by --class_id or --class_name")
        )
        if wrong := [f"--{flag}" for flag in unused if getattr(self, flag) not in (None, "")]:
            raise OptionError(f"--morph {self.morph} {' '.join(wrong)}: {remedy}")
        if self.morph == "latent" and self.seeds[0] == self.seeds[1]:
            raise OptionError(f"--from_seed {self.seeds[0]} --to_seed {self.seeds[1]}: there is nothing between them")

    @property
    def seeds(self) -> tuple[int, int]:
        """Of the first and the last frame."""
        if self.morph == "class":
            return self.sample_seed, self.sample_seed
        first = self.sample_seed if self.from_seed is None else self.from_seed
        return first, first + 1 if self.to_seed is None else self.to_seed


@dataclass(frozen=True)
class Way:
    """Where a morph begins and ends.

    Attributes:
        classes: labels of the first and the last frame.
        seeds: of their latent vectors.
        ends: what is written below them.
        folder: name of the folder of results, without the checkpoint.
    """

    classes: tuple[int, int]
    seeds: tuple[int, int]
    ends: tuple[str, str]
    folder: str


def main(argv: Sequence[str] | None = None) -> int:
    """Morph from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed, 2 bad options, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("morph.py", argv, _run)


def _run(argv: list[str]) -> int:
    options = parse_noise_run("scripts/morph.py", argv, MorphOptions)
    way = way_of(options.test, names_of_run(options))
    run = load_noise_run(options)
    place = result_folder(options, way.folder)
    with drafted(place, f"--results_dir {options.result.results_dir}") as draft:
        write_morph(run, way, draft)
    logger.info("%d frames from %s to %s: %s", options.test.n_morphs, *way.ends, place / "index.html")
    return EXIT_DONE


def way_of(asked: MorphOptions, names: Sequence[str]) -> Way:
    """What the options mean for a run.

    Args:
        asked: the options.
        names: of the run's classes, by label.

    Raises:
        OptionError: no such class, or twice the same.
    """
    if asked.morph == "latent":
        label, (first, last) = one_class(asked.class_id, asked.class_name, names, "--class"), asked.seeds
        return Way(
            (label, label), asked.seeds, (f"seed {first}", f"seed {last}"), f"morph_latent_{label}_{first}_{last}"
        )
    if len(names) == 1:
        raise OptionError("--morph class: the run has no classes; --morph latent goes from one sample to another")
    defaults = PUBLISHED if len(names) > max(PUBLISHED) else (0, len(names) - 1)
    wanted = (
        (asked.from_class_id, asked.from_class_name, "--from_class"),
        (asked.to_class_id, asked.to_class_name, "--to_class"),
    )
    first, last = (
        one_class(default if number is None else number, name, names, flag)
        for (number, name, flag), default in zip(wanted, defaults)
    )
    if first == last:
        raise OptionError(
            f"--from_class_id {first} --to_class_id {last}: twice the class {names[first]}; give two classes, or "
            "--morph latent, which goes from one sample of a class to another"
        )
    return Way((first, last), asked.seeds, (names[first], names[last]), f"morph_{first}_{last}")


if __name__ == "__main__":
    sys.exit(main())
