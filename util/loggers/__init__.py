"""Loggers: passive sinks of what happens in a run, and the group of those that a run asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from util.loggers.base import Logger, LoggerGroup
from util.loggers.console import ConsoleLogger
from util.loggers.csv_log import CsvLogger
from util.loggers.html_log import HtmlLogger
from util.loggers.jsonl import FILE_NAME as METRICS
from util.loggers.jsonl import ImageEvent, JsonlLogger, read_metrics
from util.loggers.loss_log import LossLogger
from util.loggers.tensorboard_log import TensorboardLogger
from util.loggers.visdom_log import VisdomBoard, VisdomLogger
from util.loggers.wandb_log import WandbLogger
from util.types import EpochRecord, ScalarRecord

__all__ = ["Logger", "LoggerGroup", "build_loggers"]


def build_loggers(
    run_dir: str | os.PathLike[str],
    *,
    name: str,
    resume_iters: int | None,
    options: Mapping[str, object],
    console: bool = True,
    html: bool = True,
    display_winsize: int = 256,
    display_id: int = 1,
    display_server: str = "http://localhost",
    display_port: int = 8097,
    display_env: str = "main",
    display_ncols: int = 4,
    use_tensorboard: bool = False,
    use_wandb: bool = False,
    wandb_project_name: str = "image-to-image-gans",
    update_html_freq: int = 1000,
) -> LoggerGroup:
    """Open the loggers of a run.

    Each has its own switch; ``loss_log.txt``, ``loss_log.csv`` and ``metrics.jsonl`` are always written. Log an event
    before the checkpoint of the same place is saved: what the files hold up to ``resume_iters`` is then exactly what
    the resumed run does not log again.

    Args:
        run_dir: folder of the run; made when missing.
        name: name of the experiment, for titles.
        resume_iters: None starts new files; else the ``total_iters`` of the checkpoint from which the run goes on: what
            the files hold beyond it is dropped.
        options: the run's options, shown on the page and on Weights & Biases.
        console: bar or lines on standard error.
        html: the page ``web/index.html``.
        display_winsize: width of the page's pictures in pixels.
        display_id: id of visdom's first window; 0 or less turns visdom off.
        display_server: visdom's server, ``http://host``.
        display_port: its port.
        display_env: visdom's environment.
        display_ncols: images in a row of visdom's panel; 0 for a window an image.
        use_tensorboard: event files.
        use_wandb: Weights & Biases.
        wandb_project_name: its project.
        update_html_freq: images between two drawings of the page's pictures.

    Raises:
        ValueError: a package that a flag asks for is missing, or a file of the run that goes on is spoilt.
        OSError: a file cannot be written.
    """
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    old_metrics = resume_iters is not None and (folder / METRICS).exists()
    loggers: list[Logger] = [JsonlLogger(folder, resume_iters)]
    past = [r for r in read_metrics(folder / METRICS) if not isinstance(r, ImageEvent)] if old_metrics else []
    loggers += [LossLogger(folder, _resume_place(resume_iters, past)), CsvLogger(folder, resume_iters)]
    if html:
        loggers.append(
            HtmlLogger(
                folder,
                name,
                resume_iters=resume_iters,
                options=options,
                display_winsize=display_winsize,
                update_html_freq=update_html_freq,
            )
        )
    if use_tensorboard:
        loggers.append(TensorboardLogger(folder, resume_iters))
    if use_wandb:
        project = wandb_project_name
        loggers.append(WandbLogger(folder, name, project=project, resume_iters=resume_iters, options=options))
    if display_id > 0:
        board = VisdomBoard(
            name,
            server=display_server,
            port=display_port,
            env=display_env,
            display_id=display_id,
            ncols=display_ncols,
        )
        loggers.append(VisdomLogger(board, history=past))
    if console:
        loggers.append(ConsoleLogger())
    return LoggerGroup(loggers)


def _resume_place(resume_iters: int | None, past: list[ScalarRecord | EpochRecord]) -> tuple[int, int] | None:
    if resume_iters is None:
        return None
    places = ((record.epoch, record.epoch_iter) for record in reversed(past) if isinstance(record, ScalarRecord))
    return next(places, (0, 0))
