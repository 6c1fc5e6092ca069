"""U-GAT-IT in its plain form: every equation written out as published, nothing fused, nothing made only once.

The same state_dicts as ``models/ugatit/networks.py`` and the same numbers up to rounding. ``benchmarks/plain_step.py``
measures what the difference is worth, and the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

EPS = 1e-5
Made = tuple[Tensor, Tensor, Tensor]


class _Norm(nn.Module):
    """Both normalised copies of x, then their mixture."""

    rho: nn.Parameter

    def mix(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        mean_I, var_I = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True)
        mean_L, var_L = x.mean(dim=(1, 2, 3), keepdim=True), x.var(dim=(1, 2, 3), keepdim=True)
        a_I = (x - mean_I) / torch.sqrt(var_I + EPS)
        a_L = (x - mean_L) / torch.sqrt(var_L + EPS)
        return (self.rho * a_I + (1 - self.rho) * a_L) * gamma + beta


class _AdaLIN(_Norm):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return self.mix(x, gamma[:, :, None, None], beta[:, :, None, None])


class _ILN(_Norm):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x, self.gamma, self.beta)


class _Residual(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        first = [nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=False), nn.InstanceNorm2d(dim), nn.ReLU()]
        second = [nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=False), nn.InstanceNorm2d(dim)]
        self.conv_block = nn.Sequential(*first, *second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class _AdaLINBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(1)
        self.conv1 = nn.Conv2d(dim, dim, 3, bias=False)
        self.norm1 = _AdaLIN(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, bias=False)
        self.norm2 = _AdaLIN(dim)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(self.pad(x)), gamma, beta))
        return x + self.norm2(self.conv2(self.pad(y)), gamma, beta)


class PlainGenerator(nn.Module):
    """The generator, full (``light`` False: for square images of ``img_size``) or light."""

    def __init__(self, ngf: int, n_res: int, light: bool, img_size: int) -> None:
        super().__init__()
        dim, self.light, self.n_res = 4 * ngf, light, n_res
        self.gap_fc, self.gmp_fc = nn.Linear(dim, 1, bias=False), nn.Linear(dim, 1, bias=False)
        self.conv1x1 = nn.Conv2d(2 * dim, dim, 1)
        self.gamma, self.beta = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        for number in range(1, n_res + 1):
            self.add_module(f"UpBlock1_{number}", _AdaLINBlock(dim))
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7, bias=False)]
        layers += [nn.InstanceNorm2d(ngf), nn.ReLU()]
        for wide in (2 * ngf, dim):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(wide // 2, wide, 3, stride=2, bias=False)]
            layers += [nn.InstanceNorm2d(wide), nn.ReLU()]
        self.DownBlock = nn.Sequential(*layers, *(_Residual(dim) for _ in range(n_res)))
        features = dim if light else dim * (img_size // 4) ** 2
        self.FC = nn.Sequential(
            *(nn.Linear(features, dim, bias=False), nn.ReLU(), nn.Linear(dim, dim, bias=False), nn.ReLU())
        )
        up: list[nn.Module] = []
        for wide in (dim, 2 * ngf):
            up += [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(wide, wide // 2, 3, bias=False)]
            up += [_ILN(wide // 2), nn.ReLU()]
        self.UpBlock2 = nn.Sequential(*up, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7, bias=False), nn.Tanh())

    def forward(self, x: Tensor) -> Made:
        """Image, logits, attention."""
        x = self.DownBlock(x)
        gap = self.gap_fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        gmp = self.gmp_fc(F.adaptive_max_pool2d(x, 1).flatten(1))
        weighted = [x * layer.weight[:, :, None, None] for layer in (self.gap_fc, self.gmp_fc)]
        x = F.relu(self.conv1x1(torch.cat(weighted, dim=1)))
        heat = x.sum(dim=1, keepdim=True)
        hidden = self.FC(F.adaptive_avg_pool2d(x, 1).flatten(1) if self.light else x.flatten(1))
        gamma, beta = self.gamma(hidden), self.beta(hidden)
        for number in range(1, self.n_res + 1):
            x = self.get_submodule(f"UpBlock1_{number}")(x, gamma, beta)
        return self.UpBlock2(x), torch.cat((gap, gmp), dim=1), heat


class PlainDiscriminator(nn.Module):
    """The discriminator, with torch's spectral norm."""

    def __init__(self, ndf: int, n_layers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for depth in range(n_layers - 1):
            narrow, stride = (3 if depth == 0 else ndf * 2 ** (depth - 1)), 2 if depth < n_layers - 2 else 1
            conv = nn.Conv2d(narrow, ndf * 2**depth, 4, stride=stride)
            layers += [nn.ReflectionPad2d(1), spectral_norm(conv), nn.LeakyReLU(0.2)]
        dim = ndf * 2 ** (n_layers - 2)
        self.gap_fc, self.gmp_fc = (spectral_norm(nn.Linear(dim, 1, bias=False)) for _ in range(2))
        self.conv1x1 = nn.Conv2d(2 * dim, dim, 1)
        self.pad = nn.ReflectionPad2d(1)
        self.conv = spectral_norm(nn.Conv2d(dim, 1, 4, bias=False))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Made:
        """Patch logits, domain logits, attention. The first parameter under spectral norm is the raw weight."""
        x = self.model(x)
        gap = self.gap_fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        gmp = self.gmp_fc(F.adaptive_max_pool2d(x, 1).flatten(1))
        raw = [next(layer.parameters()) for layer in (self.gap_fc, self.gmp_fc)]
        x = F.leaky_relu(self.conv1x1(torch.cat([x * weight[:, :, None, None] for weight in raw], dim=1)), 0.2)
        return self.conv(self.pad(x)), torch.cat((gap, gmp), dim=1), x.sum(dim=1, keepdim=True)


class PlainTraining:
    """The published training step with the published weights: all fakes made twice, none detached."""

    def __init__(self, networks: Mapping[str, nn.Module], *, lr: float = 1e-4) -> None:
        self.nets = networks
        G = [p for name, net in networks.items() if name.startswith("G_") for p in net.parameters()]
        D = [p for name, net in networks.items() if name.startswith("D_") for p in net.parameters()]
        settings: Any = {"lr": lr, "betas": (0.5, 0.999), "weight_decay": 1e-4}
        self.optimizer_G, self.optimizer_D = torch.optim.Adam(G, **settings), torch.optim.Adam(D, **settings)

    def step(self, A: Tensor, B: Tensor) -> dict[str, float]:
        """One iteration; the losses with their weights."""
        nets, mse, bce = self.nets, F.mse_loss, F.binary_cross_entropy_with_logits
        ones, zeros = torch.ones_like, torch.zeros_like
        self.optimizer_D.zero_grad()
        fakes = {"B": nets["G_A2B"](A)[0], "A": nets["G_B2A"](B)[0]}
        losses: dict[str, Tensor] = {}
        for side, real in (("A", A), ("B", B)):
            terms = []
            for scale in "GL":
                for logits in nets[f"D_{scale}{side}"](real)[:2]:
                    terms.append(mse(logits, ones(logits)))
                for logits in nets[f"D_{scale}{side}"](fakes[side])[:2]:
                    terms.append(mse(logits, zeros(logits)))
            losses[f"D_{side}"] = torch.stack(terms).sum()
        (losses["D_A"] + losses["D_B"]).backward()
        self.optimizer_D.step()

        self.optimizer_G.zero_grad()
        fake_B, cam_A2B, _ = nets["G_A2B"](A)
        fake_A, cam_B2A, _ = nets["G_B2A"](B)
        rec_A, rec_B = nets["G_B2A"](fake_B)[0], nets["G_A2B"](fake_A)[0]
        idt_A, cam_A2A, _ = nets["G_B2A"](A)
        idt_B, cam_B2B, _ = nets["G_A2B"](B)
        judged = [
            *(*nets["D_GA"](fake_A)[:2], *nets["D_LA"](fake_A)[:2]),
            *(*nets["D_GB"](fake_B)[:2], *nets["D_LB"](fake_B)[:2]),
        ]
        losses["G_adv"] = torch.stack([mse(logits, ones(logits)) for logits in judged]).sum()
        losses["G_cycle"] = 10 * (F.l1_loss(rec_A, A) + F.l1_loss(rec_B, B))
        losses["G_idt"] = 10 * (F.l1_loss(idt_A, A) + F.l1_loss(idt_B, B))
        cam = [bce(x, ones(x)) for x in (cam_A2B, cam_B2A)] + [bce(x, zeros(x)) for x in (cam_A2A, cam_B2B)]
        losses["G_cam"] = 1000 * torch.stack(cam).sum()
        torch.stack([value for name, value in losses.items() if name.startswith("G_")]).sum().backward()
        self.optimizer_G.step()
        with torch.no_grad():
            for name in ("G_A2B", "G_B2A"):
                for key, parameter in nets[name].named_parameters():
                    if key.endswith("rho"):
                        parameter.clamp_(0, 1)
        return {name: float(value.detach()) for name, value in losses.items()}
