"""CycleGAN: one step against the published arithmetic, its histories of fakes, its flags, and one-sided tests."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
import torch
from torch.nn import functional as F

import test as test_program
import train
from data import DATASETS
from models import MODELS
from options.parse import parse_test, parse_train
from options.schema import OptionError
from tests.conftest import SIZE, TRAINABLE_ARGS
from tests.models.test_models import build, make_batch, step

NAME = "cycle_gan"
PUBLISHED = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")


def penalty_by_hand(D, real, fake, weight):
    """``weight * (||gradient|| - 1)^2`` at a random point between the images of each pair."""
    alpha = torch.rand(len(real)).view(-1, 1, 1, 1)
    x = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return weight * ((gradient.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()


@pytest.mark.parametrize("mode", ["lsgan", "wgangp"])
def test_a_step_is_the_published_arithmetic(mode):
    """Both G first against the old D, by one Adam; then both D, real before fake, on the fakes from before, by another.

    The weights differ in all places. wgangp adds half of the penalties to the step of both D.
    """
    batch = make_batch(NAME)
    args = ("--lr", "0.01", "--lambda_A", "7", "--lambda_B", "11", "--lambda_identity", "0.3", "--gan_mode", mode)
    model, plain = build(NAME, *args, "--lambda_gp", "5"), build(NAME, *args)
    losses = step(model, batch)

    G_A, G_B, D_A, D_B = (plain.networks[name] for name in ("G_A", "G_B", "D_A", "D_B"))
    A, B, l1 = batch["A"], batch["B"], F.l1_loss
    adam = {"lr": 0.01, "betas": (0.5, 0.999)}
    optimizer_G = torch.optim.Adam(itertools.chain(G_A.parameters(), G_B.parameters()), **adam)
    optimizer_D = torch.optim.Adam(itertools.chain(D_A.parameters(), D_B.parameters()), **adam)
    if mode == "lsgan":
        as_real, as_fake = (lambda p: ((p - 1) ** 2).mean()), (lambda p: (p**2).mean())
    else:
        as_real, as_fake = (lambda p: -p.mean()), (lambda p: p.mean())

    for parameter in (*D_A.parameters(), *D_B.parameters()):
        parameter.requires_grad_(False)
    fake_B, fake_A = G_A(A), G_B(B)
    expected = {
        "G_A": as_real(D_A(fake_B)),
        "G_B": as_real(D_B(fake_A)),
        "cycle_A": 7 * l1(G_B(fake_B), A),
        "cycle_B": 11 * l1(G_A(fake_A), B),
        "idt_A": 0.3 * 11 * l1(G_A(B), B),
        "idt_B": 0.3 * 7 * l1(G_B(A), A),
    }
    optimizer_G.zero_grad()
    sum(expected.values()).backward()
    optimizer_G.step()

    for parameter in (*D_A.parameters(), *D_B.parameters()):
        parameter.requires_grad_(True)
    optimizer_D.zero_grad()
    torch.manual_seed(0)  # as before the step, for the places of the penalty
    for side, D, real, fake in (("A", D_A, B, fake_B.detach()), ("B", D_B, A, fake_A.detach())):
        expected[f"D_{side}"] = 0.5 * (as_real(D(real)) + as_fake(D(fake)))
        expected[f"D_{side}"].backward()
        if mode == "wgangp":
            expected[f"D_gp_{side}"] = penalty_by_hand(D, real, fake, 5)
            (0.5 * expected[f"D_gp_{side}"]).backward()
    optimizer_D.step()

    assert tuple(losses) == (*PUBLISHED, *(("D_gp_A", "D_gp_B") if mode == "wgangp" else ()))
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(
        {key: float(value.detach()) for key, value in expected.items()}, rel=1e-4, abs=1e-6
    )
    for key, net in model.networks.items():
        for ours, theirs in zip(net.parameters(), plain.networks[key].parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_published_defaults():
    o = parse_train(["--dataroot", "x", "--model", NAME], MODELS, DATASETS)
    m = o.model
    assert (m.netG, m.netD, m.norm, m.no_dropout, m.gan_mode, m.pool_size) == (
        ("resnet_9blocks", "basic", "instance", True, "lsgan", 50)
    )
    assert (m.lambda_A, m.lambda_B, m.lambda_identity, o.run.dataset_mode) == (10.0, 10.0, 0.5, "unaligned")


def test_the_networks_have_the_published_sizes():
    model = train.build_model(["--model", NAME, "--gpu_ids", "-1"], dataset_size=1)
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in model.networks.items()}
    assert counts == {"G_A": 11_378_179, "G_B": 11_378_179, "D_A": 2_764_737, "D_B": 2_764_737}


def test_discriminators_see_what_the_histories_give():
    """D_A judges images of B, so that its fakes come from fake_B's history; what goes in are the fakes of the step."""
    model, seen = build(NAME), {}
    for name in ("fake_A", "fake_B"):

        def query(images, name=name):
            seen[name] = images
            return torch.full_like(images, 0.25 if name == "fake_A" else -0.75)

        getattr(model, f"{name}_pool").query = query
    batch = make_batch(NAME)
    D_A, D_B = (build(NAME).networks[name] for name in ("D_A", "D_B"))
    losses = step(model, batch)
    assert seen["fake_A"] is model.made["fake_A"] and seen["fake_B"] is model.made["fake_B"]
    for name, D, real, fake in (("D_A", D_A, batch["B"], -0.75), ("D_B", D_B, batch["A"], 0.25)):
        judged = D(torch.full_like(real, fake))
        expected = 0.5 * (F.mse_loss(D(real), torch.ones_like(judged)) + (judged**2).mean())
        assert float(losses[name]) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_histories_are_saved_under_their_published_names():
    model = build(NAME, "--pool_size", "1")
    step(model, make_batch(NAME, size=1))
    state = model.extra_state()
    assert set(state) == {"fake_A_pool", "fake_B_pool"}
    torch.testing.assert_close(state["fake_A_pool"][0]["images"][0], model.made["fake_A"][0].detach())
    torch.testing.assert_close(state["fake_B_pool"][0]["images"][0], model.made["fake_B"][0].detach())
    with pytest.raises(ValueError, match="--pool_size 2"):
        build(NAME, "--pool_size", "2").load_extra_state(state)


@pytest.mark.parametrize(("weight", "images"), [("0.5", 3), ("0", 2)])
def test_identity_off_costs_nothing_and_reports_nothing(weight, images):
    model, seen = build(NAME, "--lambda_identity", weight), []
    model.netG_A.register_forward_hook(lambda net, inputs, output: seen.append(len(output)))
    losses = step(model, make_batch(NAME))
    names = ["real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A"]
    if weight == "0":
        names = [name for name in names if not name.startswith("idt")]
    assert sum(seen) == images * len(model.real["A"]) and list(model.visuals()) == names
    assert tuple(losses) == tuple(name for name in PUBLISHED if weight != "0" or "idt" not in name)


def test_visuals_are_what_their_names_say():
    model = build(NAME)
    model.set_input(make_batch(NAME))
    with torch.no_grad():
        model.forward()
    shown, nets = model.visuals(), model.networks
    assert list(shown) == ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"]
    with torch.no_grad():
        for real, there, fake, back, rec in (
            ("real_A", "G_A", "fake_B", "G_B", "rec_A"),
            ("real_B", "G_B", "fake_A", "G_A", "rec_B"),
        ):
            torch.testing.assert_close(shown[fake], nets[there](shown[real]))
            torch.testing.assert_close(shown[rec], nets[back](shown[fake]))


def test_inputs_without_partners_are_translated():
    model = build(NAME)
    model.set_input(make_batch(NAME))
    model.set_input({key: value for key, value in make_batch(NAME).items() if not key.startswith("B")})
    model.forward()
    assert list(model.visuals()) == ["real_A", "fake_B", "rec_A"]


@pytest.mark.parametrize("netD", ["n_layers", "pixel", "multiscale", "ms3", "pix2pixhd"])
@pytest.mark.parametrize("mode", ["lsgan", "wgangp"])
def test_every_discriminator_trains(netD, mode):
    model = build(NAME, "--netD", netD, "--n_layers_D", "1", "--gan_mode", mode)
    before = {name: next(net.parameters()).clone() for name, net in model.networks.items()}
    losses = step(model, make_batch(NAME, size=1))
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(not torch.equal(next(net.parameters()), before[name]) for name, net in model.networks.items())


def test_domains_may_differ_in_channels():
    model = build(NAME, "--input_nc", "1", "--lambda_identity", "0")
    step(model, {**make_batch(NAME), "A": torch.zeros(2, 1, SIZE, SIZE)})
    shown = model.visuals()
    assert [shown[name].shape[1] for name in ("real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B")] == (
        [1, 3, 1, 3, 1, 3]
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--output_nc", "1"],
            r"--lambda_identity 0\.5: .*--input_nc is 3 and --output_nc 1; give --lambda_identity 0",
        ),
        (["--dropout", "0.3"], r"--dropout 0\.3: .*--no_dropout False"),
        (["--netD", "sesame"], "--netD sesame: .*multiscale"),
        (["--netD", "sesam"], "--netD sesam: .*multiscale"),
        (["--gan_mode", "wgangp", "--compile"], "--gan_mode wgangp: .*--compile"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(argv, message):
    with pytest.raises(ValueError, match=message) as refused:
        build(NAME, *argv)
    assert "\n" not in str(refused.value)


def test_dropout_comes_with_its_switch():
    model = build(NAME, "--no_dropout", "False", "--dropout", "0.3")
    rates = {module.p for module in model.netG_B.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.3}
    assert not any(isinstance(module, torch.nn.Dropout) for module in build(NAME).netG_A.modules())


def test_sizes_of_both_sides_are_checked():
    model, batch = build(NAME), make_batch(NAME)
    with pytest.raises(ValueError, match=r"B0\.png at 30x32: .*multiple of 4"):
        model.set_input({**batch, "B": batch["B"][..., :30]})


def test_images_of_two_sizes_train_but_for_the_penalty():
    batch = make_batch(NAME, size=1)
    batch["B"] = batch["B"][..., :24]
    assert all(torch.isfinite(value) for value in step(build(NAME), batch).values())
    with pytest.raises(ValueError, match="24x32 and 32x32 here; use a --preprocess that ends in crop"):
        step(build(NAME, "--gan_mode", "wgangp"), batch)


# --- one direction of a run, by --model test --------------------------------------------------------------------------

PLAIN = ["--gpu_ids", "-1", "--name", "run"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataroot):
    """A run whose flags differ from the defaults of ``--model test``: colour to grey, batch norm, narrow."""
    folder = tmp_path_factory.mktemp("cycle")
    argv = ["--model", NAME, "--dataroot", str(dataroot), "--name", "run"]
    argv += ["--checkpoints_dir", str(folder / "checkpoints"), "--output_nc", "1", "--lambda_identity", "0"]
    argv += ["--norm", "batch", "--n_iters", "2", "--n_iters_decay", "0", "--no_html"]
    assert train.main([*TRAINABLE_ARGS, *argv]) == 0
    return folder


@pytest.fixture()
def here(workdir, trained):
    shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
    return workdir


def pictures(here, visual):
    images = here / "results" / "run" / "test_latest" / "images"
    return {path.stem.split("_")[0]: path.read_bytes() for path in sorted(images.glob(f"*_{visual}.png"))}


def test_one_direction_gives_the_pictures_of_both(here, dataroot):
    assert test_program.main(PLAIN) == 0
    both = {visual: pictures(here, visual) for visual in ("fake_B", "fake_A")}
    for suffix, side, visual in (("_A", "A", "fake_B"), ("_B", "B", "fake_A")):
        argv = ["--model", "test", "--model_suffix", suffix, "--dataroot", str(dataroot / f"test{side}")]
        assert test_program.main([*PLAIN, *argv]) == 0
        assert len(both[visual]) == 3 and pictures(here, "fake") == both[visual]


def test_one_direction_needs_one_network_only(here, dataroot):
    for name in ("G_A", "D_A", "D_B"):
        (here / "checkpoints" / "run" / f"latest_net_{name}.pth").unlink()
    argv = ["--model", "test", "--model_suffix", "_B", "--dataroot", str(dataroot / "testB")]
    assert test_program.main([*PLAIN, *argv]) == 0


@pytest.mark.parametrize("with_options", [True, False])
def test_a_direction_must_be_chosen(with_options, here, dataroot, capsys):
    argv = [*PLAIN, "--model", "test", "--dataroot", str(dataroot / "testA")]
    if not with_options:  # as a download of the original code's checkpoints
        for file in (here / "checkpoints" / "run").glob("train_opt.*"):
            file.unlink()
        argv += ["--netG", "resnet_6blocks", "--ngf", "4", "--norm", "batch", "--no_dropout", "--crop_size", str(SIZE)]
    assert test_program.main(argv) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no GPU found" not in line]
    assert "--model_suffix _A (A to B) or _B" in line


def one_sided(*argv):
    m = parse_test(["--name", "run", "--model", "test", *argv], MODELS, DATASETS).model
    return m.input_nc, m.output_nc


def test_a_direction_takes_its_channels_from_the_run_and_flags_win(here):
    assert [one_sided("--model_suffix", suffix) for suffix in ("_A", "_B")] == [(3, 1), (1, 3)]
    assert one_sided("--model_suffix", "_B", "--input_nc", "4") == (4, 3)
    file = here / "checkpoints" / "run" / "train_opt.json"
    known = json.loads(file.read_text())
    del known["input_nc"], known["output_nc"]
    file.write_text(json.dumps(known))
    assert one_sided("--model_suffix", "_B") == (3, 3)


def test_flags_of_the_training_are_no_flags_of_one_direction(here):
    with pytest.raises(OptionError, match="unknown option --lambda_identity"):
        one_sided("--model_suffix", "_A", "--lambda_identity", "0")
