"""ATME without pairs: two directions, each with the memory of its own source images."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import MODELS
from models.atme_model import ATMENetworkOptions, build_ddm_unet
from models.base_model import BaseModel, Step
from models.losses.gan import GANLoss
from models.networks.factory import build_discriminator, check_image_size
from models.networks.w_block import build_w_block
from options.schema import OptionError, arg
from util.collapse import CollapseMonitor
from util.engine import Engine
from util.image_pool import ImagePool
from util.map_memory import MapMemory, owner_of
from util.types import Batch, Losses, TrackedMaps, Visuals

SIDES = ("A", "B")  # the source domain of a direction; its target is the other


@dataclass(frozen=True, kw_only=True)
class ATMEUnpairedOptions(ATMENetworkOptions):
    """ATME's networks with the weights of CycleGAN's losses."""

    lambda_A: float = arg(10.0, minimum=0.0, help="weight of the cycle A -> B -> A")
    lambda_B: float = arg(10.0, minimum=0.0, help="weight of the cycle B -> A -> B")
    lambda_identity: float = arg(
        0.5, minimum=0.0, help="weight of the identity loss, as a factor on the cycle's; 0 = off"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gan_mode == "wgangp":
            raise OptionError("--gan_mode wgangp: not offered by atme_unpaired; choose vanilla, lsgan or hinge")
        if self.lambda_identity and self.input_nc != self.output_nc:
            raise OptionError(
                f"--lambda_identity {self.lambda_identity}: it puts images of a domain into the other's generator, but "
                f"--input_nc is {self.input_nc} and --output_nc {self.output_nc}; give --lambda_identity 0"
            )


class Direction:
    """Translation from one domain to the other: networks and memory, and the pictures of the current batch.

    Attributes:
        netG: generator, source to target.
        netW: turns D's map into W_t.
        netD: judges images of the target domain; absent in inference.
        maps: D's logits for this batch's previous attempts, ``[N, 1, h, w]``.
        judged: D's new logits, of this step.
    """

    netG: nn.Module
    netW: nn.Module
    netD: nn.Module

    def __init__(self, channels: tuple[int, int]) -> None:
        self.channels = channels  # of source and target
        self.memory: MapMemory | None = None
        self.indices = torch.zeros(0, dtype=torch.int64)
        self.paths: list[str] = []
        self.known: dict[int, Tensor] = {}
        self.mean_map = torch.empty(0)
        self.real = self.fake = self.rec = self.W_t = self.noisy = self.maps = self.judged = torch.empty(0)

    def translate(self, x: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``W = netW(maps)``, ``x (1 + W)`` and ``netG`` of both: ``[N, 1, H, W]``, ``[N, C, H, W]``, the image."""
        W_t = self.netW(maps, (int(x.shape[-2]), int(x.shape[-1])))
        noisy = x * (1 + W_t)
        return W_t, noisy, self.netG(noisy, W_t)

    def neutral(self, x: Tensor) -> Tensor:
        """The image made without a judgement of D: of logits 0, its greatest doubt. For images that have no history."""
        return self.translate(x, torch.zeros_like(self.maps[: x.shape[0]]))[2]


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

    def __init__(self, options: ATMEUnpairedOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.options: ATMEUnpairedOptions = options
        channels = (options.input_nc, options.output_nc)
        self.directions = {"A": Direction(channels), "B": Direction((channels[1], channels[0]))}
        for side, each in self.directions.items():
            each.netG = self.add_network(f"G_{side}", build_ddm_unet(options, *each.channels))
        for side, each in self.directions.items():
            each.netW = self.add_network(f"W_{side}", build_w_block(options.atme_w))
        if options.test_map == "two_pass":
            self._add_discriminators()
        self._num_images = 0
        self._waiting: dict[str, Any] = {}
        self._map_shapes: dict[tuple[int, int], tuple[int, int]] = {}

    def build_D(self, channels: int) -> nn.Module:
        """The discriminator that ``--netD`` names, on single images."""
        o = self.options
        return build_discriminator(o.netD, channels, ndf=o.ndf, n_layers_D=o.n_layers_D, norm=o.norm)

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """Two discriminators, one optimizer for both, one for all W and G together.

        ``dataset_size`` is that of the larger domain; both memories have so many rows.
        """
        o = self.options
        self._add_discriminators()
        self.criterion_GAN = GANLoss(o.gan_mode)
        self.loss_names = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
        if not o.lambda_identity:
            self.loss_names = tuple(name for name in self.loss_names if not name.startswith("idt"))
        self.pools = {side: ImagePool(o.pool_size, self.engine.rng(f"fake_pool_{side}")) for side in SIDES}
        self._num_images = dataset_size
        self.monitor = CollapseMonitor()
        self._map_seeds = {side: self.engine.rng_of_run(f"disc_maps_{side}").getrandbits(32) for side in SIDES}
        if o.n_save_noisy > dataset_size:
            raise ValueError(
                f"--n_save_noisy {o.n_save_noisy}: the data set has {dataset_size} images; give at most so many"
            )
        self.tracked_indices = sorted(self.engine.rng_of_run("tracked").sample(range(dataset_size), o.n_save_noisy))
        generators = [net for side in SIDES for net in (self.directions[side].netW, self.directions[side].netG)]
        owned = itertools.chain(*(net.parameters() for net in generators))
        self.add_optimizer("G", owned, lr=o.lr, betas=(o.beta1, 0.999))
        judges = itertools.chain(*(self.directions[side].netD.parameters() for side in SIDES))
        self.add_optimizer("D", judges, lr=o.lr, betas=(o.beta1, 0.999))

    def begin_epoch(self, epoch: int) -> None:
        """Every process learns the maps that the others wrote."""
        for each in self.directions.values():
            if each.memory is not None:
                each.memory.merge(self.engine.gather)

    def expect_size(self, height: int, width: int) -> None:
        """The memory is there from the beginning.

        Raises:
            ValueError: the networks cannot work at this size.
        """
        self.check_size(height, width)

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """As for every model; the first size decides the shape of the memories.

        Raises:
            ValueError: also when a later image has another size.
        """
        super().check_size(height, width, what=what)
        shape = self.map_shape(height, width, what=what)
        for side, each in self.directions.items() if self._num_images else ():
            if each.memory is None or (each.memory.shape != shape and not each.memory.used):
                seed = self._map_seeds[side]
                each.memory = MapMemory(self._num_images, shape, seed=seed, device=self.engine.device)
                self._restore_memories()
            elif each.memory.shape != shape:
                raise ValueError(
                    f"{what} {width}x{height}: the memory of D's maps was made for another size; ATME trains on images "
                    "of one size: use --preprocess resize_and_crop"
                )

    def optimize_parameters(self) -> Losses:
        """D's step on the current fakes, then that of W and G against the updated D; its maps go into the memories."""
        self.forward()
        losses_D = self.update("D", self.discriminator_losses)
        losses_G = self.update("G", self.generator_losses)
        for side, each in self.directions.items():
            assert each.memory is not None
            each.memory.write(each.indices, each.judged)
            target = self.directions["B" if side == "A" else "A"].real
            self.monitor.update(*self._parts[side], each.fake, each.judged, real=target, weight=self._weight)
        losses = {**losses_D, **losses_G}
        return {name: losses[name] for name in self.loss_names}

    def discriminator_losses(self) -> Step:
        """``D_A``, ``D_B``: half of the loss on real images of the target domain plus that on fakes."""
        losses: dict[str, Tensor] = {}
        self._parts: dict[str, tuple[Tensor, Tensor]] = {}
        for side, each in self.directions.items():
            target = self.directions["B" if side == "A" else "A"].real
            fake = self.pools[side].query(each.fake.detach())
            D_real = self.criterion_GAN(each.netD(target), True)
            D_fake = self.criterion_GAN(each.netD(fake), False)
            self._parts[side] = (D_real.detach(), D_fake.detach())
            losses[f"D_{side}"] = 0.5 * (D_real + D_fake)
        return torch.stack(list(losses.values())).sum(), losses

    def generator_losses(self) -> Step:
        """Adversarial, cycle and identity losses of both directions, the weights included, as published."""
        o, (a, b) = self.options, self.directions.values()
        losses: dict[str, Tensor] = {}
        for side, each, back, weight in (("A", a, b, o.lambda_A), ("B", b, a, o.lambda_B)):
            judged = each.netD(each.fake)
            each.judged = judged.detach().float()
            each.rec = back.neutral(each.fake)
            losses[f"G_{side}"] = self.criterion_GAN(judged, True, for_discriminator=False)
            losses[f"cycle_{side}"] = weight * F.l1_loss(each.rec.float(), each.real.float())
        if o.lambda_identity:  # CycleGAN's names: idt_A is G_A's, which makes images of B, and weighs with lambda_B
            for side, each, other, weight in (("A", a, b, o.lambda_B), ("B", b, a, o.lambda_A)):
                same = each.neutral(other.real)
                losses[f"idt_{side}"] = weight * o.lambda_identity * F.l1_loss(same.float(), other.real.float())
        return torch.stack(list(losses.values())).sum(), losses

    def diagnostics(self) -> dict[str, float]:
        """Means over both directions; see ``CollapseMonitor.report``."""
        self.begin_epoch(0)  # an evaluation may follow, in the main process alone: it needs all maps
        return self.monitor.report(self.engine.gather, tell=self.engine.world.is_main)

    def tracked(self) -> list[TrackedMaps]:
        """The maps of the images of A in this batch that ``--n_save_noisy`` has chosen."""
        each, chosen = self.directions["A"], set(self.tracked_indices)
        return [
            TrackedMaps(index, each.paths[row], each.judged[row, 0].cpu(), each.W_t[row, 0].detach().float().cpu())
            for row, index in enumerate(each.indices.tolist() if chosen else ())
            if index in chosen
        ]

    def extra_state(self) -> dict[str, Any]:
        """Both memories (``memory`` -> ``A``, ``B``), the histories of fakes, and what the monitor has seen."""
        state: dict[str, Any] = {
            "fake_pool": self.engine.gather({side: pool.state() for side, pool in self.pools.items()}),
            "monitor": self.monitor.state(self.engine.gather),
            "tracked": list(self.tracked_indices),
        }
        memories = {side: each.memory for side, each in self.directions.items() if each.memory is not None}
        for memory in memories.values():
            memory.merge(self.engine.gather)
        return {**state, "memory": {side: memory.state() for side, memory in memories.items()}}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned."""
        pools, rank = state["fake_pool"], self.engine.world.rank
        if rank < len(pools):
            for side, pool in self.pools.items():
                pool.load_state(pools[rank][side])
        self.monitor.load_state(state["monitor"], self.engine.device, 1.0 / self.engine.world.size)
        count, before = len(self.tracked_indices), [i for i in state["tracked"] if i < self._num_images]
        others = [index for index in self.tracked_indices if index not in before]
        self.tracked_indices = sorted([*before, *others][:count])
        self._waiting = dict(state["memory"])
        self._restore_memories()

    def _restore_memories(self) -> None:
        for side, each in self.directions.items():
            if each.memory is not None and side in self._waiting:
                each.memory.load_state(self._waiting.pop(side))

    # -- both ----------------------------------------------------------------------------------------------------

    def set_input(self, batch: Batch) -> None:
        """Take ``A``, ``B`` and D's maps of both: rows ``A_index`` and ``B_index`` of the memories, or a test's."""
        for each, image in zip(self.directions.values(), self.take(batch, *SIDES)):
            each.real = image
        self._weight = self.share * batch.get("global_size", self.batch_size / self.share)
        for side, each in self.directions.items():
            each.paths = list(batch[f"{side}_paths"])
            owners = [owner_of(path) for path in each.paths]
            if each.memory is not None:
                each.indices = batch.get(f"{side}_index", batch["index"]).cpu()
                each.maps = each.memory.read(each.indices, owners)
            else:
                each.maps = self.test_maps(each, owners)

    def forward(self) -> None:
        """Both directions: ``W_t = W(maps)``, ``noisy = real (1 + W_t)``, ``fake = G(noisy, W_t)``."""
        with self.engine.autocast():
            for each in self.directions.values():
                if each.memory is None and self.options.test_map == "two_pass":
                    each.maps = each.netD(each.translate(each.real, each.maps)[2]).float()
                each.W_t, each.noisy, each.fake = each.translate(each.real, each.maps)

    def visuals(self) -> Visuals:
        """``real_A, Disc_B, noisy_A, fake_B, rec_A``, and the same of the other direction; ``rec`` in training only."""
        images: dict[str, Tensor] = {}
        for side, other in (("A", "B"), ("B", "A")):
            each = self.directions[side]
            images |= {f"real_{side}": each.real, f"Disc_{other}": each.W_t, f"noisy_{side}": each.noisy.clamp(-1, 1)}
            images |= {f"fake_{other}": each.fake, f"rec_{side}": each.rec if self._num_images else torch.empty(0)}
        return {name: image.detach().float() for name, image in images.items() if image.numel()}

    def map_shape(self, height: int, width: int, *, what: str = "images of") -> tuple[int, int]:
        """``(h, w)`` of D's logits for such images, by asking D's layers without computing.

        Raises:
            ValueError: too small for D, or a D with several maps.
        """
        if (height, width) not in self._map_shapes:
            with torch.device("meta"):
                netD = self.build_D(1)
                check_image_size(netD, height, width, flag=what)
                found = netD(torch.empty(1, 1, height, width))
            if not isinstance(found, Tensor):
                raise ValueError(f"--netD {self.options.netD}: ATME needs a discriminator with one map; use basic")
            self._map_shapes[height, width] = (int(found.shape[-2]), int(found.shape[-1]))
        return self._map_shapes[height, width]

    def _add_discriminators(self) -> None:
        for side, each in self.directions.items():
            if f"D_{side}" not in self.networks:
                each.netD = self.add_network(f"D_{side}", self.build_D(each.channels[1]))

    # -- testing -------------------------------------------------------------------------------------------------

    @property
    def draws_at_test(self) -> bool:
        """The noise of ``--test_map reference`` and ``--atme_w noise``."""
        return self.options.test_map == "reference" or self.options.atme_w == "noise"

    @property
    def needs_state(self) -> bool:
        """Whether a test also reads the training's memories."""
        return self.options.test_map == "memory"

    def inference_state(self) -> dict[str, Any]:
        """The memories as this process knows them."""
        found = {side: each.memory.state() for side, each in self.directions.items() if each.memory is not None}
        return {"memory": found}

    def load_inference_state(self, state: Mapping[str, Any]) -> None:
        """Take the training's maps, by the files that they belong to.

        Raises:
            ValueError: the checkpoint has no memory.
        """
        for side, each in self.directions.items():
            if side not in state.get("memory", {}):
                raise ValueError(
                    "--test_map memory: this checkpoint has no memory of D's maps; use --test_map reference"
                )
            found = state["memory"][side]
            owners = found["disc_map_owners"].tolist()
            each.known = {owner: row for owner, row in zip(owners, found["disc_maps"]) if owner}
            each.mean_map = found["disc_maps"].mean(dim=0)

    def test_maps(self, each: Direction, owners: Sequence[int]) -> Tensor:
        """D's map of every image of a batch, ``[N, 1, h, w]``, as ``--test_map`` says."""
        shape = (len(owners), 1, *self.map_shape(int(each.real.shape[-2]), int(each.real.shape[-1])))
        if self.options.test_map == "memory":
            rows = [each.known.get(owner, each.mean_map) for owner in owners]
            if rows[0].shape != shape[1:]:
                raise ValueError("--test_map memory: the maps are of another size; test at the size of the training")
            return torch.stack(rows).to(self.engine.device)
        if self.options.test_map == "reference":
            return (0.5 + 0.001 * torch.randn(shape)).to(self.engine.device)
        return torch.zeros(shape, device=self.engine.device)
