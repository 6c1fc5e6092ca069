"""ATME: a generator that sees where the discriminator doubted its last attempt at the same image."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import MODELS
from models.atme.collapse import CollapseMonitor
from models.atme.inference import MappedTranslation
from models.atme.map_files import TrackedMapsLogger
from models.atme.maps import TEST_MAPS, ImageMaps, MapMemory, TrackedMaps
from models.atme.unet import DDMUNet
from models.atme.w_block import build_w_block
from models.base_model import pictures
from models.networks.inference import InferenceModule
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.base_options import ModelOptions
from options.schema import OptionError, arg
from util.loggers.base import Logger
from util.run.engine import Engine
from util.types import PAIRED_VISUALS, Batch, Losses, Visual, Visuals

_SEVERAL_MAPS = re.compile(r"multiscale|ms\d+|pix2pixhd|sesame|sesam")


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
        super().__post_init__()
        if self.netG != "unet_256_ddm":
            raise OptionError(f"--netG {self.netG}: ATME's generator is unet_256_ddm; --dim and --dim_mults shape it")
        if _SEVERAL_MAPS.fullmatch(self.netD):
            raise OptionError(
                f"--netD {self.netD}: ATME needs a discriminator with one map; use basic, n_layers or pixel"
            )


@dataclass(frozen=True, kw_only=True)
class ATMEOptions(ATMENetworkOptions, Pix2PixOptions):
    """The published defaults."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lambda_GAN:
            raise OptionError("--lambda_GAN 0: ATME's generator depends on D's maps; give a weight above 0")
        if self.lambda_feat:
            raise OptionError(f"--lambda_feat {self.lambda_feat:g}: ATME has no feature matching; leave it out")


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
    D's condition. The maps are kept in a ``MapMemory``, logits, a row per image, read before and written after a step.
    """

    Options = ATMEOptions
    options: ATMEOptions
    needs: ClassVar[tuple[str, ...]] = ("A", "B", "pairs", "one_size")
    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        **PAIRED_VISUALS,
        "Disc_B": Visual("about", ""),
        "noisy_A": Visual("about", ""),
    }

    def __init__(self, options: ATMEOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.netW = self.add_network(
            "W", build_w_block(options.atme_w), aliases=("T",)
        )  # T: in the authors' checkpoints
        if options.test_map == "two_pass":
            self.netD = self.add_network("D", self.build_D())
        self.maps = ImageMaps(
            self.build_D,
            options.input_nc + options.output_nc,
            netD=options.netD,
            test_map=options.test_map,
            engine=engine,
        )
        self._weight = 0.0  # images of this batch that this process stands for
        self._tracked: list[TrackedMaps] = []

    def build_G(self) -> nn.Module:
        """The diffusion U-Net, conditioned on the mean of W_t in place of the time."""
        return build_ddm_unet(self.options, self.options.input_nc, self.options.output_nc)

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """What pix2pix builds; one optimizer for W and G together. The memory follows when the size is known."""
        super().setup_training(dataset_size)
        self.maps.setup_training(dataset_size, n_save_noisy=self.options.n_save_noisy)
        self.monitor = CollapseMonitor()

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """W's, then G's, as published."""
        return itertools.chain(self.netW.parameters(), self.netG.parameters())

    def begin_epoch(self, epoch: int) -> None:
        """Every process learns the maps that the others wrote."""
        self.maps.merge()

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """As for every model; the first size decides the shape of the memory.

        Raises:
            ValueError: also when a later image has another size: a map belongs to one size.
        """
        super().check_size(height, width, what=what)
        self.maps.check_size(height, width, what=what)

    def adversarial_loss(self, prediction: Any) -> Tensor:
        """As pix2pix; the logits are what the memory keeps: of the updated D, for the image that G has just made."""
        self.maps.judged = prediction.detach().float()
        return super().adversarial_loss(prediction)

    def optimize_parameters(self) -> Losses:
        """The step of pix2pix, then D's maps of this batch go into the memory."""
        losses = super().optimize_parameters()
        of_D = losses["D_real"], losses["D_fake"]
        self._tracked = []
        for _ in self.turns():
            self.maps.write()
            self.monitor.update(*of_D, self.fake_B, self.disc_maps, real=self.real_B, weight=self._weight)
            self._tracked += self.maps.tracked(self.W_t)
        return losses

    def batch_holders(self) -> Mapping[Any, Collection[str]]:
        """The maps of the batch's images."""
        return {self.maps: self.maps.OF_BATCH}

    def diagnostics(self) -> dict[str, float]:
        """``D_sum``, ``D_entropy``, ``saturated``, ``collapsed``: see ``CollapseMonitor.report``."""
        self.maps.merge()  # an evaluation may follow, in the main process alone
        return self.monitor.report(self.engine.gather)

    def loggers(self, run_folder: Path) -> list[Logger]:
        """With ``--n_save_noisy`` the one that writes the maps of the chosen images."""
        chosen = self.options.n_save_noisy > 0
        return [TrackedMapsLogger(run_folder, self.tracked_maps)] if chosen else []

    def tracked_maps(self) -> list[TrackedMaps]:
        """The maps of the images of this batch that ``--n_save_noisy`` has chosen."""
        return self._tracked

    def extra_state(self) -> dict[str, Any]:
        """Also the memory ``disc_maps`` ``[N, 1, h, w]`` with the owners of its rows, and what the monitor has seen."""
        seen = self.monitor.state(self.engine.gather)
        self.maps.merge()
        return {**super().extra_state(), "monitor": seen, "tracked": list(self.tracked_indices), **self.maps.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned; in a test, the memory.

        Raises:
            ValueError: a test with ``--test_map memory`` of a checkpoint without a memory.
        """
        if not self.optimizers:
            self.maps.load_inference_state(state)
            return
        super().load_extra_state(state)
        self.monitor.load_state(state["monitor"], self.engine.device, 1.0 / self.engine.world.size)
        self.maps.load_state(state, tracked=state["tracked"])

    # -- both ----------------------------------------------------------------------------------------------------

    def set_input(self, batch: Batch) -> None:
        """Take ``A``, ``B`` where the batch has it, and D's maps: the memory's rows ``index``, or those of a test."""
        super().set_input(batch)
        self._weight = self.share * batch.get("global_size", self.batch_size / self.share)
        height, width = self.real_A.shape[-2:]
        self.maps.read(batch["A_paths"], batch.get("index"), (height, width))

    def forward(self) -> None:
        """``W_t = W(disc_B)``, ``noisy_A = real_A (1 + W_t)``, ``fake_B = G(noisy_A, W_t)``."""
        if self.maps.judges_first_pass:
            self._attempt()
            with self.engine.autocast():
                self.maps.current = self.netD(torch.cat([self.real_A, self.fake_B], 1)).float()
        self._attempt()

    def inference(self, maps: bool) -> InferenceModule:
        """``fake_B`` and ``Disc_B``, W_t, of images without history."""
        netD = self.netD if self.maps.judges_first_pass else None
        return MappedTranslation(self.netW, self.netG, self.maps, netD=netD, with_map=maps)

    def visuals(self) -> Visuals:
        """``real_A``, ``Disc_B`` (W_t, one channel), ``noisy_A`` (clipped), ``fake_B``, ``real_B``."""
        return pictures(
            {
                "real_A": self.real_A,
                "Disc_B": self.W_t,
                "noisy_A": self.noisy_A.clamp(-1, 1),
                "fake_B": self.fake_B,
                "real_B": self.real.get("B"),
            }
        )

    def _attempt(self) -> None:
        with self.engine.autocast():
            height, width = self.real_A.shape[-2:]
            self.W_t = self.netW(self.disc_B, (height, width))  # [N, 1, H, W]
            self.noisy_A = self.real_A * (1 + self.W_t)
            self.fake_B = self.netG(self.noisy_A, self.W_t)

    @property
    def memory(self) -> MapMemory | None:
        """The maps of all training images; only while training."""
        return self.maps.memory

    @property
    def disc_B(self) -> Tensor:
        """D's maps of the previous attempts at the images of this batch, ``[N, 1, h, w]``."""
        return self.maps.current

    @property
    def disc_maps(self) -> Tensor:
        """D's maps of this step, of the same shape."""
        return self.maps.judged

    @property
    def tracked_indices(self) -> list[int]:
        """The training images whose maps are kept as files."""
        return self.maps.tracked_indices

    @tracked_indices.setter
    def tracked_indices(self, indices: list[int]) -> None:
        self.maps.tracked_indices = indices

    # -- testing -------------------------------------------------------------------------------------------------

    @property
    def draws_at_test(self) -> bool:
        """The noise of ``--test_map reference`` and ``--atme_w noise``."""
        return self.options.test_map == "reference" or self.options.atme_w == "noise"

    @property
    def test_reads_state(self) -> bool:
        """Whether a test also reads the training's memory."""
        return self.options.test_map == "memory"
