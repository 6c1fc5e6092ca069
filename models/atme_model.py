"""ATME: a generator that sees where the discriminator doubted its last attempt at the same image."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import MODELS
from models.networks.ddm_unet import DDMUNet
from models.networks.factory import check_image_size
from models.networks.w_block import build_w_block
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.base_options import ModelOptions
from options.schema import OptionError, arg
from util.collapse import CollapseMonitor
from util.engine import Engine
from util.map_memory import MapMemory, owner_of
from util.types import Batch, Losses, TrackedMaps, Visuals

TEST_MAPS = ("reference", "zero", "memory", "two_pass")


@dataclass(frozen=True, kw_only=True)
class ATMENetworkOptions(ModelOptions):
    """What shapes the networks and the maps; instance norm in D, vanilla GAN, no history of fakes."""

    norm: str = "instance"
    netG: str = arg("unet_256_ddm", help="generator: unet_256_ddm, which --dim and --dim_mults shape")
    gan_mode: str = "vanilla"
    pool_size: int = 0
    dim: int = arg(64, minimum=1, help="width of the generator, which --dim_mults multiplies")
    dim_mults: tuple[int, ...] = arg((1, 2, 4, 8), metavar="1,2,4,8", help="factor on --dim of each level")
    init_dim: int = arg(64, minimum=1, help="channels after the generator's first convolution")
    groups: int = arg(8, minimum=1, help="groups of the generator's group norms")
    learned_sinusoidal_cond: bool = arg(False, help="embed the mean of W with trained frequencies")
    random_fourier_features: bool = arg(False, help="embed it with random, frozen frequencies; wins over the former")
    learned_sinusoidal_dim: int = arg(16, minimum=2, help="twice the number of frequencies of these two")
    time_dim_mult: int = arg(4, minimum=1, help="the embedding has --dim times this many entries")
    time_scale: float = arg(1.0, help="factor on the mean of W before it is embedded")
    atme_head: str = arg("resnet", choices=("resnet", "conv", "conv_clamp"), help="last layers of the generator")
    atme_w: str = arg(
        "block", choices=("block", "bilinear", "identity", "none", "noise"), help="what turns D's map into W_t"
    )
    test_map: str = arg(
        "reference",
        choices=TEST_MAPS,
        help="D's map in a test: 0.5 and a little noise as published, "
        "zeros, the training's memory, or D's judgement of a first pass",
    )
    activation_checkpointing: bool = arg(False, help="less memory for a third more time in the generator")
    n_save_noisy: int = arg(0, minimum=0, help="training images whose maps are saved each epoch, in images_noisy")

    def __post_init__(self) -> None:
        if self.netG != "unet_256_ddm":
            raise OptionError(f"--netG {self.netG}: ATME's generator is unet_256_ddm; --dim and --dim_mults shape it")


@dataclass(frozen=True, kw_only=True)
class ATMEOptions(ATMENetworkOptions, Pix2PixOptions):
    """The published defaults."""


def build_ddm_unet(o: ATMENetworkOptions, in_channels: int, out_channels: int) -> DDMUNet:
    """The generator of these options."""
    return DDMUNet(
        in_channels,
        out_channels,
        dim=o.dim,
        init_dim=o.init_dim,
        dim_mults=o.dim_mults,
        groups=o.groups,
        time_dim_mult=o.time_dim_mult,
        learned_sinusoidal_cond=o.learned_sinusoidal_cond,
        random_fourier_features=o.random_fourier_features,
        learned_sinusoidal_dim=o.learned_sinusoidal_dim,
        head=o.atme_head,
        time_scale=o.time_scale,
        checkpointing=o.activation_checkpointing,
    )


@MODELS.register("atme")
class ATMEModel(Pix2PixModel):
    """Paired translation with the discriminator's maps as noise (Solano-Carrillo et al. 2023, arXiv:2304.09024).

    With ``D_{t-1}`` the logits that D gave to the previous attempt at the same image x:
    ``W_t = W(D_{t-1})``, ``x_t = x (1 + W_t)``, ``y = G(x_t, W_t)``; then the losses of pix2pix with the clean x as
    D's condition. The maps are kept in a ``MapMemory``, logits, a row an image, read before and written after the step.
    """

    Options = ATMEOptions
    options: ATMEOptions
    network_aliases: ClassVar[Mapping[str, tuple[str, ...]]] = {"W": ("T",)}  # the authors' published checkpoints

    def __init__(self, options: ATMEOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.netW = self.add_network("W", build_w_block(options.atme_w))
        if options.test_map == "two_pass":
            self.netD = self.add_network("D", self.build_D())
        self.memory: MapMemory | None = None  # only while training
        self.disc_B = self.W_t = self.noisy_A = self.disc_maps = torch.empty(0)
        self._num_images = 0
        self._indices = torch.zeros(0, dtype=torch.int64)
        self._paths: list[str] = []
        self._weight = 0.0  # images of this batch that this process stands for
        self._waiting: Mapping[str, Any] = {}
        self._known: dict[int, Tensor] = {}
        self._mean_map = torch.empty(0)
        self._map_shapes: dict[tuple[int, int], tuple[int, int]] = {}

    def build_G(self) -> nn.Module:
        """The diffusion U-Net, told the mean of W_t where others are told the time."""
        return build_ddm_unet(self.options, self.options.input_nc, self.options.output_nc)

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """What pix2pix builds; one optimizer for W and G together. The memory follows when the size is known."""
        super().setup_training(dataset_size)
        self._num_images = dataset_size
        self._map_seed = self.engine.rng_of_run("disc_maps").getrandbits(32)
        self.monitor = CollapseMonitor()
        count = self.options.n_save_noisy
        if count > dataset_size:
            raise ValueError(f"--n_save_noisy {count}: the data set has {dataset_size} images; give at most so many")
        self.tracked_indices = sorted(self.engine.rng_of_run("tracked").sample(range(dataset_size), count))

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """W's, then G's, as published."""
        return itertools.chain(self.netW.parameters(), self.netG.parameters())

    def begin_epoch(self, epoch: int) -> None:
        """Every process learns the maps that the others wrote."""
        if self.memory is not None:
            self.memory.merge(self.engine.gather)

    def expect_size(self, height: int, width: int) -> None:
        """The memory is there from the beginning.

        Raises:
            ValueError: the networks cannot work at this size.
        """
        self.check_size(height, width)

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """As for every model; the first size decides the shape of the memory.

        Raises:
            ValueError: also when a later image has another size: a map belongs to one size.
        """
        super().check_size(height, width, what=what)
        shape = self.map_shape(height, width, what=what)
        if not self._num_images:
            return
        if self.memory is None or (self.memory.shape != shape and not self.memory.used):
            self.memory = MapMemory(self._num_images, shape, seed=self._map_seed, device=self.engine.device)
            self._restore_memory()
        elif self.memory.shape != shape:
            raise ValueError(
                f"{what} {width}x{height}: the memory of D's maps was made for another size; ATME trains on images of "
                "one size: use --preprocess resize_and_crop"
            )

    def adversarial_loss(self, prediction: Any) -> Tensor:
        """As pix2pix; the logits are what the memory keeps: of the updated D, for the image that G has just made."""
        self.disc_maps = prediction.detach().float()
        return super().adversarial_loss(prediction)

    def optimize_parameters(self) -> Losses:
        """The step of pix2pix, then D's maps of this batch go into the memory."""
        losses = super().optimize_parameters()
        assert self.memory is not None
        self.memory.write(self._indices, self.disc_maps)
        of_D = losses["D_real"], losses["D_fake"]
        self.monitor.update(*of_D, self.fake_B, self.disc_maps, real=self.real_B, weight=self._weight)
        return losses

    def diagnostics(self) -> dict[str, float]:
        """``D_sum``, ``D_entropy``, ``saturated``, ``collapsed``: see ``CollapseMonitor.report``."""
        if self.memory is not None:  # an evaluation may follow, in the main process alone
            self.memory.merge(self.engine.gather)
        return self.monitor.report(self.engine.gather, tell=self.engine.world.is_main)

    def tracked(self) -> list[TrackedMaps]:
        """The maps of the images of this batch that ``--n_save_noisy`` has chosen."""
        if not self.tracked_indices:
            return []
        chosen = set(self.tracked_indices)
        return [
            TrackedMaps(index, self._paths[row], self.disc_maps[row, 0].cpu(), self.W_t[row, 0].detach().float().cpu())
            for row, index in enumerate(self._indices.tolist())
            if index in chosen
        ]

    def extra_state(self) -> dict[str, Any]:
        """Also the memory ``disc_maps`` ``[N, 1, h, w]`` with the owners of its rows, and what the monitor has seen."""
        seen = self.monitor.state(self.engine.gather)
        state = {**super().extra_state(), "monitor": seen, "tracked": list(self.tracked_indices)}
        if self.memory is None:
            return state
        self.memory.merge(self.engine.gather)
        return {**state, **self.memory.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned; with another ``--n_save_noisy``, as many of the tracked images stay
        as fit."""
        super().load_extra_state(state)
        self.monitor.load_state(state["monitor"], self.engine.device, 1.0 / self.engine.world.size)
        count, before = len(self.tracked_indices), [i for i in state["tracked"] if i < self._num_images]
        others = [index for index in self.tracked_indices if index not in before]
        self.tracked_indices = sorted([*before, *others][:count])
        self._waiting = state if "disc_maps" in state else {}
        self._restore_memory()

    def _restore_memory(self) -> None:
        if self.memory is not None and self._waiting:
            self.memory.load_state(self._waiting)
            self._waiting = {} if self.memory.used else self._waiting

    # -- both ----------------------------------------------------------------------------------------------------

    def set_input(self, batch: Batch) -> None:
        """Take ``A``, ``B`` where the batch has it, and D's maps: the memory's rows ``index``, or those of a test."""
        super().set_input(batch)
        self._paths = list(batch["A_paths"])
        self._weight = self.share * batch.get("global_size", self.batch_size / self.share)
        owners = [owner_of(path) for path in self._paths]
        if self.memory is not None:
            self._indices = batch["index"].cpu()
            self.disc_B = self.memory.read(self._indices, owners)
        else:
            self.disc_B = self.test_maps(owners)

    def forward(self) -> None:
        """``W_t = W(disc_B)``, ``noisy_A = real_A (1 + W_t)``, ``fake_B = G(noisy_A, W_t)``."""
        if self.memory is None and self.options.test_map == "two_pass":
            self._attempt()
            with self.engine.autocast():
                self.disc_B = self.netD(torch.cat([self.real_A, self.fake_B], 1)).float()
        self._attempt()

    def visuals(self) -> Visuals:
        """``real_A``, ``Disc_B`` (W_t, one channel), ``noisy_A`` (clipped), ``fake_B``, ``real_B``."""
        images = {
            "real_A": self.real_A,
            "Disc_B": self.W_t,
            "noisy_A": self.noisy_A.clamp(-1, 1),
            "fake_B": self.fake_B,
            "real_B": self.real_B,
        }
        return {name: image.detach().float() for name, image in images.items() if image.numel()}

    def _attempt(self) -> None:
        with self.engine.autocast():
            height, width = self.real_A.shape[-2:]
            self.W_t = self.netW(self.disc_B, (height, width))  # [N, 1, H, W]
            self.noisy_A = self.real_A * (1 + self.W_t)
            self.fake_B = self.netG(self.noisy_A, self.W_t)

    def map_shape(self, height: int, width: int, *, what: str = "images of") -> tuple[int, int]:
        """``(h, w)`` of D's logits for such images, by asking D's layers without computing.

        Raises:
            ValueError: too small for D, or a D with several maps.
        """
        if (height, width) not in self._map_shapes:
            with torch.device("meta"):
                netD = self.build_D()
                check_image_size(netD, height, width, flag=what)
                found = netD(torch.empty(1, self.options.input_nc + self.options.output_nc, height, width))
            if not isinstance(found, Tensor):
                raise ValueError(f"--netD {self.options.netD}: ATME needs a discriminator with one map; use basic")
            self._map_shapes[height, width] = (int(found.shape[-2]), int(found.shape[-1]))
        return self._map_shapes[height, width]

    # -- testing -------------------------------------------------------------------------------------------------

    @property
    def draws_at_test(self) -> bool:
        """The noise of ``--test_map reference`` and ``--atme_w noise``."""
        return self.options.test_map == "reference" or self.options.atme_w == "noise"

    @property
    def needs_state(self) -> bool:
        """Whether a test also reads the training's memory."""
        return self.options.test_map == "memory"

    def inference_state(self) -> dict[str, Any]:
        """The memory as this process knows it."""
        return self.memory.state() if self.memory is not None else {}

    def load_inference_state(self, state: Mapping[str, Any]) -> None:
        """Take the training's maps, by the files that they belong to.

        Raises:
            ValueError: the checkpoint has no memory.
        """
        if "disc_maps" not in state:
            raise ValueError("--test_map memory: this checkpoint has no memory of D's maps; use --test_map reference")
        self._known = dict(zip(state["disc_map_owners"].tolist(), state["disc_maps"]))
        self._mean_map = state["disc_maps"].mean(dim=0)

    def test_maps(self, owners: Sequence[int]) -> Tensor:
        """D's map of every image of a batch, ``[N, 1, h, w]``, as ``--test_map`` says; see there.

        ``memory``: the row of a training image, for other images the mean of all rows.
        """
        shape = (len(owners), 1, *self.map_shape(*self.real_A.shape[-2:]))
        if self.options.test_map == "memory":
            rows = [self._known.get(owner, self._mean_map) for owner in owners]
            if rows[0].shape != shape[1:]:
                raise ValueError(
                    f"--test_map memory: the maps are {tuple(rows[0].shape[1:])}, these images need {shape[2:]}; "
                    "test at the size of the training"
                )
            return torch.stack(rows).to(self.engine.device)
        if self.options.test_map == "reference":
            return (0.5 + 0.001 * torch.randn(shape)).to(self.engine.device)
        return torch.zeros(shape, device=self.engine.device)
