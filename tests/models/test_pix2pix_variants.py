"""pix2pix with other discriminators, with feature matching, and without any discriminator; adversarial_losses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import train
from models.base_model import BaseModel
from models.losses.feature_matching import feature_matching
from models.losses.gan import GANLoss
from options.schema import OptionError
from tests.models.test_models import build, make_batch, step

SIZE = 64  # three scales of a PatchGAN with 2 layers


def built(*argv: str, model: str = "pix2pix") -> BaseModel:
    return build(model, "--load_size", "64", "--crop_size", "64", "--n_layers_D", "2", *argv)


def batch(seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    images = {side: torch.rand(2, 3, SIZE, SIZE, generator=generator) * 2 - 1 for side in "AB"}
    return {**images, "A_paths": ["a", "b"], "B_paths": ["a", "b"], "index": torch.arange(2)}


@pytest.mark.parametrize("netD", ["multiscale", "ms3", "pix2pixhd", "sesame", "sesam"])
@pytest.mark.parametrize("gan_mode", ["hinge", "wgangp"])
def test_a_step_with_every_discriminator(netD: str, gan_mode: str) -> None:
    model = built("--netD", netD, "--gan_mode", gan_mode, "--lambda_feat", "10", "--norm", "instance")
    before = [p.detach().clone() for p in model.networks["D"].parameters()]
    losses = step(model, batch())
    wanted = ["G_GAN", "G_L1", "G_feat", "D_real", "D_fake"] + (["D_gp"] if gan_mode == "wgangp" else [])
    assert list(losses) == wanted == list(model.loss_names)
    assert all(math.isfinite(float(value)) for value in losses.values())
    assert float(losses["G_feat"]) > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, model.networks["D"].parameters()) if a.ndim > 1]
    assert moved and all(moved)


def test_the_losses_of_a_step_with_scales_and_features() -> None:
    """G_feat and G_GAN are those of the updated D on the fakes of the old G, computed here from its own outputs."""
    model = built("--netD", "multiscale", "--lambda_feat", "10", "--lambda_GAN", "0.5", "--norm", "instance")
    losses = step(model, batch())
    A, B, D = batch()["A"], batch()["B"], model.networks["D"]
    fake = model.visuals()["fake_B"]
    with torch.no_grad():
        ours, theirs = D(torch.cat([A, fake], 1)), D(torch.cat([A, B], 1))
    assert float(losses["G_feat"]) == pytest.approx(10 * float(feature_matching(ours, theirs)), rel=1e-4)
    assert float(losses["G_GAN"]) == pytest.approx(
        0.5 * float(GANLoss("vanilla")(ours, True, for_discriminator=False)), rel=1e-4
    )
    assert len(ours) == 2 and len(ours[0]) == 4


def test_without_a_discriminator_pix2pix_is_regression() -> None:
    model = build("pix2pix", "--lambda_GAN", "0", "--no_dropout", "--norm", "instance", "--lr", "0.01")
    plain = build("pix2pix", "--no_dropout", "--norm", "instance", "--lr", "0.01")
    assert list(model.networks) == ["G"] and list(model.optimizers) == ["G"]
    data = make_batch("pix2pix")
    losses = step(model, data)
    assert list(losses) == ["G_L1"] == list(model.loss_names)
    G = plain.networks["G"]
    optimizer = torch.optim.Adam(G.parameters(), lr=0.01, betas=(0.5, 0.999))
    loss = 100 * (G(data["A"]) - data["B"]).abs().mean()
    loss.backward()
    optimizer.step()
    assert float(losses["G_L1"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    for a, b in zip(model.networks["G"].parameters(), G.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_nothing_to_train_by_is_refused() -> None:
    with pytest.raises(OptionError, match="--lambda_GAN 0, --lambda_L1 0: nothing is left to train by"):
        build("pix2pix", "--lambda_GAN", "0", "--lambda_L1", "0")


def test_pairs_are_not_learned_from_unpaired_images(workdir, dataroot, capsys) -> None:
    words = ["--dataroot", str(dataroot), "--name", "run", "--dataset_mode", "unaligned", "--gpu_ids", "-1"]
    assert train.main([*words, "--model", "pix2pix"]) == 2
    assert "no pairs, which --model pix2pix compares" in capsys.readouterr().err
    assert not (workdir / "checkpoints").exists()


def test_no_discriminator_has_no_features() -> None:
    with pytest.raises(OptionError, match="--lambda_feat 10: --lambda_GAN 0"):
        build("pix2pix", "--lambda_GAN", "0", "--lambda_feat", "10")


def test_an_image_too_small_for_the_coarsest_scale_is_told_before_training() -> None:
    model = build("pix2pix", "--netD", "ms3")
    with pytest.raises(ValueError, match=r"MultiscaleDiscriminator needs .* at least 93"):
        model.check_size(64, 64)


@pytest.mark.parametrize(
    ("words", "mode"), [([], "vanilla"), (["--gan_mode", "w"], "wgan"), (["--gan_mode", "ls"], "lsgan")]
)
def test_adversarial_losses_is_pix2pix_by_other_names(words: list[str], mode: str) -> None:
    data = make_batch("pix2pix")
    named = step(build("adversarial_losses", *words, "--lambdaL1", "50"), data)
    plain = step(build("pix2pix", "--gan_mode", mode, "--lambda_L1", "50"), data)
    assert list(named) == ["G_GAN", "G_L", "D_real", "D_fake"]
    assert [float(value) for value in named.values()] == [float(value) for value in plain.values()]


def test_an_unbounded_critic_is_told(caplog: pytest.LogCaptureFixture) -> None:
    build("adversarial_losses", "--gan_mode", "w")
    assert "--gan_mode w: nothing bounds the critic" in caplog.text


def test_dropout_is_a_flag(workdir, dataroot) -> None:
    def rates(*argv: str) -> set[float]:
        model = train.build_model(["--gpu_ids", "-1", "--ngf", "2", "--ndf", "2", "--netG", "unet_128", *argv], 1)
        return {m.p for m in model.networks["G"].modules() if isinstance(m, torch.nn.Dropout)}

    assert rates() == {0.5}
    assert rates("--dropout", "0.9") == rates("--dropout_value", "0.9") == rates("--dropout_rate", "0.9") == {0.9}
    assert rates("--no_dropout") == set()


@pytest.mark.parametrize("name", ["perceptual", "adversarial_losses", "stochastic", "colorization"])
def test_a_variant_is_short(name: str) -> None:
    """What a variant adds to pix2pix fits into 60 lines, options and docstrings included."""
    lines = (Path(train.__file__).parent / "models" / f"{name}_model.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 60


def test_a_size_is_blamed_on_the_flags_that_decide_it(workdir, dataroot, capsys) -> None:
    words = ["--dataroot", str(dataroot), "--name", "run", "--gpu_ids", "-1", "--netG", "resnet_6blocks", "--ngf", "4"]
    assert train.main([*words, "--preprocess", "scale_width", "--load_size", "30"]) == 2
    assert "--preprocess scale_width --load_size 30 gives 30: ResnetGenerator needs" in capsys.readouterr().err
