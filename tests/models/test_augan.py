"""AU-GAN: what its terms reach, its variants, its objects, and its tests of one direction and of any size."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import test as test_program
import train
from models.augan_model import AUGANOptions, judged_images
from options.schema import OptionError, complete
from tests.conftest import trainable_args
from tests.golden_rules import uniform_input
from tests.runs import arguments
from util.images.draw import draw_plasma

CALM = ("--feature_noise", "0", "--pool_size", "0")


def build(*argv: str) -> Any:
    return train.build_model(["--model", "augan", *trainable_args("augan"), *argv], dataset_size=4)


def batch_of(size: int = 32, number: int = 2, **more: Any) -> dict[str, Any]:
    sides = {side: uniform_input((number, 3, size, size), seed) for side, seed in (("A", 1), ("B", 2))}
    return {**sides, "A_paths": ["a.png"] * number, "B_paths": ["b.png"] * number, **more}


def weights(model: Any) -> dict[str, list[torch.Tensor]]:
    return {name: [p.detach().clone() for p in net.parameters()] for name, net in model.networks.items()}


def changed(model: Any, before: dict[str, list[torch.Tensor]]) -> set[str]:
    after = weights(model)
    return {name for name in before if any(not torch.equal(a, b) for a, b in zip(before[name], after[name]))}


def gan(prediction: Any, target: float) -> torch.Tensor:
    """Least squares, the mean over the scales."""
    maps = prediction if isinstance(prediction, list) else [prediction]
    return torch.stack([(p - target).square().mean() for p in maps]).mean()


def channel_means(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x.mean(1) - y.mean(1)).abs().mean()


# --- the step ---------------------------------------------------------------------------------------------------------


def test_boxes_are_asked_for_before_anything_is_made(workdir, dataroot, capsys) -> None:
    words = ["--dataroot", str(dataroot), "--name", "run", "--model", "augan", *trainable_args("augan")]
    assert train.main([*words, "--instance_level"]) == 2
    assert "--instance_level: --dataset_mode unaligned has no boxes" in capsys.readouterr().err
    assert not (workdir / "checkpoints").exists()


def test_a_step_of_the_paper_is_its_arithmetic() -> None:
    model, batch = build(*CALM), batch_of()
    G_A, G_B, D_A, D_B = (copy.deepcopy(model.networks[name]) for name in ("G_A", "G_B", "D_A", "D_B"))
    A, B = batch["A"], batch["B"]
    a, b = G_A(A), G_B(B)
    back_a, back_b = G_B(a.fake), G_A(b.fake)
    want = {
        "D_A": 0.5 * (gan(D_A(B), 1) + gan(D_A(a.fake), 0)),
        "G_A": gan(D_A(a.fake), 1),
        "A_rec": 10 * F.l1_loss(a.rec, A),
        "D_B": 0.5 * (gan(D_B(A), 1) + gan(D_B(b.fake), 0)),
        "G_B": gan(D_B(b.fake), 1),
        "cycle_B": 10 * F.l1_loss(back_b.fake, B),
        "B_rec": 10 * F.l1_loss(b.rec, B),
        "Perc": channel_means(a.feat, back_a.enc) + channel_means(b.enc, back_b.enc),
        "Conf": (5 * torch.exp(-a.conf) * (A - back_a.fake).abs() + a.conf / 2).mean(),
    }
    model.set_input(batch)
    losses = model.optimize_parameters()
    assert list(losses) == list(want)
    for name, value in want.items():
        assert float(losses[name]) == pytest.approx(float(value.detach()), rel=1e-4), name


def test_a_step_of_the_port_is_its_arithmetic() -> None:
    argv = ("--augan_variant", "port", "--netD", "ms2", "--n_layers_D", "2", "--lambda_identity", "0.5")
    model, batch = build(*CALM, *argv), batch_of(96, 1)
    nets = copy.deepcopy(model.networks)
    A, B = batch["A"], batch["B"]
    a, b = nets["G_A"](A), nets["G_B"](B)
    back_a, back_b = nets["G_B"](a.fake), nets["G_A"](b.fake)
    judged = {  # discriminator: what it should take for real, what it should not
        "D_A": ("G_A", B, a.fake),
        "D_rec_A": ("G_A_rec", A, a.rec),
        "D_rec_fake_A": ("G_A_fake_rec", A, back_b.rec),
        "D_B": ("G_B", A, b.fake),
        "D_rec_B": ("G_B_rec", B, b.rec),
        "D_rec_fake_B": ("G_B_fake_rec", B, back_a.rec),
    }
    want = {}
    for judge, (loss, real, fake) in judged.items():
        netD = nets[judge]
        want[judge] = 0.5 * 2 * (gan(netD(real), 1) + gan(netD(fake), 0))  # two scales, added
        want[loss] = 2 * gan(netD(fake), 1)
    encodings = {"A": a.enc, "fake_A": back_b.enc, "B": b.enc, "fake_B": back_a.enc}
    logits = {name: nets["DC"](enc) for name, enc in encodings.items()}

    def classified(truth: dict[str, float]) -> torch.Tensor:
        bce = F.binary_cross_entropy_with_logits
        return 0.25 * sum(bce(logits[name], torch.full_like(logits[name], each)) for name, each in truth.items())

    want |= {
        "cycle_A": 10 * F.l1_loss(back_a.fake, A),
        "cycle_B": 10 * F.l1_loss(back_b.fake, B),
        "A_rec": 10 * F.l1_loss(a.rec, A),
        "B_rec": 10 * F.l1_loss(b.rec, B),
        "idt_A": 5 * F.l1_loss(nets["G_A"](B).fake, B),
        "idt_B": 5 * F.l1_loss(nets["G_B"](A).fake, A),
        "G_DC": classified({"A": 1.0, "fake_A": 1.0, "B": 0.0, "fake_B": 0.0}),
        "DC": classified({"A": 0.0, "fake_A": 0.0, "B": 1.0, "fake_B": 1.0}),
        "Perc": 20 * (channel_means(a.enc, back_a.enc) + channel_means(b.enc, back_b.enc)),
        "Conf": (5 * torch.exp(-a.conf) * (A - a.fake).abs() + a.conf / 2).mean() + F.l1_loss(b.fake, B),
    }
    model.set_input(batch)
    losses = model.optimize_parameters()
    assert set(losses) == set(want)
    for name, value in want.items():
        assert float(losses[name]) == pytest.approx(float(value.detach()), rel=1e-4), name
    assert model.optimizers["G"].param_groups[0]["eps"] == 1e-4 == model.optimizers["D"].param_groups[0]["eps"]
    assert build().optimizers["G"].param_groups[0]["eps"] == 1e-8


def test_the_uncertainty_term_reaches_both_generators() -> None:
    model = build(*CALM)
    model.set_input(batch_of())
    model.forward()
    for parameter in (p for net in model.networks.values() for p in net.parameters()):
        parameter.grad = None
    model._uncertainty_loss().backward()
    for net, branches in (
        ("G_A", {"encoder", "tnet", "decoder", "image", "conf"}),
        ("G_B", {"encoder", "decoder", "image"}),
    ):
        found = {
            name.split(".")[0]
            for name, p in model.networks[net].named_parameters()
            if p.grad is not None and p.grad.any()
        }
        assert found == branches, net


def test_each_step_changes_its_own_networks_only() -> None:
    model = build("--lambda_dc", "1")
    model.set_input(batch_of(96, 1))
    before = weights(model)
    model.update("G", model.generator_losses)
    assert changed(model, before) == {"G_A", "G_B"}
    before = weights(model)
    model.update("D", model.discriminator_losses)
    assert changed(model, before) == {"D_A", "D_B", "DC"}


def test_scales_are_added_on_request() -> None:
    losses = []
    for reduce in ("mean", "sum"):
        model = build(*CALM, "--netD", "ms2", "--n_layers_D", "1", "--ms_reduce", reduce)
        model.set_input(batch_of())
        losses.append(model.optimize_parameters())
    assert float(losses[1]["G_A"]) == pytest.approx(2 * float(losses[0]["G_A"]), rel=1e-5)
    assert float(losses[1]["D_B"]) == pytest.approx(2 * float(losses[0]["D_B"]), rel=1e-5)


def test_one_discriminator_a_domain_judges_all_its_images() -> None:
    three, one = judged_images(3, 1.0), judged_images(1, 1.0)
    assert [len(images) for images in three.values()] == [1] * 6
    assert {judge: {each.image for each in images} for judge, images in one.items()} == {
        "D_A": {"fake_B", "rec_B", "rec_fake_B"},
        "D_B": {"fake_A", "rec_A", "rec_fake_A"},
    }
    for judge, domain in (("D_A", "B"), ("D_B", "A")):
        assert {each.domain for each in one[judge]} == {domain}
    assert [each.image for images in judged_images(3, 0.0).values() for each in images] == ["fake_B", "fake_A"]


def test_a_penalty_needs_images_of_one_size() -> None:
    model = build("--gan_mode", "wgangp", "--netD", "ms2", "--n_layers_D", "1")
    model.set_input(batch_of())
    losses = model.optimize_parameters()
    assert float(losses["D_A_gp"]) > 0 and list(losses)[:2] == ["D_A", "D_A_gp"]
    model.set_input({**batch_of(), "B": uniform_input((2, 3, 36, 32))})
    with pytest.raises(ValueError, match=r"--gan_mode wgangp.*32x36 and 32x32"):
        model.optimize_parameters()


# --- objects ----------------------------------------------------------------------------------------------------------

BOX = torch.tensor([[2.0, 3.0, 30.0, 40.0]])
NO_BOX = torch.zeros(0, 4)


def inst(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items() if name.endswith("_inst")}


def test_objects_count_where_there_are_some() -> None:
    argv = (*CALM, "--instance_level", "--lambda_GAN_rec", "1", "--lambda_inst", "2")
    model = build(*argv)
    model.set_input(batch_of(48, A_boxes=[BOX, NO_BOX], B_boxes=[NO_BOX, NO_BOX]))
    losses = model.optimize_parameters()
    of_objects = inst(losses)
    assert {name for name, value in of_objects.items() if value == 0} == {
        "cycle_B_inst",
        "B_rec_inst",
        "G_B_inst",
        "G_B_rec_inst",
        "G_A_fake_rec_inst",
    }
    crop = (0, slice(None), slice(3, 40), slice(0, 37))  # the box is 37 pixels high, its middle at (16, 21 or 22)
    real, rec = model.real["A"][crop], model.images["rec_A"][crop].detach()
    shown = model.visuals()
    assert shown["boxes_A"][0, :, 3, 2:30].t().unique(dim=0).tolist() == [[1.0, -1.0, -1.0]]
    assert torch.equal(shown["boxes_A"][1], shown["real_A"][1]) and torch.equal(shown["boxes_B"], shown["real_B"])
    assert abs(of_objects["A_rec_inst"] - 2 * 10 * float(F.l1_loss(rec, real)) / 2) < 0.05


def test_without_any_object_their_discriminators_rest() -> None:
    model = build("--instance_level")
    before = weights(model)
    model.set_input(batch_of(A_boxes=[NO_BOX] * 2, B_boxes=[NO_BOX] * 2))
    assert not any(inst(model.optimize_parameters()).values())
    assert changed(model, before) == {"G_A", "G_B", "D_A", "D_B"}
    model.set_input(batch_of(A_boxes=[NO_BOX] * 2, B_boxes=[NO_BOX, BOX]))
    before = weights(model)
    model.optimize_parameters()
    assert {"D_A_inst", "D_B_inst"} <= changed(model, before)
    with pytest.raises(ValueError, match=r"--instance_level.*unaligned_coco"):
        model.set_input(batch_of())


# --- options ----------------------------------------------------------------------------------------------------------


def test_defaults_depend_on_the_variant() -> None:
    paper, port, fork = (complete(AUGANOptions, augan_variant=each) for each in ("paper", "port", "fork_gan"))
    names = ("n_discriminators", "ms_reduce", "lambda_perc", "lambda_dc", "lambda_GAN_rec", "dilation", "upsample")
    assert [getattr(paper, name) for name in names] == [1, "mean", 1, 0, 0, 1, "transposed"]
    assert [getattr(port, name) for name in names] == [3, "sum", 20, 1, 1, 2, "bilinear"]
    assert (paper.lambda_A, paper.lambda_B, paper.lambda_rec, paper.lambda_identity) == (10, 10, 10, 0)
    assert complete(AUGANOptions, lambda_perc=0.0).lambda_perc == 0
    assert not fork.uncertain
    keys = set(fork.generator(3, 3, adverse=True).state_dict())
    assert keys == set(port.generator(3, 3, adverse=False).state_dict())


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"netG": "unet_256"}, "--netG unet_256"),
        ({"n_discriminators": 2}, "--n_discriminators 2"),
        ({"n_discriminators": 3}, "--n_discriminators 3: with --augan_variant paper.*--lambda_GAN_rec 1"),
        ({"upsample": "transposed", "norm": "none"}, "--upsample transposed"),
        ({"lambda_conf": 0.0}, "--no_uncertainty"),
        ({"augan_variant": "fork_gan", "save_uncertainty": True}, "--save_uncertainty"),
        ({"test_direction": "BtoA", "save_uncertainty": True}, "--save_uncertainty"),
        ({"input_nc": 1, "lambda_identity": 0.5}, "--lambda_identity 0.5"),
        ({"input_nc": 1, "augan_variant": "port"}, "--augan_variant port"),
        ({"dropout": 0.3}, "--no_dropout False"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], part: str) -> None:
    with pytest.raises(OptionError, match=part):
        complete(AUGANOptions, **options)


def test_sizes_are_checked_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"DomainClassifier needs .* at least 92 pixels"):
        build("--augan_variant", "port").set_input(batch_of(64))
    with pytest.raises(ValueError, match=r"MultiscaleDiscriminator needs .* at least 93 pixels"):
        build("--netD", "ms3").set_input(batch_of(92))
    with pytest.raises(ValueError, match=r"PaperGenerator needs .* multiple of 4"):
        build().set_input(batch_of(34))
    with pytest.raises(ValueError, match=r"--test_direction AtoB: it is for test\.py"):
        build("--test_direction", "AtoB")


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images of 37x33 pixels, which no generator takes as they are, and of other names in A and B."""
    root = tmp_path_factory.mktemp("augan")
    for phase in ("train", "test"):
        for side, stems in (("A", ("night", "rain")), ("B", ("day", "sun"))):
            (root / "data" / f"{phase}{side}").mkdir(parents=True)
            for number, stem in enumerate(stems):
                pixels = np.random.default_rng(number + ord(side)).integers(0, 255, (33, 37, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / "data" / f"{phase}{side}" / f"{stem}.png")
    argv = arguments(root / "data", "--n_epochs_decay", "0", "--no_html", model="augan", epochs="1")
    assert train.main([*argv, "--checkpoints_dir", str(root / "checkpoints")]) == 0
    return root


def run_test(root: Path, results: str, *argv: str) -> dict[str, Any]:
    common = ["--name", "run", "--checkpoints_dir", str(root / "checkpoints"), "--results_dir", str(root / results)]
    size = ["--preprocess", "scale_height", "--load_size", "33", "--gpu_ids", "-1"]
    assert test_program.main([*common, *size, *argv]) == 0
    (images,) = (root / results / "run").glob("*/images")
    found: dict[str, Any] = {file.name: np.asarray(Image.open(file)) for file in images.glob("*.png")}
    return found | {file.name: np.load(file) for file in images.glob("*.npy")}


def test_one_direction_is_half_of_both(trained: Path) -> None:
    """One folder and one generator; the pictures are named after the files of their own side."""
    both = run_test(trained, "both", "--save_uncertainty")
    assert all(image.shape[:2] == (33, 37) for image in both.values())
    alone = run_test(trained, "alone", "--dataset_mode", "single", "--dataroot", str(trained / "data" / "testA"))
    assert len(alone) == 6 and all(np.array_equal(image, both[name]) for name, image in alone.items())
    shutil.copytree(trained / "checkpoints", trained / "half" / "checkpoints")
    for side, other, stems in (("A", "B", ("night", "rain")), ("B", "A", ("day", "sun"))):
        one = trained / "half" / "checkpoints" / "run"
        aside = (one / f"latest_net_G_{other}.pth").rename(trained / f"{other}.pth")
        single = ["--dataroot", str(trained / "data" / f"test{side}"), "--dataset_mode", "single"]
        direction = ["--test_direction", f"{side}to{other}", *["--save_uncertainty"] * (side == "A")]
        half = run_test(trained / "half", f"results_{side}", *single, *direction)
        labels = [f"real_{side}", f"fake_{other}", f"rec_{side}"]
        assert {name for name in half if "conf" not in name} == {f"{s}_{label}.png" for s in stems for label in labels}
        for name, image in half.items():
            assert np.array_equal(image, both[name]), name
        aside.rename(one / f"latest_net_G_{other}.pth")


def test_the_uncertainty_is_saved_as_numbers_and_in_colours(trained: Path) -> None:
    found = run_test(trained, "uncertain", "--save_uncertainty", "--eval")
    values, colours = found["night_conf_A.npy"], found["night_conf_A.png"]
    assert values.shape == (33, 37, 1) and values.dtype == np.float32 and values.min() >= 0 and values.std() > 0
    want = draw_plasma(torch.from_numpy(values).permute(2, 0, 1)[None], 3.0)[0].permute(1, 2, 0)
    assert np.abs(colours - (want.numpy() + 1) * 127.5).max() <= 1
    assert not [name for name in run_test(trained, "plain") if "conf" in name]


def test_one_direction_reads_one_folder(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--name", "run", "--checkpoints_dir", str(trained / "checkpoints"), "--results_dir", str(trained / "none")]
    assert test_program.main([*argv, "--gpu_ids", "-1", "--test_direction", "BtoA"]) == 2
    assert "add --dataset_mode single --phase testB" in capsys.readouterr().err
