"""The model perceptual: its losses, that it is pix2pix without its term, and a VGG that only training needs."""

from __future__ import annotations

import pytest
import torch

import test as test_program
import train
from models.networks.vgg import VGGFeatures
from tests.conftest import SMALL_VGG, TRAINABLE_ARGS
from tests.golden_rules import fill, load_golden, uniform_input
from tests.models.test_models import build, make_batch, step
from tests.test_bad_input import complaint
from util.run.state import load_training_state, training_state


def floats(losses):
    return {key: float(value) for key, value in losses.items()}


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ([], ["G_GAN", "G_perceptual", "D_real", "D_fake"]),
        (["--lambda_L1", "100"], ["G_GAN", "G_perceptual", "G_L1", "D_real", "D_fake"]),
        (["--lambda_perceptual", "0", "--lambda_L1", "1"], ["G_GAN", "G_L1", "D_real", "D_fake"]),
        (["--lambda_perceptual", "0"], ["G_GAN", "D_real", "D_fake"]),
        (["--lambda_GAN", "0"], ["G_perceptual"]),
        (["--netD", "multiscale", "--num_D", "1", "--n_layers_D", "2", "--lambda_feat", "10"],
         ["G_GAN", "G_perceptual", "G_feat", "D_real", "D_fake"]),
    ],
)  # fmt: skip
def test_the_losses(flags, names):
    model = build("perceptual", *flags)
    assert list(step(model, make_batch("perceptual"))) == list(model.loss_names) == names


def test_the_published_number(offline, tmp_path):
    """Ten times the loss, without normalisation, all five layers of VGG19, read from a file."""
    index, _ = load_golden("dlim/golden_vgg")
    torch.save(fill(VGGFeatures()).state_dict(), tmp_path / "vgg.pth")
    words = ["--vgg_weights", str(tmp_path / "vgg.pth"), "--vgg_layers", "1,2,3,4,5", "--vgg_norm", "none"]
    model = build("perceptual", *words)
    model.fake_B, model.real["B"] = uniform_input((2, 3, 64, 64)), uniform_input((2, 3, 64, 64), seed=4321)
    expected = {"G_perceptual": index["model_loss_G_perceptual"]}
    assert floats(model.reconstruction_losses()) == pytest.approx(expected, rel=1e-5)


def test_the_defaults_are_one_of_each_layer_weighted_ten(offline):
    o = train.parse_train(["--model", "perceptual", "--dataroot", "."], train.MODELS, train.DATASETS).model
    assert (o.lambda_perceptual, o.lambda_L1, o.vgg, o.vgg_norm) == (10, 0, "vgg19", "imagenet")
    assert o.vgg_layers == (1, 2, 3, 4, 5) and o.vgg_layer_weights == () and o.vgg_weights == ""


def test_flags_reach_the_loss():
    """Twice the weight by its alias, other layers, other weights, no normalisation: all change the number."""
    batch, values = make_batch("perceptual"), []
    for flags in (
        [],
        ["--lambda_vgg", "20"],
        ["--vgg_layers", "2"],
        ["--vgg_layer_weights", "1,0"],
        ["--vgg_norm", "none"],
        ["--vgg", "vgg16", "--vgg_layers", "1,2,3,4"],
    ):
        values.append(float(step(build("perceptual", *flags), batch)["G_perceptual"]))
    assert values[1] == pytest.approx(2 * values[0], rel=1e-6)
    assert len({round(value, 4) for value in values}) == len(values)


def test_without_its_term_it_is_pix2pix(offline):
    """No VGG is built, nothing is looked for, and two steps leave equal weights."""
    flags = ["--lambda_perceptual", "0", "--lambda_L1", "100", "--vgg_weights", ""]
    models = [build("pix2pix"), build("perceptual", *flags)]
    assert models[1].criterion_VGG is None
    for seed in (0, 1):
        losses = [floats(step(model, make_batch("pix2pix", seed=seed))) for model in models]
        assert losses[0] == losses[1] and "G_L1" in losses[0]
    for key, net in models[0].networks.items():
        for a, b in zip(net.state_dict().values(), models[1].networks[key].state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_the_networks_start_as_those_of_pix2pix():
    """Building the VGG draws nothing, so runs with the two losses start from the same G and D."""
    networks = [build(name).networks for name in ("pix2pix", "perceptual")]
    for key, net in networks[0].items():
        for a, b in zip(net.parameters(), networks[1][key].parameters(), strict=True):
            assert torch.equal(a, b)


def test_the_vgg_is_neither_trained_nor_saved():
    model = build("perceptual")
    before = [parameter.clone() for parameter in model.criterion_VGG.parameters()]
    model.train()
    step(model, make_batch("perceptual"))
    assert set(model.networks) == {"G", "D"} and "vgg" not in str(training_state(model)["optimizers"])
    for parameter, old in zip(model.criterion_VGG.parameters(), before, strict=True):
        assert torch.equal(parameter, old) and not parameter.requires_grad and parameter.grad is None
    assert not model.criterion_VGG.vgg.training


def test_grey_images():
    flags = ["--output_nc", "1"]
    batch = make_batch("perceptual")
    batch["B"] = batch["B"][:, :1]
    losses = floats(step(build("perceptual", *flags), batch))
    assert losses["G_perceptual"] > 0


def test_random_weights_are_the_same_in_every_run():
    nets = [build("perceptual", *argv).criterion_VGG.vgg for argv in ((), ("--seed", "5"))]
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a, b)


def test_a_run_of_pix2pix_can_go_on_with_this_loss():
    model = build("perceptual")
    load_training_state(model, training_state(build("pix2pix")))
    assert "G_perceptual" in step(model, make_batch("perceptual"))


def test_a_test_needs_no_weights(workdir, dataroot, offline):
    """The file that the run was trained with is gone, and there is no network."""
    weights = workdir / "vgg.pth"
    vgg = VGGFeatures("vgg19", (1,))
    vgg.draw_weights(0)
    torch.save(vgg.state_dict(), weights)
    argv = ["--model", "perceptual", *TRAINABLE_ARGS, "--dataroot", str(dataroot), "--max_dataset_size", "2"]
    argv += ["--vgg_weights", str(weights), "--vgg_layers", "1", "--name", "run", "--no_html"]
    assert train.main([*argv, "--n_epochs", "1", "--n_epochs_decay", "0"]) == 0
    assert not list((workdir / "checkpoints" / "run").glob("*vgg*"))
    weights.unlink()
    assert test_program.main(["--name", "run", "--gpu_ids", "-1"]) == 0


REFUSED = {
    "no weights": ([], ["vgg19-dcbb9e9d.pth", "hub/checkpoints", "--vgg_weights FILE", "--vgg_weights random"]),
    "no such file": (["--vgg_weights", "vgg.pth"], ["--vgg_weights vgg.pth", "no such file", "--vgg_weights random"]),
    "unknown network": (["--vgg", "vgg13"], ["--vgg vgg13", "vgg19"]),
    "unknown normalisation": (["--vgg_norm", "image_net"], ["--vgg_norm image_net", "imagenet"]),
    "no such layer": ([*SMALL_VGG, "--vgg_layers", "1,6"], ["--vgg_layers 1,6"]),
    "weights of other layers": ([*SMALL_VGG, "--vgg_layer_weights", "1"], ["--vgg_layer_weights 1", "1,2"]),
    "nothing to train by": (
        ["--lambda_perceptual", "0", "--lambda_GAN", "0"],
        ["--lambda_perceptual 0", "--lambda_L1 0", "--lambda_GAN 0"],
    ),
    "too small for the deepest layer": (
        ["--vgg_weights", "random", "--crop_size", "12", "--netD", "pixel"],
        ["--crop_size 12", "at least 16"],
    ),
    "features without D": ([*SMALL_VGG, "--lambda_GAN", "0", "--lambda_feat", "1"], ["--lambda_feat 1"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(case, workdir, dataroot, offline, capsys, caplog):
    caplog.set_level("CRITICAL")
    argv, parts = REFUSED[case]
    common = ["--name", "run", "--model", "perceptual", *TRAINABLE_ARGS, "--dataroot", str(dataroot)]
    assert train.main([*common, *argv]) == 2
    line = complaint(capsys)
    assert line.startswith("train.py: error: ") and all(part in line for part in parts), line
    assert not (workdir / "checkpoints").exists()
