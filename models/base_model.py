"""What every model has: networks, optimizers, their books, and one training step's mechanics."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.averages import averaged_copy, decay_after, update_average
from models.losses.gan import GANLoss
from models.losses.masked import masked_l1
from models.micro_batches import Turns, count_of, parts_of, split
from models.networks.factory import build_discriminator, build_generator, check_image_size
from models.networks.inference import InferenceModule, no_direction
from models.networks.init import init_weights
from options.base_options import ModelOptions, OneWayOptions
from options.schema import specs
from util.images.pool import ImagePool
from util.loggers.base import Logger
from util.run import distributed
from util.run.checkpoint import AVERAGE
from util.run.engine import Engine
from util.run.gradients import GradientAverage
from util.types import PAIRED_VISUALS, Batch, Losses, Visual, Visuals

logger = logging.getLogger(__name__)

Step = tuple[Tensor, Mapping[str, Tensor]]
"""What a step's closure returns: the loss to differentiate, and the losses to report."""


Criterion = TypeVar("Criterion", bound=nn.Module)


class BaseModel(ABC):
    """A recipe: how networks are built, fed and trained.

    Two life cycles. Inference: construct, load, ``set_input``, ``forward``, ``visuals``. Training adds
    ``setup_training`` once, ``begin_epoch`` once per epoch, and ``train_on`` for every batch, which calls ``set_input``
    and ``optimize_parameters``.

    Class attributes a model sets:
        Options: its options, a frozen dataclass derived from ``ModelOptions``.
        dataset_mode: the default of ``--dataset_mode``.
        needs: what training reads from a batch: ``A``, ``B``, ``image``, ``label``; ``pairs`` if A and B must belong
            together, ``one_size`` if the size of the first image is that of all. A model without ``A`` draws from
            noise: its tests read no data.
        visual_kinds: visual -> what it is. Only those that differ from ``PAIRED_VISUALS``.

    Attributes:
        loss_names: names of the losses that ``optimize_parameters`` reports, in the published order.
        networks: checkpoint name -> bare module; the files are ``<tag>_net_<name>.pth``.
        averages: in training with ``--ema_decay``, ``<name>_ema`` -> moving average of a network; saved as these are.
        aliases: network -> other names that its file may have in published checkpoints.
        optimizers: name -> optimizer.
        scalers: optimizer -> loss scaler, with ``--precision fp16``.
        gradient_averages: optimizer -> what averages its gradients over the processes; empty alone.
        pools: name -> history of fakes.
        class_names: of data with classes; set from outside, for captions.
    """

    Options: ClassVar[type[ModelOptions]] = ModelOptions
    dataset_mode: ClassVar[str] = "unaligned"
    needs: ClassVar[tuple[str, ...]] = ("A", "B")
    visual_kinds: ClassVar[Mapping[str, Visual]] = PAIRED_VISUALS

    def __init__(self, options: ModelOptions, engine: Engine) -> None:
        self.options, self.engine = options, engine
        self.loss_names: tuple[str, ...] = ()
        self.networks: dict[str, nn.Module] = {}
        self.averages: dict[str, nn.Module] = {}
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.scalers: dict[str, torch.amp.GradScaler] = {}
        self.pools: dict[str, ImagePool] = {}
        self.gradient_averages: dict[str, GradientAverage] = {}
        self.class_names: tuple[str, ...] = ()
        self.share = 1.0 / engine.world.size
        self.batch_size = 0  # images of this process's part of the batch
        self.masks: dict[str, Tensor] = {}  # side -> [N, 1, H, W], 0 where pixels are missing; only with --nodata
        self._present: dict[str, Tensor] = {}  # side -> mean of its masks in all processes
        self._criteria: list[nn.Module] = []
        self._turns: Turns | None = None  # during a step of several micro-batches

    # -- what a model implements ---------------------------------------------------------------------------------

    def set_input(self, batch: Batch) -> None:
        """Take a batch (``util.types.Batch``) to the device: ``self.real``, side -> ``[N, C, H, W]``."""
        self.real = self.take(batch)

    @abstractmethod
    def forward(self) -> None:
        """Run the generators on the input."""

    @abstractmethod
    def visuals(self) -> Visuals:
        """The pictures of the last ``forward``, in the published order: ``[N, C, H, W]`` float32 in ``[-1, 1]``.

        Return ``pictures({...})``, which leaves out what is None. Names that are not those of ``PAIRED_VISUALS`` are
        declared in ``visual_kinds``.
        """

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """What inference computes in one direction, as a module that shares the model's weights and can be exported.

        Args:
            direction: ``AtoB`` or ``BtoA``, of the model: A is its input, whatever ``--direction`` of the data says.
            maps: with what there is beside the translation.

        Raises:
            ValueError: the model has no generator of this direction.
        """
        raise no_direction(direction, type(self).__name__)

    def extras(self) -> dict[str, NDArray[Any]]:
        """What there is beside the visuals.

        Returns:
            name -> float ``[N, H, W, C]``, numbers of the last ``forward`` that a test saves as ``.npy``; or uint8
            ``[H, W, 3]``, a picture of many samples that a training shows.
        """
        return {}

    def setup_training(self, dataset_size: int) -> None:
        """Build what only training needs. ``dataset_size`` is the number of images in an epoch.

        Raises:
            ValueError: the model is for inference only.
        """
        raise ValueError(f"{type(self).__name__}: it is for test.py only and cannot be trained")

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch (counted from 1), or of the rest of a resumed one."""

    def diagnostics(self) -> dict[str, float]:
        """Numbers of the epoch beside the losses' means, for the logs. Called once at its end, in every process."""
        return {}

    def loggers(self, run_folder: Path) -> list[Logger]:
        """Loggers of this model alone, in every process, for a training in ``run_folder``."""
        return []

    @property
    def draws_at_test(self) -> bool:
        """True if inference samples noise other than dropout."""
        return False

    @property
    def test_reads_state(self) -> bool:
        """True if inference reads the checkpoint's extra state too, by ``load_extra_state``."""
        return False

    def optimize_parameters(self) -> Losses:
        """One training step on the current input: published loss name -> detached 0-dim tensor on the device."""
        raise ValueError(f"{type(self).__name__}: it is for test.py only and cannot be trained")

    def averaged(self) -> tuple[str, ...]:
        """The networks that ``--ema_decay`` averages: all but discriminators, whose names begin with D."""
        return tuple(name for name in self.networks if not name.startswith("D"))

    def batch_holders(self) -> Mapping[Any, Collection[str]]:
        """Other objects that know of the current batch -> the names of their attributes that do."""
        return {}

    def micro_batches(self, batch: Batch) -> list[tuple[Batch, float]]:
        """The ``--accum_grad`` parts of a training batch that ``set_input`` gets one by one, and their weights."""
        world = self.engine.world
        return split(batch, parts_of(batch, self.options.accum_grad, count_of(batch), world.size))

    def extra_state(self) -> dict[str, Any]:
        """Training state beyond networks and optimizers (tensors and primitives only). Every process must call it."""
        return {name: self.engine.gather(pool.state()) for name, pool in self.pools.items()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned; a test with ``test_reads_state`` calls it too.

        Raises:
            ValueError: it belongs to another model or to other flags.
        """
        rank = self.engine.world.rank
        for name, pool in self.pools.items():
            if rank < len(state[name]):  # with more processes than before, the new ones start with an empty history
                pool.load_state(state[name][rank])

    # -- what models call ----------------------------------------------------------------------------------------

    def make_G(self, input_nc: int, output_nc: int) -> nn.Module:
        """A generator as ``--netG``, ``--ngf``, ``--norm`` and the dropout flags say."""
        o = self.options
        dropout = 0.0 if o.no_dropout else o.dropout
        return build_generator(o.netG, input_nc, output_nc, ngf=o.ngf, norm=o.norm, dropout=dropout)

    def make_D(self, input_nc: int, *, condition_nc: int = 0, features: bool = False) -> nn.Module:
        """A discriminator as ``--netD`` and its flags say; see ``build_discriminator``."""
        o = self.options
        shape = {"ndf": o.ndf, "n_layers_D": o.n_layers_D, "norm": o.norm, "num_D": o.num_D}
        return build_discriminator(
            o.netD, input_nc, norm_D=o.norm_D, condition_nc=condition_nc, features=features, **shape
        )

    def add_network(self, name: str, net: nn.Module, *, aliases: tuple[str, ...] = ()) -> nn.Module:
        """Initialise a network by ``--init_type``, prepare it for the engine, and register it.

        Args:
            name: of its file, ``<tag>_net_<name>.pth``.
            net: on any device.
            aliases: other names that its file may have in published checkpoints.
        """
        init_weights(net, self.options.init_type, self.options.init_gain)
        net = self.engine.prepare(net)
        self.networks[name] = net
        self.aliases[name] = aliases
        return net

    def add_pool(self, name: str) -> ImagePool:
        """A history of ``--pool_size`` fakes, saved and restored with the run under this name."""
        self.pools[name] = ImagePool(self.options.pool_size, self.engine.rng(name))
        return self.pools[name]

    def add_criterion(self, loss: Criterion) -> Criterion:
        """Prepare a loss that has a frozen network for the engine; images too small for it are refused.

        It is neither trained nor saved.
        """
        self.engine.prepare(loss)
        self._criteria.append(loss)
        return loss

    def add_optimizer(self, name: str, parameters: Iterable[nn.Parameter], **settings: Any) -> None:
        """Register an Adam optimizer (``lr``, ``betas``, ``weight_decay``...) over the parameters."""
        owned = list(parameters)
        optimizer = self.engine.adam(owned, **settings)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.optimizers[name] = optimizer
        average = self.engine.gradient_average(owned)
        if average is not None:
            self.gradient_averages[name] = average
        scaler = self.engine.grad_scaler()
        if scaler is not None:
            self.scalers[name] = scaler

    def take(self, batch: Batch, sides: Sequence[str] = ("A", "B"), *, required: int = 1) -> dict[str, Tensor]:
        """Move the images of a batch to the device, and note the batch's size, its share and its masks.

        Args:
            batch: of the loader.
            sides: its keys.
            required: how many of the sides, from the first on, must be there; a test may have no targets.

        Returns:
            side -> ``[N, C, H, W]`` for those that are there. With ``--test_direction BtoA`` the images of the only
            folder are those of B.

        Raises:
            ValueError: the batch lacks a side, or a network cannot work at the images' size; the message says which
                multiple it needs.
        """
        if missing := [side for side in sides[:required] if side not in batch]:
            raise ValueError(
                f"--dataset_mode: these data have no side {missing[0]}, and {type(self).__name__} cannot do without; "
                f"use --dataset_mode {self.dataset_mode}"
            )
        one_way = isinstance(self.options, OneWayOptions) and self.options.test_direction != "both"
        direction = self.options.test_direction if isinstance(self.options, OneWayOptions) and one_way else ""
        if direction and "B" in batch:
            raise ValueError(
                f"--test_direction {direction}: it reads one folder; add --dataset_mode single "
                f"--phase test{direction[0]}"
            )
        taken = {side: self.engine.to_device(batch[side]) for side in sides if side in batch}
        self.masks = {side: self.engine.to_device(batch[f"{side}_mask"]) for side in taken if f"{side}_mask" in batch}
        self._present = {}
        self.batch_size = next(iter(taken.values())).shape[0]
        self.share = float(batch.get("share", 1.0 / self.engine.world.size))
        for side, images in taken.items():
            paths = batch.get(f"{side}_paths")
            self.check_size(*images.shape[-2:], what=f"{paths[0]} at" if paths else "images of")
        return {direction[0]: taken["A"]} if direction else taken

    def masked_l1(self, made: Tensor, target: Tensor, side: str) -> Tensor:
        """Mean absolute difference of two ``[N, C, H, W]`` in float32 or wider, without the missing pixels of a side.

        Of several processes each weighs what it has, so that the mean over them is that over all of their pixels;
        every process must call it.
        """
        return masked_l1(made, target, self.masks.get(side), self.present(side))

    def present(self, side: str) -> Tensor | None:
        """Share of the pixels of a side that are there, over all processes, 0-dim; None without ``--nodata``."""
        # Micro-batches share that of their whole batch: each weighs what it has, and the processes wait once per step.
        known = self._turns.present if self._turns else self._present
        if side in self.masks and side not in known:
            # Not in ``take``: a model that evaluates in one process alone must wait for no other.
            mask = self._turns.batch[f"{side}_mask"].to(self.engine.device) if self._turns else self.masks[side]
            known[side] = distributed.sum_over_processes(mask.mean() * self.share)
        return known.get(side)

    def make_GAN_loss(self) -> GANLoss:
        """The adversarial loss of ``--gan_mode``; says that nothing bounds a critic of ``wgan``.

        Raises:
            ValueError: ``wgangp`` where D cannot be differentiated twice.
        """
        loss = GANLoss(self.options.gan_mode)
        if loss.mode == "wgan":
            logger.warning(
                "--gan_mode %s: nothing bounds the critic, as published; wgangp has a penalty", self.options.gan_mode
            )
        if loss.mode == "wgangp":
            self._check_second_derivatives()
        return loss

    def _check_second_derivatives(self) -> None:
        """Refuse ``--gan_mode wgangp`` where D cannot be differentiated twice.

        Raises:
            ValueError: naming the flags.
        """
        if self.engine.compile:
            raise ValueError("--gan_mode wgangp: a compiled network has no second derivative; leave out --compile")
        norm = self.options.norm_D or self.options.norm
        if self.engine.world.size > 1 and self.engine.device.type == "cuda" and norm == "batch":
            raise ValueError(
                "--gan_mode wgangp on several GPUs: batch norm there has no second derivative; use --norm_D instance"
            )

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """Refuse images that a network cannot work on.

        Args:
            height: of the images, in pixels.
            width: of the images, in pixels.
            what: the flag or file that the size comes from.

        Raises:
            ValueError: with the multiple or minimum that the network needs.
        """
        for net in (*self.networks.values(), *self._criteria):
            check_image_size(net, height, width, flag=what)

    def update(self, name: str, *closures: Callable[[], Step], weights: Sequence[float] = (1.0,)) -> Losses:
        """One step of one optimizer.

        Everything the optimizer does not own is frozen while a closure runs (under autocast), so that, for example,
        D gets no gradients from G's step. Gradients are averaged over the processes.

        Args:
            name: which optimizer.
            closures: each returns the loss to differentiate and the losses to report. Several are micro-batches: one
                is differentiated before the next runs, and the gradients add up.
            weights: of the closures; their sum is 1.

        Returns:
            the reported losses, detached; of several closures the weighted means.
        """
        losses = self._differentiate(name, closures, weights)
        self._step(name)
        return losses

    def update_together(self, closures: Mapping[str, Callable[[], Step]]) -> Losses:
        """One step of several optimizers, none of which sees the other's: all losses are of the networks as they were.

        With several processes the gradients of one travel while those of the next are computed.

        Args:
            closures: optimizer -> its closure, as for ``update``; they run in this order.

        Returns:
            the reported losses, detached.
        """
        losses: Losses = {}
        for name, closure in closures.items():
            losses |= self._differentiate(name, (closure,), (1.0,))
        for name in closures:
            self._step(name)
        return losses

    def prepare_step(self, work: Callable[[], None]) -> None:
        """Do what the closures of this step share, such as making the fakes.

        With several micro-batches it is done before each closure of each, with the same random numbers, so that one
        of them has a graph at a time.
        """
        if self._turns:
            self._turns.prepare = work
        else:
            work()

    def turns(self) -> Iterator[None]:
        """Once for every micro-batch of the step: with ``for _ in self.turns()`` attributes are those of each."""
        if self._turns:
            yield from self._turns
        else:
            yield

    def _differentiate(self, name: str, closures: Sequence[Callable[[], Step]], weights: Sequence[float]) -> Losses:
        """The gradients of one optimizer; with several processes they are on their way when it returns."""
        if self._turns:
            closures, weights = self._turns.spread(closures, weights)
        optimizer = self.optimizers[name]
        own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for net in self.networks.values():
            for parameter in net.parameters():
                parameter.requires_grad_(id(parameter) in own)
        optimizer.zero_grad(set_to_none=True)
        scaler, average = self.scalers.get(name), self.gradient_averages.get(name)
        factor = self.share * self.engine.world.size if self.engine.world.size > 1 else 1.0
        found: list[Mapping[str, Tensor]] = []
        for number, (closure, weight) in enumerate(zip(closures, weights, strict=True), start=1):
            with self.engine.autocast():
                loss, reported = closure()
            if factor * weight != 1.0:
                loss = loss * (factor * weight)
            with average.sending() if average and number == len(closures) else contextlib.nullcontext():
                (loss if scaler is None else scaler.scale(loss)).backward()
            found.append({key: value.detach() for key, value in reported.items()})
        if len(found) == 1:
            return dict(found[0])
        return {key: sum((each[key] * w for each, w in zip(found, weights)), torch.zeros(())) for key in found[0]}

    def _step(self, name: str) -> None:
        optimizer, scaler, average = self.optimizers[name], self.scalers.get(name), self.gradient_averages.get(name)
        if average:
            average.receive()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:  # not reached by this loss: for weight decay
                    parameter.grad = torch.zeros_like(parameter)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad(set_to_none=True)  # the next forward pass needs the memory

    # -- what the loop and the checkpoints call ------------------------------------------------------------------

    def start_averages(self) -> None:
        """Begin the moving averages of ``--ema_decay``, after ``setup_training``."""
        for name in self.averaged() if self.options.ema_decay else ():
            self.averages[name + AVERAGE] = averaged_copy(self.networks[name])

    def update_averages(self, steps: int) -> None:
        """Take over this step's weights; ``steps`` of the run are done."""
        for name, average in self.averages.items():
            source = self.networks[name.removesuffix(AVERAGE)]
            update_average(average, source, decay_after(steps, self.options.ema_decay))

    @property
    def saved_networks(self) -> dict[str, nn.Module]:
        """What a checkpoint holds: the networks and their averages."""
        return {**self.networks, **self.averages}

    def weights_of(self, name: str) -> str:
        """The saved network whose weights inference gives to this one: its average, where there is one."""
        average = self.options.ema_decay > 0 and not self.options.use_raw and name in self.averaged()
        return name + AVERAGE if average else name

    def weights_loaded(self, test: Any) -> None:
        """Prepare for a test, the weights being loaded.

        Args:
            test: options that only tests of the model have, or those of the command; see ``ModelOptions.in_tests``.
        """

    def train_on(self, batch: Batch) -> Losses:
        """One training step on a batch of the loader, of ``--batch_size * --accum_grad`` images (over all processes).

        Returns:
            as ``optimize_parameters``. ``visuals`` show the first micro-batch.
        """
        parts = self.micro_batches(batch)
        if len(parts) == 1:
            self.set_input(batch)
            return self.optimize_parameters()
        self._turns = Turns(self, batch, parts, self.engine.device)
        try:
            losses = self.optimize_parameters()
            self._turns.back_to_first()
        finally:
            self._turns = None
        return losses

    def train(self, mode: bool = True) -> None:
        """Training mode of all networks (dropout, batch statistics) on or off."""
        for net in self.networks.values():
            net.train(mode)


def pictures(images: Mapping[str, Tensor | None]) -> Visuals:
    """The images that are there, detached and in float32, for ``visuals``."""
    return {name: image.detach().float() for name, image in images.items() if image is not None}


def can_train(model_class: type[BaseModel]) -> bool:
    """False for a model that is for inference only."""
    return model_class.setup_training is not BaseModel.setup_training


def draws_from_noise(model_class: type[BaseModel]) -> bool:
    """True if a model makes its images from noise alone, so that its tests read no data."""
    return "A" not in model_class.needs


def without_effect(model_class: type[BaseModel]) -> set[str]:
    """Shared options that have no effect on this model."""
    uses = model_class.Options.uses
    unused = specs(ModelOptions).keys() - uses if uses else set()
    return unused | ({"direction"} if draws_from_noise(model_class) else set())
