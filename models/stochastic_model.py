"""pix2pix with several answers: its generator draws noise, also in a test."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from models import MODELS
from models.networks.generator_noise import NOISE_LAYERS, GeneratorNoise, NoisyGenerator, check_noises
from models.networks.inference import InferenceModule
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.schema import arg
from util.run.engine import Engine


@dataclass(frozen=True, kw_only=True)
class StochasticOptions(Pix2PixOptions):
    """Published: dropout, always."""

    noise: tuple[str, ...] = arg(("dropout",), help="what the generator draws: dropout, feature, weight, or several")
    test_noise: bool = arg(True, help="draw in a test too, also with --eval; False: one answer an image")
    noise_init: float = arg(0.1, help="first strength of --noise feature, of every channel; it is learned")
    noise_sigma: float = arg(0.05, minimum=0.0, help="--noise weight: standard deviation relative to each weight")
    noise_layers: str = arg("decoder", choices=NOISE_LAYERS, help="which convolutions --noise weight changes")
    lambda_div: float = arg(0.0, minimum=0.0, help="weight of the diversity term; 0 = off, try 1 to 10")
    div_tau: float = arg(0.5, minimum=0.0, help="its bound: images further apart than this gain nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_noises(self.noise, no_dropout=self.no_dropout, dropout=self.dropout)


@MODELS.register("stochastic")
class StochasticModel(Pix2PixModel):
    """pix2pix that draws: dropout, noise in feature maps or in weights, and a diversity term (arXiv:1901.09024)."""

    Options = StochasticOptions
    options: StochasticOptions

    def __init__(self, options: StochasticOptions, engine: Engine) -> None:
        super().__init__(replace(options, no_dropout="dropout" not in options.noise), engine)
        o = options
        self.noise = GeneratorNoise(self.netG, o.noise, init=o.noise_init, sigma=o.noise_sigma, layers=o.noise_layers)
        self.reconstruction_names += ("G_div",) * (o.lambda_div > 0)

    @property
    def draws_at_test(self) -> bool:
        """Unless ``--test_noise False``: what an image draws would depend on the others of its batch."""
        return self.options.test_noise and self.noise.draws

    def train(self, mode: bool = True) -> None:
        """Only batch norm follows ``mode``; the noise is on in training, and in a test by ``--test_noise``."""
        super().train(mode)
        self.noise.switch(bool(self.optimizers) or self.options.test_noise)

    def generate(self, x: Tensor) -> Tensor:
        """``G(x, n)``."""
        return self.noise(x)

    def inference(self, maps: bool) -> InferenceModule:
        """``fake_B``, with a draw of its own in every call unless ``--test_noise False``."""
        return NoisyGenerator(self.noise)

    def reconstruction_losses(self) -> dict[str, Tensor]:
        """``G_L1``, and with ``--lambda_div`` also ``G_div``, the weights included."""
        losses, o = super().reconstruction_losses(), self.options
        if o.lambda_div:
            losses["G_div"] = -o.lambda_div * self.noise.diversity(self.real_A, self.fake_B, tau=o.div_tau)
        return losses
