"""Noise inside a generator: dropout, noise added to the feature maps of its decoder, or multiplied into its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.networks.inference import InferenceModule
from util.registry import unknown

NOISES = ("dropout", "feature", "weight")
NOISE_LAYERS = ("decoder", "all", "inner")
USUAL_DROPOUT = 0.5  # the default of --dropout
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d, nn.Identity)
"""What stands behind a convolution of a decoder; the one that makes the image has none."""


class FeatureNoise(nn.Module):
    """``x + s * n``, n ~ N(0, 1): one map of noise for all channels (Karras et al. 2019, arXiv:1812.04948, Sec. 3).

    n is ``[N, 1, H, W]``, fresh in every call, float32 in every precision. In evaluation mode nothing is added.

    Args:
        channels: C of the feature maps.
        init: first value of s.

    Attributes:
        strength: s, learnable, ``[1, C, 1, 1]``.
        drawn: the last n; of no image before the first.
    """

    may_be_new = True
    """A checkpoint of the network without it can be loaded: s then stays as it is."""

    def __init__(self, channels: int, init: float) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.full((1, channels, 1, 1), init))
        self.drawn = torch.empty(0, 1, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> the same shape and dtype."""
        if not self.training:
            return x
        self.drawn = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
        return x + (self.strength * self.drawn).to(x.dtype)


def add_feature_noise(net: nn.Module, init: float) -> nn.Module:
    """Put a ``FeatureNoise`` after the norm of every upward convolution, where the activation (or dropout) follows.

    It becomes a child of the norm, which calls it by a hook: no key of the network changes, ``<norm>.noise.strength``
    is added. Call it when the network is on its device and its batch norm is synchronised; both replace modules.

    Args:
        net: a generator with transposed convolutions; changed in place.
        init: first strength.

    Returns:
        ``net``.

    Raises:
        ValueError: it has no such place.
    """
    found = False
    for module in list(net.modules()):
        layers = list(module.children()) if isinstance(module, nn.Sequential) else []
        for conv, after in pairwise(layers):
            if isinstance(conv, nn.ConvTranspose2d) and isinstance(after, _NORMS):
                after.add_module("noise", FeatureNoise(conv.out_channels, init).to(conv.weight.device))
                after.register_forward_hook(_add_noise)
                found = True
    if not found:
        raise ValueError(f"--noise feature: {type(net).__name__} has no decoder to add it to; choose --noise weight")
    return net


def _add_noise(norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return norm.noise(output)  # type: ignore[operator]


def switch_noise(net: nn.Module, on: bool) -> None:
    """Dropout and feature noise on or off, whatever mode the network is in (after ``train`` or ``eval``)."""
    for module in net.modules():
        if isinstance(module, (nn.modules.dropout._DropoutNd, FeatureNoise)):
            module.train(on)


def drawn_noise(net: nn.Module) -> Tensor:
    """The numbers that the last forward pass drew for feature noise, ``[N, numbers of an image]``; empty without."""
    maps = [module.drawn.flatten(1) for module in net.modules() if isinstance(module, FeatureNoise)]
    return torch.cat(maps, 1) if maps else torch.empty(0)


class WeightNoise:
    """A generator whose convolutions have other weights in every call: ``W' = W + stopgrad(sigma * eps * W)``.

    eps ~ N(0, 1), one number for each element of W, from torch's generator; all images of a batch share a draw. The
    stored W never changes, and receives the gradient of W' as it is.

    Args:
        net: the generator.
        sigma: relative size of the noise.
        layers: ``decoder`` (from the first transposed convolution on), ``all`` convolutions, or ``inner``: all but the
            one that reads the image and the one that makes it.

    Raises:
        ValueError: there is no such convolution.
    """

    def __init__(self, net: nn.Module, sigma: float, layers: str) -> None:
        convs = {name: m for name, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))}
        up = [place for place, conv in enumerate(convs.values()) if isinstance(conv, nn.ConvTranspose2d)]
        chosen = {"decoder": slice(up[0] if up else len(convs), None), "all": slice(None), "inner": slice(1, -1)}
        self.net, self.sigma = net, sigma
        self.names = [f"{name}.weight" for name in list(convs)[chosen[layers]]]
        if not self.names:
            raise ValueError(f"--noise_layers {layers}: {type(net).__name__} has none; choose --noise_layers all")

    def __call__(self, x: Tensor) -> Tensor:
        """``net(x)`` with the weights of this call."""
        return functional_call(self.net, {name: self._noisy(self.net.get_parameter(name)) for name in self.names}, (x,))

    def _noisy(self, weight: Tensor) -> Tensor:
        eps = torch.randn(weight.shape, device=weight.device, dtype=weight.dtype)
        return weight + weight.detach() * (self.sigma * eps)


def check_noises(noises: Sequence[str], *, no_dropout: bool, dropout: float) -> None:
    """Refuse unknown noises, and dropout flags that contradict them.

    Raises:
        ValueError: naming the flag and the remedy.
    """
    for name in noises or ("",):
        if name not in NOISES:
            raise unknown(f"--noise {name!r}", name, NOISES)
    if "dropout" in noises and (no_dropout or not dropout):
        raise ValueError(
            f"--{'no_dropout' if no_dropout else 'dropout 0'}: dropout is the noise of this model; choose "
            "--noise feature or --noise weight, or turn it off in a test by --test_noise False"
        )
    if "dropout" not in noises and dropout != USUAL_DROPOUT:
        given = ",".join(noises)
        raise ValueError(f"--dropout {dropout:g}: --noise {given} has no dropout; add it, --noise {given},dropout")


class GeneratorNoise:
    """A generator that draws in every call.

    Args:
        net: the generator, on its device; built with dropout layers if that is among the noises.
        noises: of ``NOISES``.
        init: first strength of feature noise.
        sigma: relative size of weight noise.
        layers: of weight noise.

    Attributes:
        draws: whether two answers may differ at all.

    Raises:
        ValueError: this generator has no place for such noise.
    """

    def __init__(self, net: nn.Module, noises: Sequence[str], *, init: float, sigma: float, layers: str) -> None:
        self.net, self.on = net, True
        self.draws = sigma > 0 or set(noises) != {"weight"}
        if "feature" in noises:
            add_feature_noise(net, init)
        self.weights = WeightNoise(net, sigma, layers) if "weight" in noises else None

    def switch(self, on: bool) -> None:
        """Draw from now on, or make one answer an image; whatever mode the network is in."""
        self.on = on
        switch_noise(self.net, on)

    def __call__(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> what the generator makes of it, with a draw of its own."""
        return (self.weights if self.weights and self.on else self.net)(x)

    def diversity(self, x: Tensor, first: Tensor, *, tau: float) -> Tensor:
        """``mean over n of min(mean |G(x, n1) - G(x, n2)| / mean |n1 - n2|, tau)`` (Yang et al. 2019, Eq. 2).

        Dropout and weight noise have no distance that images could be compared by; it counts as 1.

        Args:
            x: the input, ``[N, C, H, W]``.
            first: ``G(x, n1)``, of the call before.
            tau: images further apart gain nothing.

        Returns:
            A 0-dim float32 tensor; the larger, the more the draws differ.
        """
        noise = drawn_noise(self.net)
        apart = (self(x).float() - first.float()).abs().flatten(1).mean(1)  # [N]
        if noise.numel():
            apart = apart / (drawn_noise(self.net) - noise).abs().mean(1)
        return torch.clamp(apart, max=tau).mean()


class NoisyGenerator(InferenceModule):
    """A generator that draws in every call, as long as its noise is on."""

    def __init__(self, noise: GeneratorNoise) -> None:
        super().__init__("fake_B")
        self.net, self.noise = noise.net, noise

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """``[N, C, H, W]`` in [-1, 1] -> the translation."""
        return (self.noise(image),)

    def has_noise(self) -> bool:
        return self.noise.on and self.noise.draws

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        was_on = self.noise.on
        self.noise.switch(False)
        try:
            yield
        finally:
            self.noise.switch(was_on)

    def _reasons(self) -> Iterator[str]:
        yield from super()._reasons()
        if self.has_noise():
            yield "the noise is drawn for each part"
