"""Weights & Biases: the run on wandb.ai, or in local files with ``WANDB_MODE=offline``."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from options.schema import arg
from util.loggers import LOGGERS
from util.loggers.base import RunLog
from util.loggers.live import Event, LiveLogger
from util.types import ImageRecord, ScalarRecord

ADVICE = "Log in by `wandb login`, write local files by WANDB_MODE=offline, or leave out --use_wandb."

_ID_FILE = "wandb_id.txt"


@dataclass(frozen=True, kw_only=True)
class WandbOptions:
    """Weights & Biases."""

    use_wandb: bool = arg(False, help="also log to Weights & Biases")
    wandb_project_name: str = arg("image-to-image-gans", help="project on Weights & Biases")


@LOGGERS.register("wandb")
class WandbLogger(LiveLogger):
    """Sends losses (``loss/*``), epoch means (``epoch/*``), metrics in their own units (``metric/*``), speed and
    visuals to Weights & Biases.

    Everything from the connection on happens off the training thread; a failure costs one warning. The run's id is kept
    in ``wandb_id.txt``, so that a resumed run goes on in the same chart.

    Args:
        run_dir: folder of the run; it exists.
        name: name of the experiment.
        project: ``--wandb_project_name``.
        resume_iters: None starts a new run.
        options: the run's options, shown as its configuration.

    Raises:
        ValueError: the package is missing.
    """

    Options = WandbOptions

    def __init__(
        self,
        run_dir: Path,
        name: str,
        *,
        project: str,
        resume_iters: int | None = None,
        options: Mapping[str, object] | None = None,
        **live: Any,
    ) -> None:
        super().__init__(ADVICE, **{"close_seconds": 30.0, "capacity": 4096, **live})
        try:
            self._wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise ValueError(
                f"--use_wandb: the package does not import ({error}); install it by `pip install wandb`"
            ) from None
        self._run_dir = run_dir
        self._resume = resume_iters is not None
        self._settings = {"project": project, "name": name, "config": _plain(options or {}), "dir": str(run_dir)}
        self._run: Any = None

    @classmethod
    def open(cls, run: RunLog, options: WandbOptions) -> WandbLogger | None:
        if not options.use_wandb:
            return None
        project = options.wandb_project_name
        return cls(run.folder, run.name, project=project, resume_iters=run.resume_iters, options=run.options)

    def deliver(self, events: list[Event], send: bool) -> None:
        if not send:
            return
        if self._run is None:
            self._run = self._start()
        for event in events:
            self._run.log({"total_iters": event.total_iters, "epoch": event.epoch, **self._fields(event)})

    def finish(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _start(self) -> Any:
        online = os.environ.get("WANDB_MODE", "online") not in ("offline", "disabled", "dryrun")
        if online and not _has_key(self._wandb):
            raise ConnectionError("Weights & Biases knows no key of this user")  # init would ask at the keyboard
        id_file = self._run_dir / _ID_FILE
        known = id_file.read_text(encoding="utf-8").strip() if self._resume and id_file.exists() else ""
        ways = {"id": known, "resume": "allow"} if known and online else {}
        # console off: wandb would put its own stream in the place of the one that the progress bar draws on
        run = self._wandb.init(**self._settings, **ways, settings=self._wandb.Settings(console="off"))
        id_file.write_text(f"{run.id}\n", encoding="utf-8")
        run.define_metric("total_iters")
        run.define_metric("*", step_metric="total_iters")
        return run

    def _fields(self, event: Event) -> dict[str, Any]:
        if isinstance(event, ImageRecord):
            image = self._wandb.Image
            return {
                f"visuals/{name}": image(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
                for name, pixels in event.images.items()
            }
        if isinstance(event, ScalarRecord):
            fields: dict[str, Any] = {f"loss/{name}": value for name, value in event.losses.items()}
            speed = {"images_per_s": event.images_per_s, "data_wait": event.data_wait, "memory_mb": event.memory_mb}
            return {**fields, "lr": event.lr, **speed}
        means = {f"epoch/{name}": value for name, value in event.means.items()}
        metrics = {f"metric/{name}": value for name, value in event.metrics.items()}
        return {**means, "epoch/seconds": event.seconds, **metrics}


def _has_key(wandb: Any) -> bool:
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False))
    return bool(wandb.api.api_key)  # releases whose login always asks


def _plain(options: Mapping[str, object]) -> dict[str, object]:
    kinds = (str, int, float, bool, type(None))
    return {name: value if isinstance(value, kinds) else str(value) for name, value in options.items()}
