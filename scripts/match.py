"""The training images nearest to what a run draws: does it invent, or repeat what it has seen?

Usage:
    python scripts/match.py --name RUN --class_name cat --top_n 15
    python scripts/match.py --name RUN --class_id 3 --features inception --num_images 8 --all_classes_real
By squared distance of the pixels, or of the features of a network, which finds images of the same kind.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models.sagan_options import LatentOptions
from options.metric_options import MetricOptions
from options.schema import OptionError, arg, specs
from scripts.noise_run import NoiseRun, load_noise_run, one_class, parse_noise_run
from util.exit_code import EXIT_DONE, run_command
from util.metrics import EXTRACTORS

if TYPE_CHECKING:
    from scripts.class_images import ClassImages

logger = logging.getLogger("match")

PIXELS = "pixels"
_WEIGHTS = specs(MetricOptions)["inception_weights"]
_CACHE = specs(MetricOptions)["feature_cache"]


@dataclass(frozen=True, kw_only=True)
class MatchOptions(LatentOptions):
    """What is drawn, and what it is compared with."""

    class_id: int | None = arg(None, minimum=0, aliases=("class-id",), help="class of the samples")
    class_name: str = arg("", aliases=("class-name",), help="the same by name")
    num_images: int = arg(1, minimum=1, maximum=1000, aliases=("n_samples",), help="samples, each with its own matches")
    top_n: int = arg(15, minimum=1, aliases=("top-n",), help="nearest training images of each sample")
    features: str = arg(
        PIXELS,
        choices=(PIXELS, *EXTRACTORS),
        aliases=("feature_extractor",),
        help="what is compared: the pixels, which finds copies, or the features of this network, which finds likeness",
    )
    all_classes_real: bool = arg(False, help="compare with the training images of all classes, not of this one only")
    inception_weights: str = arg("", metavar="FILE", help=_WEIGHTS.help)
    feature_cache: str = arg("", metavar="DIR", help=_CACHE.help, advanced=True)

    def __post_init__(self) -> None:
        if self.class_id is not None and self.class_name:
            raise OptionError("--class_id and --class_name together: give one")


def main(argv: Sequence[str] | None = None) -> int:
    """Match from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed, 2 bad options or images, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("match.py", argv, _run)


def _run(argv: list[str]) -> int:
    options, folder = parse_noise_run("scripts/match.py", argv, MatchOptions, used=("dataroot",))
    run = load_noise_run(options, folder)
    asked = options.test
    label = one_class(asked.class_id, asked.class_name, run.names, "--class")
    images = _real(run, label)
    import test
    from scripts.nearest_images import Comparison, write_matches
    from util.result_folder import drafted

    extractor = "" if asked.features == PIXELS else asked.features
    comparison = Comparison(extractor, run.model.engine.device, asked.inception_weights, asked.feature_cache)
    place = test.result_folder(options, f"match_{label}")
    with drafted(place, f"--results_dir {options.result.results_dir}") as draft:
        nearest = write_matches(run, label, images, comparison, draft)
    logger.info("%d images compared, the nearest is %s: %s", len(images), nearest, place / "index.html")
    return EXIT_DONE


def _real(run: NoiseRun, label: int) -> ClassImages:
    """The training images that samples of a class are compared with.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are not of the run's size.
    """
    from scripts.class_evaluation import training_images
    from scripts.result_folders import RunPlace

    options, asked = run.options, run.options.test
    place = RunPlace(options.run.name, Path(options.run.checkpoints_dir), Path(options.result.results_dir))
    images = training_images(place, options.data.dataroot if "dataroot" in options.given else "")
    if len(run.names) > 1 and not asked.all_classes_real:
        images = images.of_classes(_same_class(run.names, label, images.class_names))
    if not len(images):
        raise FileNotFoundError(f"{images.label}: no images of the class {run.names[label]}; give --dataroot DIR")
    run.model.check_size(*images.read(0).shape[:2], what="--dataroot: images of")
    return images


def _same_class(names: Sequence[str], label: int, others: Sequence[str]) -> list[int]:
    """The label of a class in a data set that may have been changed since: by name, else by number, else none."""
    if names[label] in others:
        return [others.index(names[label])]
    if len(others) != len(names):
        return []
    logger.warning("warning: class %d of the run is %s, that of the images %s", label, names[label], others[label])
    return [label]


if __name__ == "__main__":
    sys.exit(main())
