"""What every model has: networks, optimizers, their books, and one training step's mechanics."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.losses.gan import GANLoss
from models.networks.factory import build_discriminator, build_generator, check_image_size
from models.networks.init import init_weights
from options.base_options import ModelOptions
from options.schema import specs
from util.run.engine import Engine
from util.types import Batch, Losses, TrackedMaps, Visuals

logger = logging.getLogger(__name__)

Step = tuple[Tensor, Mapping[str, Tensor]]
"""What a step's closure returns: the loss to differentiate, and the losses to report."""


Criterion = TypeVar("Criterion", bound=nn.Module)


class BaseModel(ABC):
    """A recipe: how networks are built, fed and trained.

    Two life cycles. Inference: construct, load, ``set_input``, ``forward``, ``visuals``. Training adds
    ``setup_training`` once, ``begin_epoch`` once an epoch, and ``optimize_parameters`` for every batch.

    Class attributes a model sets:
        Options: its options, a frozen dataclass derived from ``ModelOptions``.
        dataset_mode: the default of ``--dataset_mode``.
        option_defaults: other options' defaults that this model changes, e.g. ``{"crop_size": 128}``.
        uses: options of ``ModelOptions`` that this model makes something of; a warning names others that are given.
            Empty: all of them.
        TestOptions: options that only its tests have.
        draws_from_noise: whether it makes images from noise alone, so that a test reads no data.
        sides: what training reads from a batch.
        network_aliases: network -> other names that its file may have in published checkpoints.
        visuals_of_B: what of ``visuals`` a test names after the file of side B; all others after that of A.

    Attributes:
        loss_names: names of the losses that ``optimize_parameters`` reports, in the published order.
        networks: checkpoint name -> bare module; the files are ``<tag>_net_<name>.pth``.
        optimizers: name -> optimizer.
        class_names: of data with classes; set from outside, for captions.
    """

    Options: ClassVar[type[ModelOptions]] = ModelOptions
    dataset_mode: ClassVar[str] = "unaligned"
    option_defaults: ClassVar[Mapping[str, object]] = {}
    uses: ClassVar[tuple[str, ...]] = ()
    TestOptions: ClassVar[type | None] = None
    draws_from_noise: ClassVar[bool] = False
    options: ModelOptions
    sides: ClassVar[tuple[str, ...]] = ("A", "B")
    network_aliases: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    visuals_of_B: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: ModelOptions, engine: Engine) -> None:
        self.options, self.engine = options, engine
        self.loss_names: tuple[str, ...] = ()
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.class_names: tuple[str, ...] = ()
        self.share = 1.0 / engine.world.size
        self.batch_size = 0  # images of this process's part of the batch
        self._criteria: list[nn.Module] = []
        self._scalers: dict[str, torch.amp.GradScaler] = {}

    @classmethod
    def without_effect(cls) -> set[str]:
        """Options of all models that this one makes nothing of."""
        unused = specs(ModelOptions).keys() - cls.uses if cls.uses else set()
        return unused | ({"direction"} if "A" not in cls.sides else set())

    # -- what a model implements ---------------------------------------------------------------------------------

    @abstractmethod
    def set_input(self, batch: Batch) -> None:
        """Take a batch (``util.types.Batch``) to the device. Call ``self.take(batch)`` for what all models share."""

    @abstractmethod
    def forward(self) -> None:
        """Run the generators on the input."""

    @abstractmethod
    def visuals(self) -> Visuals:
        """The pictures of the last ``forward``, in the published order: ``[N, C, H, W]`` float32 in ``[-1, 1]``."""

    def arrays(self) -> dict[str, Tensor]:
        """Numbers of the last ``forward`` that a test saves beside the visuals, ``[N, C, H, W]``: name -> ``.npy``."""
        return {}

    def sheets(self) -> dict[str, NDArray[np.uint8]]:
        """Pictures of many samples that a training shows beside the visuals: name -> uint8 ``[H, W, 3]``."""
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

    def tracked(self) -> list[TrackedMaps]:
        """Maps of this batch's images that the run wants to keep as files; called after every step."""
        return []

    @property
    def draws_at_test(self) -> bool:
        """Whether inference draws random numbers for a whole batch, beside dropout."""
        return False

    @property
    def needs_state(self) -> bool:
        """Whether inference reads the checkpoint's extra state too, by ``load_inference_state``."""
        return False

    def inference_state(self) -> dict[str, Any]:
        """What ``load_inference_state`` takes, of a model in training, as this process knows it."""
        return {}

    def load_inference_state(self, state: Mapping[str, Any]) -> None:
        """Take what inference needs of an ``extra_state``."""

    def expect_size(self, height: int, width: int) -> None:
        """Told after ``setup_training`` where the options fix the size of all images, before any image is there."""

    def optimize_parameters(self) -> Losses:
        """One training step on the current input: published loss name -> detached 0-dim tensor on the device."""
        raise ValueError(f"{type(self).__name__}: it is for test.py only and cannot be trained")

    def extra_state(self) -> dict[str, Any]:
        """Training state beyond networks and optimizers (tensors and primitives only)."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned."""

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

    def add_network(self, name: str, net: nn.Module) -> nn.Module:
        """Initialise a network by ``--init_type``, prepare it for the engine, and book it under its checkpoint name."""
        init_weights(net, self.options.init_type, self.options.init_gain)
        net = self.engine.prepare(net)
        self.networks[name] = net
        return net

    def add_criterion(self, loss: Criterion) -> Criterion:
        """Prepare a loss that has a frozen network for the engine; images too small for it are refused.

        It is neither trained nor saved.
        """
        self.engine.prepare(loss)
        self._criteria.append(loss)
        return loss

    def add_optimizer(self, name: str, parameters: Iterable[nn.Parameter], **settings: Any) -> None:
        """Book an Adam optimizer (``lr``, ``betas``, ``weight_decay``...) over the parameters."""
        optimizer = self.engine.adam(list(parameters), **settings)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.optimizers[name] = optimizer
        scaler = self.engine.grad_scaler()
        if scaler is not None:
            self._scalers[name] = scaler

    def take(self, batch: Batch, *sides: str) -> list[Tensor]:
        """Move the named sides of a batch to the device, and note the batch's size and share.

        Raises:
            ValueError: the batch lacks a side, or a network cannot work at the images' size; the message says which
                multiple it needs.
        """
        if missing := [side for side in sides if side not in batch]:
            raise ValueError(
                f"--dataset_mode: these data have no side {missing[0]}, and {type(self).__name__} cannot do without; "
                f"use --dataset_mode {self.dataset_mode}"
            )
        tensors = [self.engine.to_device(batch[side]) for side in sides]
        self.batch_size = tensors[0].shape[0]
        self.share = float(batch.get("share", 1.0 / self.engine.world.size))
        for side, tensor in zip(sides, tensors):
            paths = batch.get(f"{side}_paths")
            self.check_size(*tensor.shape[-2:], what=f"{paths[0]} at" if paths else "images of")
        return tensors

    def take_source(self, batch: Batch, direction: str) -> Tensor:
        """The only images of a test in one direction, ``--test_direction``, read from one folder as side A.

        Args:
            batch: of ``--dataset_mode single``.
            direction: ``AtoB`` or ``BtoA``; its first letter is the side that the images belong to.

        Raises:
            ValueError: there are two folders.
        """
        if "B" in batch:
            raise ValueError(
                f"--test_direction {direction}: it reads one folder; add --dataset_mode single "
                f"--phase test{direction[0]}"
            )
        return self.take(batch, "A")[0]

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

    @classmethod
    def check_trainable(cls, name: str) -> None:
        """Refuse to train a model that is for inference only.

        Raises:
            ValueError: naming ``--model`` and the way to use it.
        """
        if cls.setup_training is BaseModel.setup_training:
            raise ValueError(f"--model {name}: for test.py only, it cannot be trained; choose another model")

    @classmethod
    def check_sides(cls, sample: Mapping[str, Any], who: str, dataset_mode: str, options: ModelOptions) -> None:
        """Refuse a data set that lacks a side which training reads.

        Raises:
            ValueError: naming ``--dataset_mode`` and the model's own.
        """
        for side in cls.sides:
            if side not in sample:
                raise ValueError(
                    f"--dataset_mode {dataset_mode}: it has no side {side}; {who} needs {cls.dataset_mode}"
                )
        if cls.dataset_mode == "aligned" and "B_index" in sample:
            raise ValueError(
                f"--dataset_mode {dataset_mode}: its images are no pairs, which {who} compares; use "
                "--dataset_mode aligned, or --model cycle_gan"
            )

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
        optimizer = self.optimizers[name]
        own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for net in self.networks.values():
            for parameter in net.parameters():
                parameter.requires_grad_(id(parameter) in own)
        optimizer.zero_grad(set_to_none=True)
        scaler = self._scalers.get(name)
        factor = self.share * self.engine.world.size if self.engine.world.size > 1 else 1.0
        found: list[Mapping[str, Tensor]] = []
        for closure, weight in zip(closures, weights, strict=True):
            with self.engine.autocast():
                loss, reported = closure()
            if factor * weight != 1.0:
                loss = loss * (factor * weight)
            (loss if scaler is None else scaler.scale(loss)).backward()
            found.append({key: value.detach() for key, value in reported.items()})
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for parameter in parameters:
            if parameter.grad is None:  # not reached by this loss: the same for all processes, and for weight decay
                parameter.grad = torch.zeros_like(parameter)
        self.engine.average_gradients(parameters)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        if len(found) == 1:
            return dict(found[0])
        return {key: sum((each[key] * w for each, w in zip(found, weights)), torch.zeros(())) for key in found[0]}

    # -- what the loop and the checkpoints call ------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """Learning rate of the first optimizer, for the logs."""
        return float(next(iter(self.optimizers.values())).param_groups[0]["lr"])

    def set_lr_factor(self, factor: float) -> None:
        """Set every optimizer's learning rate to its initial rate times ``factor``."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def train(self, mode: bool = True) -> None:
        """Training mode of all networks (dropout, batch statistics) on or off."""
        for net in self.networks.values():
            net.train(mode)

    def training_state(self) -> dict[str, Any]:
        """Optimizers, loss scalers and extra state. Every process must call it."""
        return {
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": {name: scaler.state_dict() for name, scaler in self._scalers.items()},
            "extra": self.extra_state(),
        }

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Restore ``training_state``.

        Raises:
            ValueError: it belongs to another model.
        """
        if set(state["optimizers"]) != set(self.optimizers):
            raise ValueError(
                f"the state file belongs to another model: it has optimizers {', '.join(state['optimizers'])}, "
                f"this model has {', '.join(self.optimizers)}; check --model and the flags that add networks"
            )
        for name, optimizer in self.optimizers.items():
            _check_moments(name, optimizer, state["optimizers"][name])
            settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, setting in zip(optimizer.param_groups, settings):
                group.update(setting)  # --lr, --beta1... of this start win
        for name, scaler in self._scalers.items():
            if name in state["scaler"]:
                scaler.load_state_dict(state["scaler"][name])
        self.load_extra_state(state["extra"])


def _check_moments(name: str, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse the state of an optimizer whose parameters have another order or other shapes.

    Raises:
        ValueError: naming the optimizer.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    kept = [state["state"].get(number, {}).get("exp_avg") for number in numbers]
    fits = len(parameters) == len(kept) and all(
        moments is None or moments.shape == parameter.shape for parameter, moments in zip(parameters, kept)
    )
    if not fits:
        raise ValueError(
            f"the state of optimizer {name} belongs to another network, with its layers in another order: give the "
            "flags that it was trained with, see train_opt.txt"
        )
