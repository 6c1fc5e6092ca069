"""ATME without pairs: two directions, each with the memory of its own source images."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import MODELS
from models.atme.collapse import CollapseMonitor
from models.atme.inference import MappedTranslation
from models.atme.map_files import TrackedMapsLogger
from models.atme.maps import ImageMaps, TrackedMaps
from models.atme.w_block import build_w_block
from models.atme_model import ATMENetworkOptions, build_ddm_unet
from models.base_model import BaseModel, Step, pictures
from models.networks.batches import in_one_batch
from models.networks.inference import InferenceModule
from options.base_options import CycleOptions
from options.schema import OptionError
from util.loggers.base import Logger
from util.run.engine import Engine
from util.types import CYCLE_VISUALS, Batch, Losses, Visual, Visuals

SIDES = ("A", "B")  # the source domain of a direction; its target is the other


@dataclass(frozen=True, kw_only=True)
class ATMEUnpairedOptions(ATMENetworkOptions, CycleOptions):
    """ATME's networks with the weights of CycleGAN's losses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gan_mode == "wgangp":
            raise OptionError("--gan_mode wgangp: not offered by atme_unpaired; choose vanilla, lsgan or hinge")


class Direction:
    """Translation from one domain to the other: networks and D's maps, and the pictures of the current batch.

    Attributes:
        channels: of source and target.
        maps: of D, of the source's images.
        netG: generator, source to target.
        netW: turns D's map into W_t.
        netD: judges images of the target domain; absent in inference.
    """

    netG: nn.Module
    netW: nn.Module
    netD: nn.Module
    real: Tensor
    fake: Tensor
    W_t: Tensor
    noisy: Tensor

    def __init__(self, channels: tuple[int, int], maps: ImageMaps) -> None:
        self.channels, self.maps = channels, maps
        self.rec: Tensor | None = None  # of a training step

    def translate(self, x: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``W = netW(maps)``, ``x (1 + W)`` and ``netG`` of both: ``[N, 1, H, W]``, ``[N, C, H, W]``, the image."""
        W_t = self.netW(maps, (int(x.shape[-2]), int(x.shape[-1])))
        noisy = x * (1 + W_t)
        return W_t, noisy, self.netG(noisy, W_t)

    def neutral(self, x: Tensor) -> Tensor:
        """The image made without a judgement of D: of logits 0, its greatest doubt. For images that have no history."""
        return self.translate(x, torch.zeros_like(self.maps.current[: x.shape[0]]))[2]


@MODELS.register("atme_unpaired")
class ATMEUnpairedModel(BaseModel):
    """Unpaired translation with the discriminators' maps as noise: ATME (arXiv:2304.09024) in the cycle of CycleGAN
    (Zhu et al. 2017, arXiv:1703.10593).

    The authors name this an open point; this is our reading. Direction A has G_A, W_A and D_A, which judges images of
    B; its memory is indexed by the image of A that was translated. The L1 term of ATME gives way to cycle and identity
    losses. The way back of a cycle, and the identity, translate images that D has never judged: their map is zero.
    """

    Options = ATMEUnpairedOptions
    dataset_mode: ClassVar[str] = "unaligned"
    needs: ClassVar[tuple[str, ...]] = ("A", "B", "one_size")
    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        **CYCLE_VISUALS,
        **{f"Disc_{other}": Visual("about", "", side) for side, other in ("AB", "BA")},
        **{f"noisy_{side}": Visual("about", "", side) for side in SIDES},
    }

    def __init__(self, options: ATMEUnpairedOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.options: ATMEUnpairedOptions = options
        channels = {"A": (options.input_nc, options.output_nc), "B": (options.output_nc, options.input_nc)}
        self.directions = {side: Direction(channels[side], self._make_maps(side, channels[side][1])) for side in SIDES}
        for side, each in self.directions.items():
            each.netG = self.add_network(f"G_{side}", build_ddm_unet(options, *each.channels))
        for side, each in self.directions.items():
            each.netW = self.add_network(f"W_{side}", build_w_block(options.atme_w))
        self._tracked: list[TrackedMaps] = []
        if options.test_map == "two_pass":
            self._add_discriminators()

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """Two discriminators, one optimizer for both, one for all W and G together.

        ``dataset_size`` is that of the larger domain; both memories have this many rows.
        """
        o = self.options
        self._add_discriminators()
        self.criterion_GAN = self.make_GAN_loss()
        self.loss_names = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
        if not o.lambda_identity:
            self.loss_names = tuple(name for name in self.loss_names if not name.startswith("idt"))
        for side in SIDES:
            self.add_pool(f"fake_pool_{side}")
        self.monitor = CollapseMonitor()
        for side, each in self.directions.items():
            each.maps.setup_training(dataset_size, n_save_noisy=o.n_save_noisy if side == "A" else 0)
        generators = [net for side in SIDES for net in (self.directions[side].netW, self.directions[side].netG)]
        owned = itertools.chain(*(net.parameters() for net in generators))
        self.add_optimizer("G", owned, lr=o.lr, betas=(o.beta1, 0.999))
        judges = itertools.chain(*(self.directions[side].netD.parameters() for side in SIDES))
        self.add_optimizer("D", judges, lr=o.lr, betas=(o.beta1, 0.999))

    def begin_epoch(self, epoch: int) -> None:
        """Every process learns the maps that the others wrote."""
        self._merge_maps()

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """As for every model; the first size decides the shape of the memories.

        Raises:
            ValueError: also when a later image has another size.
        """
        super().check_size(height, width, what=what)
        for each in self.directions.values():
            each.maps.check_size(height, width, what=what)

    def optimize_parameters(self) -> Losses:
        """D's step on the current fakes, then that of W and G against the updated D; its maps go into the memories."""
        self.prepare_step(self.forward)
        losses_D = self.update("D", self.discriminator_losses)
        losses_G = self.update("G", self.generator_losses)
        self._tracked = []
        for _ in self.turns():
            for side, each in self.directions.items():
                each.maps.write()
                target = self.directions["B" if side == "A" else "A"].real
                self.monitor.update(*self._parts[side], each.fake, each.maps.judged, real=target, weight=self._weight)
            A = self.directions["A"]
            self._tracked += A.maps.tracked(A.W_t)
        losses = {**losses_D, **losses_G}
        return {name: losses[name] for name in self.loss_names}

    def batch_holders(self) -> Mapping[Any, Collection[str]]:
        """Both directions, and the maps of their images."""
        found: dict[Any, Collection[str]] = {}
        for each in self.directions.values():
            found |= {each: ("real", "fake", "W_t", "noisy", "rec"), each.maps: each.maps.OF_BATCH}
        return found

    def discriminator_losses(self) -> Step:
        """``D_A``, ``D_B``: half of the loss on real images of the target domain plus that on fakes."""
        losses: dict[str, Tensor] = {}
        self._parts: dict[str, tuple[Tensor, Tensor]] = {}
        for side, each in self.directions.items():
            target = self.directions["B" if side == "A" else "A"].real
            fake = self.pools[f"fake_pool_{side}"].query(each.fake.detach())
            of_target, of_fake = in_one_batch(each.netD, target, fake)
            D_real, D_fake = self.criterion_GAN(of_target, True), self.criterion_GAN(of_fake, False)
            self._parts[side] = (D_real.detach(), D_fake.detach())
            losses[f"D_{side}"] = 0.5 * (D_real + D_fake)
        return torch.stack(list(losses.values())).sum(), losses

    def generator_losses(self) -> Step:
        """Adversarial, cycle and identity losses of both directions, the weights included, as published."""
        o, (a, b) = self.options, self.directions.values()
        losses: dict[str, Tensor] = {}
        for side, each, back, weight in (("A", a, b, o.lambda_A), ("B", b, a, o.lambda_B)):
            judged = each.netD(each.fake)
            each.maps.judged = judged.detach().float()
            each.rec = back.neutral(each.fake)
            losses[f"G_{side}"] = self.criterion_GAN(judged, True, for_discriminator=False)
            losses[f"cycle_{side}"] = weight * self.masked_l1(each.rec.float(), each.real.float(), side)
        if o.lambda_identity:  # CycleGAN's names: idt_A is G_A's, which makes images of B, and weighs with lambda_B
            for side, each, other, weight in (("A", a, b, o.lambda_B), ("B", b, a, o.lambda_A)):
                same = each.neutral(other.real)
                source = "B" if side == "A" else "A"
                losses[f"idt_{side}"] = (
                    weight * o.lambda_identity * self.masked_l1(same.float(), other.real.float(), source)
                )
        return torch.stack(list(losses.values())).sum(), losses

    def diagnostics(self) -> dict[str, float]:
        """Means over both directions; see ``CollapseMonitor.report``."""
        self._merge_maps()  # an evaluation may follow, in the main process alone
        return self.monitor.report(self.engine.gather)

    def loggers(self, run_folder: Path) -> list[Logger]:
        """With ``--n_save_noisy`` the one that writes the maps of the chosen images of A."""
        chosen = self.options.n_save_noisy > 0
        return [TrackedMapsLogger(run_folder, self.tracked_maps)] if chosen else []

    def tracked_maps(self) -> list[TrackedMaps]:
        """The maps of the images of A in this batch that ``--n_save_noisy`` has chosen."""
        return self._tracked

    def extra_state(self) -> dict[str, Any]:
        """Both memories (``memory`` -> ``A``, ``B``), the histories of fakes, and what the monitor has seen."""
        self._merge_maps()
        return {
            **super().extra_state(),
            "monitor": self.monitor.state(self.engine.gather),
            "tracked": list(self.tracked_indices),
            "memory": {side: each.maps.state() for side, each in self.directions.items()},
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned; in a test, the memories.

        Raises:
            ValueError: a test with ``--test_map memory`` of a checkpoint without memories.
        """
        if not self.optimizers:
            for side, each in self.directions.items():
                each.maps.load_inference_state(state.get("memory", {}).get(side, {}))
            return
        if "fake_pool" in state:  # both histories in one entry: checkpoints of 2026-11 and earlier
            both = state["fake_pool"]
            state = {**state, **{f"fake_pool_{side}": [each[side] for each in both] for side in SIDES}}
        super().load_extra_state(state)
        self.monitor.load_state(state["monitor"], self.engine.device, 1.0 / self.engine.world.size)
        for side, each in self.directions.items():
            each.maps.load_state(state["memory"].get(side, {}), tracked=state["tracked"])

    @property
    def tracked_indices(self) -> list[int]:
        """The images of A whose maps are kept as files."""
        return self.directions["A"].maps.tracked_indices

    def _merge_maps(self) -> None:
        for each in self.directions.values():
            each.maps.merge()

    # -- both ----------------------------------------------------------------------------------------------------

    def set_input(self, batch: Batch) -> None:
        """Take ``A``, ``B`` and D's maps of both: rows ``A_index`` and ``B_index`` of the memories, or a test's."""
        for each, image in zip(self.directions.values(), self.take(batch, required=2).values()):
            each.real = image
        self._weight = self.share * batch.get("global_size", self.batch_size / self.share)
        for side, each in self.directions.items():
            indices = batch.get(f"{side}_index", batch.get("index"))
            height, width = each.real.shape[-2:]
            each.maps.read(batch[f"{side}_paths"], indices, (height, width))

    def forward(self) -> None:
        """Both directions: ``W_t = W(maps)``, ``noisy = real (1 + W_t)``, ``fake = G(noisy, W_t)``."""
        with self.engine.autocast():
            for each in self.directions.values():
                if each.maps.judges_first_pass:
                    each.maps.current = each.netD(each.translate(each.real, each.maps.current)[2]).float()
                each.W_t, each.noisy, each.fake = each.translate(each.real, each.maps.current)

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """``fake_B`` and ``Disc_B``, W_t, of images without history; of the way back ``fake_A`` and ``Disc_A``."""
        each, target = self.directions[direction[0]], direction[-1]
        netD = each.netD if each.maps.judges_first_pass else None
        return MappedTranslation(
            each.netW, each.netG, each.maps, target=target, netD=netD, conditional=False, with_map=maps
        )

    def visuals(self) -> Visuals:
        """``real_A, Disc_B, noisy_A, fake_B, rec_A``, and the same of the other direction; ``rec`` in training only."""
        images: dict[str, Tensor | None] = {}
        for side, other in (("A", "B"), ("B", "A")):
            each = self.directions[side]
            images |= {f"real_{side}": each.real, f"Disc_{other}": each.W_t, f"noisy_{side}": each.noisy.clamp(-1, 1)}
            images |= {f"fake_{other}": each.fake, f"rec_{side}": each.rec}
        return pictures(images)

    def _make_maps(self, side: str, channels: int) -> ImageMaps:
        build_D, o = partial(self.make_D, channels), self.options
        return ImageMaps(
            build_D, channels, netD=o.netD, test_map=o.test_map, engine=self.engine, purpose=f"disc_maps_{side}"
        )

    def _add_discriminators(self) -> None:
        for side, each in self.directions.items():
            if f"D_{side}" not in self.networks:
                each.netD = self.add_network(f"D_{side}", self.make_D(each.channels[1]))

    # -- testing -------------------------------------------------------------------------------------------------

    @property
    def draws_at_test(self) -> bool:
        """The noise of ``--test_map reference`` and ``--atme_w noise``."""
        return self.options.test_map == "reference" or self.options.atme_w == "noise"

    @property
    def test_reads_state(self) -> bool:
        """Whether a test also reads the training's memories."""
        return self.options.test_map == "memory"
