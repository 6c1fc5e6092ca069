"""Draw images of chosen classes with a trained run, as test.py does, into any folder.

Usage:
    python scripts/generate.py --name RUN --class_name cat --num_images 16 --truncation 0.7 --sample_seed 3
    python scripts/generate.py --name RUN --generate_all --output DIR
Without --output the pictures go where test.py puts them: results/RUN/test_latest.
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

from models.sagan.sample_options import SampleOptions
from models.sagan.samples import draw_from_noise, parse_noise_run
from options.schema import OptionError, arg
from util.exit_code import run_command
from util.run.engine import start_engine


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(SampleOptions):
    """What is drawn, and where it goes."""

    output: str = arg("", metavar="DIR", help="folder of the pictures (default: that of test.py)")

    def __post_init__(self) -> None:
        super().__post_init__()
        folder = Path(self.output)
        if self.output and folder.is_dir() and any(folder.iterdir()) and not (folder / "samples.json").is_file():
            raise OptionError(f"--output {self.output}: holds other files than samples; name a new folder")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed, 2 bad options, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("generate.py", argv, _run)


def _run(argv: list[str]) -> int:
    options = parse_noise_run("scripts/generate.py", argv, GenerateOptions, used=("phase",))
    return draw_from_noise(options, start_engine(**vars(options.engine)), options.test.output)


if __name__ == "__main__":
    sys.exit(main())
