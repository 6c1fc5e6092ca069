"""A job that torchrun has started again, after a process of it died: it goes on from its own last checkpoint."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

MARKER = "save.commit"
"""There while a checkpoint is being moved into its place (``util.run.checkpoint``); here, where no torch is needed."""


@dataclass(frozen=True)
class Job:
    """A job of ``torchrun``, whose processes it may start several times.

    Attributes:
        run_id: ``--rdzv_id``; of ``--standalone`` a random one; empty where there is none.
        agent: machine and process number of the launcher.
        began: seconds since 1970; 0 if it has just begun.
    """

    run_id: str
    agent: str
    began: float

    def __str__(self) -> str:
        return f"{self.run_id or 'none'} {self.agent} {self.began:.3f}"

    def same_as(self, other: Job) -> bool:
        """Whether ``other`` is this job, started before: by the same launcher, or, where that is another because the
        machine is, by the id of a job that counts its restarts."""
        counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
        again = any(int(os.environ.get(name, "0")) > 0 for name in counts)
        return self.agent == other.agent or (again and self.run_id != "" and self.run_id == other.run_id)


def this_job() -> Job | None:
    """The job that this process belongs to; None without torchrun."""
    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id is None:
        return None
    agent = f"{socket.gethostname()}:{os.getppid()}"
    return Job("" if run_id == "none" else "-".join(run_id.split()), agent, 0.0)


def read_job(text: str) -> Job | None:
    """The job from what ``str`` made of it; None if it is no such text."""
    try:
        run_id, agent, began = text.split()
        return Job("" if run_id == "none" else run_id, agent, float(began))
    except ValueError:
        return None


def restart_flags(job: Job, before: Job | None, folder: Path, *, continue_train: bool) -> list[str]:
    """What a job's command line needs in addition when the job is started again.

    Args:
        job: this process's.
        before: the last one that trained in the folder.
        folder: of the run.
        continue_train: of the command line.

    Returns:
        nothing for a first start. Else the flags to go on with the newest checkpoint that the job has saved; if there
        is none yet, those to start over what the job itself has begun.
    """
    if before is None or not job.same_as(before):
        return []
    saved = {file.name.removesuffix("_state.pth"): file.stat().st_mtime for file in folder.glob("*_state.pth")}
    own = {tag: seconds for tag, seconds in saved.items() if seconds >= before.began}
    if not own and not (folder / MARKER).exists():
        return [] if continue_train else ["--overwrite", "True"]
    tag = max(own, key=lambda each: (own[each], each == "latest")) if own else "latest"
    which = ["--load_iter", tag[5:]] if tag.startswith("iter_") else ["--load_iter", "0", "--epoch", tag]
    return ["--continue_train", "True", "--overwrite", "False", *which]
