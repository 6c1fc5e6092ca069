"""A trained run, opened: one way in for test.py, the commands of ``scripts/`` and notebooks.

from models.trained import load
run = load("facades")                  # checkpoints/facades, latest, on the CPU
run.model.set_input(batch); run.model.forward(); run.model.visuals()
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data import DATASETS
from models import MODELS
from models.base_model import BaseModel
from models.generators import Generator, generator_of
from options.parse import Options, parse_test
from util.files import drafted
from util.run.checkpoint import Checkpointer, checkpoint_tag
from util.run.engine import Engine, start_engine
from util.run.folder import check_name, is_training
from util.run.sides import SideFormat, read_sides

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """A run with its weights.

    Attributes:
        options: the run's saved options, with what was asked for on top.
        model: loaded, ready for ``set_input`` and ``forward``.
        folder: of its checkpoints.
        sides: domain -> how the training's files stored values; empty for runs of earlier versions.
    """

    options: Options
    model: BaseModel
    folder: Path
    sides: Mapping[str, SideFormat] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Which checkpoint was loaded: ``latest``, the number of an epoch, ``iter_<n>``, ``best_<metric>``."""
        return checkpoint_tag(self.options.run.epoch, self.options.run.load_iter)

    def generator(self, direction: str = "") -> Generator:
        """Its generator, see ``generator_of``."""
        return generator_of(self, direction)


def load(
    name: str,
    *,
    checkpoints_dir: str | Path = "./checkpoints",
    epoch: str | int = "latest",
    device: str = "cpu",
    flags: Sequence[str] = (),
) -> TrainedRun:
    """Open a trained run as ``python test.py --name NAME`` does.

    Args:
        name: of the run: its folder in ``checkpoints_dir``.
        checkpoints_dir: folder of all runs.
        epoch: ``latest``, the number of an epoch, or ``best_<metric>``.
        device: ``cpu``, ``cuda``, or ``cuda:<number>``.
        flags: more words for test.py, e.g. ``("--eval",)``.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
        ValueError: a bad option, or a checkpoint that is damaged or belongs to another network.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ValueError(f"device {device!r}: give cpu, cuda or cuda:<number>")
    gpu_ids = "-1" if kind == "cpu" else number or "0"
    words = ["--name", name, "--checkpoints_dir", str(checkpoints_dir), "--epoch", str(epoch), "--gpu_ids", gpu_ids]
    options = parse_test([*words, *flags], MODELS, DATASETS)
    return load_run(options, start_engine(**vars(options.engine)))


def load_run(options: Options, engine: Engine) -> TrainedRun:
    """The run that a command's options name, with the weights of ``--epoch`` or ``--load_iter``, as ``--eval`` says.

    Raises:
        FileNotFoundError, ValueError: as ``load``.
    """
    run, folder = options.run, folder_of(options)
    model = MODELS.get(run.model)(options.model, engine)
    checkpoints = Checkpointer(folder)
    if not is_training(folder):
        checkpoints.finish_save()
    tag = checkpoint_tag(run.epoch, run.load_iter)
    for name, net in model.networks.items():
        checkpoints.load_network(tag, model.weights_of(name), net, model.aliases[name])
        if run.verbose:
            logger.info("network %s\n%s", name, net)
    if model.test_reads_state:
        model.load_extra_state((checkpoints.load_state(tag) or {}).get("extra", {}))
    model.train(not options.result.eval)
    return TrainedRun(options, model, folder, read_sides(folder))


def folder_of(options: Options) -> Path:
    """The folder of the run that the options name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the name is not one of a run.
    """
    run = options.run
    check_name(run.name)
    folder = Path(run.checkpoints_dir) / run.name
    if not folder.is_dir():
        raise FileNotFoundError(f"--name {run.name}: {folder} does not exist; check --name and --checkpoints_dir")
    return folder


def result_folder(options: Options, what: str) -> Path:
    """Where results of the run go: ``<results_dir>/<name>/<what>_<epoch>``."""
    run = options.run
    place = f"{what}_{run.epoch}" + (f"_iter{run.load_iter}" if run.load_iter > 0 else "")
    return Path(options.result.results_dir) / run.name / place


@contextlib.contextmanager
def drafted_results(options: Options, output: str = "") -> Iterator[tuple[Path, Path]]:
    """The folder of the results, and a draft that takes the place of what is there once it is whole.

    Args:
        options: of the command.
        output: folder of the results, ``--output``; empty for ``result_folder`` of ``--phase``.
    """
    folder = Path(output) if output else result_folder(options, options.data.phase)
    with drafted(folder, f"--output {output}" if output else f"--results_dir {options.result.results_dir}") as draft:
        yield folder, draft
