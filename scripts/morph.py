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

from models.sagan_options import LatentOptions
from options.schema import OptionError, arg
from scripts.noise_run import load_noise_run, one_class, parse_noise_run
from util.exit_code import EXIT_DONE, run_command

logger = logging.getLogger("morph")

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
    options, folder = parse_noise_run("scripts/morph.py", argv, MorphOptions)
    run = load_noise_run(options, folder)
    way = way_of(options.test, run.names)
    import test
    from scripts.morph_frames import write_morph
    from util.result_folder import drafted

    place = test.result_folder(options, way.folder)
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
