"""A trained run, opened: one way in for test.py, the commands of ``scripts/`` and notebooks.

from models.trained import load
run = load("facades")                  # checkpoints/facades, latest, on the CPU
image = run("photo.jpg")               # a Pillow image; arrays, tensors and lists come back as what they were
run.model.set_input(batch); run.model.forward(); run.model.visuals()
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from data import DATASETS
from models import MODELS
from models.base_model import BaseModel
from models.generators import Generator, generator_of, is_forward
from models.image_kinds import is_several, take
from models.networks.fast_conv import keep_prepared_weights
from models.networks.init import without_initialisation
from models.translation import TilePlan, Translator
from options.parse import Options, parse_test
from util.files import drafted
from util.run.checkpoint import Checkpointer, checkpoint_tag
from util.run.engine import Engine, start_engine
from util.run.folder import check_name, is_training
from util.run.sides import SideFormat, exchanged, read_sides

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
    _translators: dict[tuple[str, bool], Translator] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    @property
    def tag(self) -> str:
        """Which checkpoint was loaded: ``latest``, the number of an epoch, ``iter_<n>``, ``best_<metric>``."""
        return checkpoint_tag(self.options.run.epoch, self.options.run.load_iter)

    def generator(self, direction: str = "") -> Generator:
        """Its generator, see ``generator_of``."""
        return generator_of(self, direction)

    @property
    def module(self) -> torch.nn.Module:
        """The generator of the run's own direction: see ``models.generators.Generator`` for what goes in and out."""
        return self.generator().module

    def translator(self, direction: str = "", *, maps: bool = False, plan: TilePlan | None = None) -> Translator:
        """A generator with all that stands before and behind it.

        Args:
            direction: see ``generator_of``.
            maps: with the outputs beside the translation.
            plan: of tiles; None for the usual one.

        Raises:
            ValueError: the run has no generator of this direction, or none that reads images.
        """
        generator = generator_of(self, direction, maps=maps)
        options = self.options
        if "image" not in generator.inputs:
            raise ValueError(
                f"--name {options.run.name}: --model {options.run.model} makes images from noise and translates none; "
                "use scripts/generate.py"
            )
        return Translator(
            generator,
            options.data,
            self.model.engine,
            forward=is_forward(options, direction),
            remembered=remembered_sides(options, self.sides),
            seed=options.engine.seed,
            plan=plan or TilePlan(),
        )

    def __call__(self, image: Any, *, direction: str = "", seed: int | None = None, maps: bool = False) -> Any:
        """The translation of an image of any size, as what was given.

        Several threads may call it; where the run draws (dropout, noise) they take turns.

        Args:
            image: a path, a Pillow image, a NumPy array, a torch tensor (see ``models.image_kinds.take``), or a list
                of these.
            direction: ``AtoB`` or ``BtoA``; empty for the run's own.
            seed: of what is drawn; None for ``--seed`` of the run. The images of a list are numbered from 0.
            maps: return what there is beside the translation too.

        Returns:
            For a Pillow image one in the same size; for a path too, or an array ``[H, W, C]`` where Pillow cannot hold
            the numbers; for an array one as files of the target store values; for a tensor one in [-1, 1]. A list
            for a list. With ``maps`` a pair of that and a dict: name of a map -> float32 array ``[H, W]``, of a tensor
            ``[N, 1, H, W]``.

        Raises:
            TypeError: an image of another kind.
            ValueError, FileNotFoundError: it cannot be read or does not fit the run, or there is no such direction.
        """
        with self._lock:
            key = (direction, maps)
            if key not in self._translators:
                self._translators[key] = self.translator(direction, maps=maps)
            translator = self._translators[key]
        if is_several(image):
            return [self._translated(translator, each, place, seed, maps) for place, each in enumerate(image)]
        return self._translated(translator, image, 0, seed, maps)

    def _translated(self, translator: Translator, image: Any, place: int, seed: int | None, maps: bool) -> Any:
        taken = take(image, translator)
        if taken.ready is None:
            made, found = self._pass(translator, taken.images, place, seed)
            result = taken.give_back(made)
            found = {name: each.to(taken.images.device, copy=True) for name, each in found.items()}
            return (result, found) if maps else result
        ready = taken.ready
        grid = None if maps else translator.grid(*ready.size)
        if grid is not None:
            with self._lock:
                return taken.give_back(translator.tiled(ready, place, grid, seed=seed))
        made, found = self._pass(translator, translator.tensor(ready)[None], place, seed)
        result = taken.give_back(translator.stored(ready, made[0]))
        return (result, {name: each[0, 0].cpu().numpy() for name, each in found.items()}) if maps else result

    def _pass(
        self, translator: Translator, images: torch.Tensor, place: int, seed: int | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The translation of ``[N, C, H, W]``, and maps by name."""
        if not translator.draws:
            outputs = translator.translate(images, [])
        else:  # what is drawn is drawn by torch's generator, or by generators that the layers share
            with self._lock, torch.random.fork_rng(devices=[]):
                each = [translator.translate(images[n : n + 1], [place + n], seed=seed) for n in range(len(images))]
            outputs = tuple(torch.cat(parts) for parts in zip(*each))
        return outputs[0], dict(zip(translator.generator.outputs[1:], outputs[1:]))


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
    with without_initialisation():
        model = MODELS.get(run.model)(options.model, engine)
    checkpoints = Checkpointer(folder)
    if not is_training(folder):
        checkpoints.finish_save()
    tag = checkpoint_tag(run.epoch, run.load_iter)
    for name, net in model.networks.items():
        checkpoints.load_network(tag, model.weights_of(name), net, model.aliases[name], copy=engine.channels_last)
        keep_prepared_weights(net)
        if run.verbose:
            logger.info("network %s\n%s", name, net)
    if model.test_reads_state:
        model.load_extra_state((checkpoints.load_state(tag) or {}).get("extra", {}))
    model.weights_loaded(options.test)
    model.train(not options.result.eval)
    return TrainedRun(options, model, folder, read_sides(folder))


def remembered_sides(options: Options, sides: Mapping[str, SideFormat]) -> Mapping[str, SideFormat]:
    """What the training noted of the domains of what is loaded: exchanged for ``--model_suffix _B``."""
    return exchanged(sides) if str(options.values.get("model_suffix", "")).endswith("_B") else sides


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
