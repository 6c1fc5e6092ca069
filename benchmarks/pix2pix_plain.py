"""pix2pix and CycleGAN in their plain form: layers of torch as they are, every loss against a tensor of targets.

What the papers' code does in a step (Isola et al. 2017, Zhu et al. 2017), written for comparison: the parameters stand
in the order of ``models/networks``, so that they can be copied, and the numbers are the same up to rounding.
``benchmarks/plain_step.py`` measures what the difference is worth, and the tests compare the two.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAMBDA_L1, LAMBDA_CYCLE, LAMBDA_IDENTITY = 100.0, 10.0, 0.5


class PlainUNet(nn.Module):
    """``unet_256`` with batch norm and dropout."""

    def __init__(self, ngf: int = 64, downs: int = 8, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [ngf * min(2**depth, 8) for depth in range(downs)]
        level: nn.Module | None = None
        for depth in reversed(range(downs)):
            outer, inner = (widths[depth - 1] if depth else 3), widths[depth]
            half = nn.Conv2d(3 if depth == 0 else outer, inner, 4, 2, 1, bias=False)
            double = nn.ConvTranspose2d(inner * (2 if level else 1), outer, 4, 2, 1, bias=depth == 0)
            layers: list[nn.Module] = [half] if depth == 0 else [nn.LeakyReLU(0.2, inplace=True), half]
            if level:
                layers += [nn.BatchNorm2d(inner)] * (depth > 0) + [level]
            layers += [nn.ReLU(inplace=True), double, nn.Tanh() if depth == 0 else nn.BatchNorm2d(outer)]
            layers += [nn.Dropout(dropout)] * (dropout > 0 and level is not None and depth > 0 and outer == inner)
            level = _Skip(layers) if depth else nn.Sequential(*layers)
        assert level is not None
        self.model = level

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 3, H, W]`` -> the same shape."""
        y: Tensor = self.model(x)
        return y


class _Skip(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class PlainResNet(nn.Module):
    """``resnet_9blocks`` with instance norm."""

    def __init__(self, ngf: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), *_norm_relu(ngf)]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), *_norm_relu(2 * width)]
        layers += [_Residual(4 * ngf) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1), *_norm_relu(width // 2)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 3, H, W]`` -> the same shape."""
        y: Tensor = self.model(x)
        return y


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), *_norm_relu(width)]
        self.conv_block = nn.Sequential(
            *first, nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv_block(x)
        return y


def _norm_relu(width: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]


class PlainPatchGAN(nn.Module):
    """The 70x70 discriminator, ``basic``, with batch norm or instance norm."""

    def __init__(self, channels: int, ndf: int = 64, *, batch: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            norm: nn.Module = nn.BatchNorm2d(ndf * after) if batch else nn.InstanceNorm2d(ndf * after)
            conv = nn.Conv2d(ndf * before, ndf * after, 4, stride, 1, bias=not batch)
            layers += [conv, norm, nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * ndf, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels, H, W]`` -> one logit a patch."""
        y: Tensor = self.model(x)
        return y


class PlainTraining:
    """One of the two, with Adam of 0.0002 and (0.5, 0.999).

    Args:
        networks: ``G`` and ``D``, or ``G_A``, ``G_B``, ``D_A``, ``D_B``.
    """

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.nets = networks
        G, D = (
            [p for name, net in networks.items() if name.startswith(kind) for p in net.parameters()] for kind in "GD"
        )
        self.optimizer_G, self.optimizer_D = (torch.optim.Adam(each, lr=2e-4, betas=(0.5, 0.999)) for each in (G, D))

    def step(self, A: Tensor, B: Tensor) -> dict[str, float]:
        """One iteration; the losses with their weights."""
        losses = self._cycle(A, B) if "G_A" in self.nets else self._pairs(A, B)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _pairs(self, A: Tensor, B: Tensor) -> dict[str, Tensor]:
        return update_on_pair(self.nets["D"], self.optimizer_G, self.optimizer_D, A, self.nets["G"](A), B)[0]

    def _cycle(self, A: Tensor, B: Tensor) -> dict[str, Tensor]:
        G_A, G_B, D_A, D_B = (self.nets[name] for name in ("G_A", "G_B", "D_A", "D_B"))
        fake_B, fake_A = G_A(A), G_B(B)
        rec_A, rec_B = G_B(fake_B), G_A(fake_A)
        trainable(D_A, False)
        trainable(D_B, False)
        self.optimizer_G.zero_grad()
        identity = LAMBDA_CYCLE * LAMBDA_IDENTITY
        losses = {"idt_A": identity * F.l1_loss(G_A(B), B), "idt_B": identity * F.l1_loss(G_B(A), A)}
        losses |= {"G_A": self._square(D_A(fake_B), 1.0), "G_B": self._square(D_B(fake_A), 1.0)}
        losses |= {"cycle_A": LAMBDA_CYCLE * F.l1_loss(rec_A, A), "cycle_B": LAMBDA_CYCLE * F.l1_loss(rec_B, B)}
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer_G.step()

        trainable(D_A)
        trainable(D_B)
        self.optimizer_D.zero_grad()
        for name, D, real, fake in (("D_A", D_A, B, fake_B), ("D_B", D_B, A, fake_A)):
            losses[name] = 0.5 * (self._square(D(real), 1.0) + self._square(D(fake.detach()), 0.0))
            losses[name].backward()
        self.optimizer_D.step()
        return losses

    @staticmethod
    def _square(logits: Tensor, truth: float) -> Tensor:
        return F.mse_loss(logits, torch.full_like(logits, truth))


def update_on_pair(
    D: nn.Module,
    optimizer_G: torch.optim.Optimizer,
    optimizer_D: torch.optim.Optimizer,
    A: Tensor,
    fake: Tensor,
    B: Tensor,
) -> tuple[dict[str, Tensor], Tensor]:
    """D's step on a pair and a fake, then G's against the updated D; the losses with their weights, and D's logits."""
    bce = F.binary_cross_entropy_with_logits
    trainable(D)
    optimizer_D.zero_grad()
    of_fake, of_real = D(torch.cat([A, fake], 1).detach()), D(torch.cat([A, B], 1))
    losses = {"D_fake": bce(of_fake, torch.zeros_like(of_fake)), "D_real": bce(of_real, torch.ones_like(of_real))}
    (0.5 * (losses["D_fake"] + losses["D_real"])).backward()
    optimizer_D.step()

    trainable(D, False)
    optimizer_G.zero_grad()
    judged = D(torch.cat([A, fake], 1))
    losses |= {"G_GAN": bce(judged, torch.ones_like(judged)), "G_L1": LAMBDA_L1 * F.l1_loss(fake, B)}
    (losses["G_GAN"] + losses["G_L1"]).backward()
    optimizer_G.step()
    return losses, judged.detach()


def trainable(net: nn.Module, yes: bool = True) -> None:
    """Let the parameters learn, or freeze them."""
    for parameter in net.parameters():
        parameter.requires_grad_(yes)


def plain_networks(model: str, ngf: int = 64) -> dict[str, nn.Module]:
    """Those of ``pix2pix`` or ``cycle_gan``."""
    if model == "pix2pix":
        return {"G": PlainUNet(ngf), "D": PlainPatchGAN(6, ngf, batch=True)}
    names = itertools.product("GD", "AB")
    return {
        f"{kind}_{side}": PlainResNet(ngf) if kind == "G" else PlainPatchGAN(3, ngf, batch=False)
        for kind, side in names
    }
