"""Send a finished run to a visdom server: losses and metrics of its ``metrics.jsonl``, and the pictures of its epochs.

Usage:
    python -m visdom.server -bind_local
    python scripts/replay_visdom.py checkpoints/facades_pix2pix
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image
from tqdm import tqdm

from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import real_path
from util.loggers.html_log import epoch_image
from util.loggers.jsonl import FILE_NAME, ImageEvent, read_metrics
from util.loggers.visdom_log import MAX_POINTS, VisdomBoard
from util.metrics.measurement import scaled
from util.pages.charts import Curves
from util.types import EpochRecord, ScalarRecord
from util.wording import counted

MAX_PANELS = 40


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(OptionRecord):
    """Which run is sent where."""

    run_folder: Path = arg(Path(), positional=True, metavar="RUN_FOLDER", help="folder of the run: checkpoints/NAME")
    display_server: str = arg("http://localhost", help="address of the visdom server")
    display_port: int = arg(8097, help="port of the visdom server")
    display_env: str = arg("main", help="visdom environment")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when all was sent, 2 (and one line on standard error) when it could not be."""
    return run_command("replay_visdom.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/replay_visdom.py", ReplayOptions, words, __doc__)
    try:
        replay(args.run_folder, server=args.display_server, port=args.display_port, env=args.display_env)
    except (OSError, ImportError) as error:  # no folder, no server, no visdom: all for the user to put right
        raise ValueError(str(error)) from error
    return EXIT_DONE


def replay(run_folder: Path, *, server: str, port: int, env: str) -> None:
    """Draw the windows of a run on a server, as the training would have.

    The image panel keeps the last pictures of every epoch and has a slider over them; of more than 40 epochs, 40 evenly
    spread ones.

    Raises:
        FileNotFoundError: the folder or its ``metrics.jsonl`` is missing.
        ValueError: ``metrics.jsonl`` is damaged.
        ConnectionError: no server answers.
        ImportError: visdom does not import.
    """
    metrics = run_folder / FILE_NAME
    if not metrics.is_file():
        raise FileNotFoundError(f"{metrics} does not exist; give the folder of a run, such as checkpoints/NAME")
    losses, measured = Curves(MAX_POINTS), Curves(MAX_POINTS)
    epochs: dict[int, ImageEvent] = {}
    for record in read_metrics(metrics):
        if isinstance(record, ScalarRecord):
            losses.add(record.total_iters, record.losses)
        elif isinstance(record, EpochRecord):
            measured.add(record.total_iters, scaled(record.metrics))
        elif isinstance(record, ImageEvent):
            epochs[record.epoch] = record
    board = VisdomBoard(real_path(run_folder).name, server=server, port=port, env=env)
    board.connect()
    board.draw_losses(losses)
    board.draw_metrics(measured)
    board.clear_images()
    drawn = 0
    for event in tqdm(_spread(list(epochs.values()), MAX_PANELS), desc="epochs", leave=False, disable=None):
        images = _read_images(run_folder / "web" / "images", event)
        board.draw_images(images, headline=f"epoch {event.epoch}, {event.total_iters:,} images", history=True)
        drawn += bool(images)
    board.save()
    numbers = counted(len(losses), "loss", "losses") + (f", {counted(len(measured), 'metric')}" if measured else "")
    print(f"{numbers} and the pictures of {counted(drawn, 'epoch')} are at {board.address}/env/{env}")


def _read_images(folder: Path, event: ImageEvent) -> dict[str, np.ndarray]:
    files = {visual: folder / epoch_image(event.epoch, visual) for visual in event.visuals}
    images = {}
    for visual, file in files.items():
        if file.is_file():
            with Image.open(file) as image:
                images[visual] = np.asarray(image.convert("RGB"))
    return images


def _spread(events: list[ImageEvent], limit: int) -> list[ImageEvent]:
    if len(events) <= limit:
        return events
    return [events[round(index * (len(events) - 1) / (limit - 1))] for index in range(limit)]


if __name__ == "__main__":
    sys.exit(main())
