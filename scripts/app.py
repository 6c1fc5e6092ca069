"""The app: paint label maps, translate pictures, draw classes, in the browser, with runs that you trained.

Usage:
    python scripts/app.py --name RUN [--name RUN2 ...]
    python scripts/app.py --name RUN --host 0.0.0.0 --auth user:password
Then open the address that it prints. docs/app.md describes the page and its HTTP endpoints.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typing import Any

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from options.parse import gathered, parse_record
from options.schema import OptionError, OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.packages import needs

logger = logging.getLogger("app")

_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class AppOptions(OptionRecord):
    """Which runs the app has, who may use it, and how much."""

    name: tuple[str, ...] = arg((), required=True, several=True, help="runs: folders in --checkpoints_dir")
    checkpoints_dir: str = arg("./checkpoints", help="folder of all runs")
    epoch: str = arg("latest", help="checkpoint of every run: latest, the number of an epoch, or best_<metric>")
    gpu_ids: str = arg("", help="GPU of the networks; -1 = CPU (default: the first GPU, else CPU)")
    eval: bool = arg(False, help="dropout off and running statistics of batch norm, as test.py --eval")
    palette: tuple[Path, ...] = arg(
        (), several=True, metavar="FILE", help="further palettes for label maps: JSON files of class names and colours"
    )
    host: str = arg("127.0.0.1", help="address to listen on; another one than 127.0.0.1 needs --auth or --no_auth")
    port: int = arg(7860, minimum=1, maximum=65535, help="port to listen on")
    auth: str = arg("", metavar="USER:PASSWORD", help="ask visitors for this name and password")
    no_auth: bool = arg(False, help="let everybody in who reaches --host")
    max_models: int = arg(2, minimum=1, maximum=1000, help="runs with their weights in memory at a time")
    max_pixels: int = arg(4_000_000, minimum=1024, help="largest uploaded picture: width times height")
    max_mb: float = arg(20.0, minimum=0.01, maximum=2000.0, help="largest uploaded file, in megabytes")

    def __post_init__(self) -> None:
        user, _, password = self.auth.partition(":")
        if self.auth and not (user and password):
            raise OptionError("--auth: write a name, a colon and a password, as user:password")
        if self.auth and self.no_auth:
            raise OptionError("--auth and --no_auth together: give one")
        if self.host not in _LOCAL and not self.auth and not self.no_auth:
            raise OptionError(
                f"--host {self.host}: others can reach the app there; give --auth user:password, or --no_auth"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the app until Ctrl-C.

    Args:
        argv: words of the command line without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed, 2 bad options or a package that is missing.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks its own server whether it is there
    return run_command("app.py", argv, _run)


def _run(argv: list[str]) -> int:
    options = parse_record("scripts/app.py", AppOptions, gathered(argv, "--name"), __doc__)
    with needs("scripts/app.py needs", "gradio"):
        import gradio  # noqa: F401  (what follows imports it too)
    # After the options: torch and gradio take seconds to import.
    from scripts.apps.actions import Actions
    from scripts.apps.palettes import BUILT_IN, read_palette
    from scripts.apps.runs import Runs
    from scripts.apps.server import build_page, serve, temporary_folder
    from scripts.apps.uploads import Limits

    flags = ["--checkpoints_dir", options.checkpoints_dir, "--epoch", options.epoch, *["--eval"] * options.eval]
    flags += ["--gpu_ids", options.gpu_ids] if options.gpu_ids else []
    runs = Runs(options.name, flags, options.max_models)
    own = {file.stem: read_palette(file) for file in options.palette}
    with temporary_folder() as folder:
        limits = Limits(options.max_pixels, options.max_mb)
        actions = Actions(runs, limits, folder, {**BUILT_IN, **own})
        page = build_page(actions)
        user, _, password = options.auth.partition(":")
        login = (user, password) if options.auth else None
        try:
            address = serve(page, actions, host=options.host, port=options.port, auth=login)
        except OSError as error:
            raise ValueError(f"--port {options.port}: {error}; give another one") from None
        logger.info("%s: %s (Ctrl-C ends it)", ", ".join(runs.facts), address)
        _wait(page)
    return EXIT_DONE


def _wait(page: Any) -> None:
    """Until Ctrl-C, or the signal by which a system ends its services; then the temporary files go."""
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    try:
        while not end.wait(1):
            pass
    except KeyboardInterrupt:
        logger.info("ended by Ctrl-C")
    finally:
        page.close(verbose=False)


if __name__ == "__main__":
    sys.exit(main())
