"""U-GAT-IT's training step is the published one; its pictures, sizes, directions and schedule."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from PIL import Image

import test as test_program
import train
from benchmarks.ugatit_plain import PlainDiscriminator, PlainGenerator, PlainTraining
from data import DATASETS
from models import MODELS
from models.ugatit_model import UGATITModel, UGATITOptions
from options.parse import parse_train
from tests.conftest import SIZE, trainable_args
from tests.models.ugatit.test_networks import fill
from tests.runs import arguments
from util.run.progress import Progress
from util.run.schedule import TrainingSchedule

SMALL = ["--model", "ugatit", *trainable_args("ugatit")]


def build(*argv: str, dataset_size: int = 4) -> Any:
    return train.build_model([*SMALL, *argv], dataset_size=dataset_size)


def batch_of(seed: int = 0, size: int = SIZE, channels: tuple[int, int] = (3, 3), number: int = 2) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    sides = zip("AB", channels)
    images = {side: torch.rand(number, c, size, size, generator=g) * 2 - 1 for side, c in sides}
    paths = [f"{each}.png" for each in range(number)]
    return {**images, "A_paths": paths, "B_paths": paths, "index": torch.arange(number)}


def steps(model: Any, count: int = 1) -> list[dict[str, float]]:
    found = []
    for seed in range(count):
        model.set_input(batch_of(seed))
        found.append({name: float(value) for name, value in model.optimize_parameters().items()})
    return found


# --- the step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [["--light"], [], ["--light", "--activation_checkpointing"]])
def test_four_steps_are_the_published_ones(extra) -> None:
    """Fakes made once and detached, fused norms, divided outputs: the same numbers as the plain form, in float64."""
    model = build(*extra, "--cam_weight", "1000", "--lr", "0.001")
    plain: dict[str, Any] = {f"G_{way}": PlainGenerator(4, 1, "--light" in extra, SIZE) for way in ("A2B", "B2A")}
    plain |= {f"D_{s}{side}": PlainDiscriminator(4, {"G": 5, "L": 3}[s]) for s in "GL" for side in "AB"}
    for name, net in model.networks.items():
        fill(net.double(), refine=True)
        plain[name].double().load_state_dict(net.state_dict())
    reference = PlainTraining(plain, lr=0.001)
    for seed in range(4):
        batch = {key: value.double() if key in "AB" else value for key, value in batch_of(seed).items()}
        model.set_input(batch)
        losses = {name: float(value) for name, value in model.optimize_parameters().items()}
        assert losses == pytest.approx(reference.step(batch["A"], batch["B"]), rel=1e-8)
    assert list(losses) == ["D_A", "D_B", "G_adv", "G_cycle", "G_idt", "G_cam"]
    for name, net in plain.items():
        for key, value in net.state_dict().items():
            torch.testing.assert_close(model.networks[name].state_dict()[key], value, rtol=1e-6, atol=1e-7, msg=key)
    rhos = [p for name in ("G_A2B", "G_B2A") for key, p in plain[name].named_parameters() if key.endswith("rho")]
    assert all(bool(((rho >= 0) & (rho <= 1)).all()) for rho in rhos)


def test_rho_is_put_back_into_its_range() -> None:
    model = build()
    for norm in model._norms():
        norm.rho.data.fill_(1.5)
    steps(model)
    assert model.diagnostics() == {"rho_mean": 1.0, "rho_mean_ILN": 1.0}


def test_nothing_of_the_graph_is_kept_between_steps() -> None:
    model = build("--show_D_heat")
    steps(model)
    kept = [*model.images.values(), *model.heats.values(), *model.visuals().values()]
    assert len(model.images) == 6 and not model._made
    assert not any(each.requires_grad for each in kept)


def test_weights_of_zero_leave_terms_and_passes_out() -> None:
    model = build("--identity_weight", "0", "--cam_weight", "0", "--output_nc", "1")
    model.set_input(batch_of(channels=(3, 1)))
    assert list(model.optimize_parameters()) == ["D_A", "D_B", "G_adv", "G_cycle"] == list(model.loss_names)
    assert model.visuals()["fake_B"].shape[1] == 1 and "idt_A" not in model.visuals()
    model = build("--identity_weight", "0")
    assert list(steps(model)[0]) == ["D_A", "D_B", "G_adv", "G_cycle", "G_cam"]


def test_one_channel_on_both_sides() -> None:
    model = build("--input_nc", "1", "--output_nc", "1", "--ugatit_strip")
    model.set_input(batch_of(channels=(1, 1)))
    model.optimize_parameters()
    shown = model.visuals()
    assert shown["rec_A"].shape[1] == 1 and shown["strip_A2B"].shape == (2, 3, 7 * SIZE, SIZE)


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_the_rate_by_steps_is_the_published_one_but_never_0() -> None:
    """Published: lr0 (1 - (s - H) / H) in step s > H of 2 H, so that the last step is wasted; here it is over H + 1."""
    H = 50
    plan = TrainingSchedule(steps_per_epoch=7, n_iters=H, n_iters_decay=H)
    for s in range(1, 2 * H + 1):
        published = 1.0 if s <= H else 1 - (s - H) / H
        factor = plan.factor(Progress(steps=s - 1))
        assert published <= factor <= published + 1 / (H + 1) + 1e-12
        assert factor > 0
    assert plan.factor(Progress(steps=10 * H)) > 0


def test_decay_flag_false_keeps_the_rate() -> None:
    for flag, policy in (("True", "linear"), ("False", "constant")):
        options = parse_train(["--dataroot", "d", "--model", "ugatit", "--decay_flag", flag], MODELS, DATASETS)
        assert options.schedule.lr_policy == policy


def test_weight_decay_is_inside_the_gradient_and_one_width_sets_both() -> None:
    model = build("--weight_decay", "0.25", "--ch", "2")
    assert {g["weight_decay"] for o in model.optimizers.values() for g in o.param_groups} == {0.25}
    assert type(model.optimizers["G"]) is torch.optim.Adam
    assert model.networks["G_A2B"].DownBlock[1].out_channels == model.networks["D_GA"].model[1].out_channels == 2
    assert UGATITOptions().lr == 0.0001 and UGATITOptions().weight_decay == 0.0001


def test_a_stopped_run_goes_on_bit_for_bit(workdir, dataroot) -> None:
    common = ["--light", "--no_html", "--n_iters_decay", "2"]
    for name, parts in (("whole", ["3"]), ("broken", ["1", "3"])):
        for number, n_iters in enumerate(parts):
            extra = [*common, "--n_iters", n_iters] if name == "whole" or number else ["--light", "--n_iters", "2"]
            argv = arguments(dataroot, *extra, model="ugatit", name=name)
            assert train.main([*argv, "--continue_train"] if number else argv) == 0
    whole, broken = (workdir / "checkpoints" / name for name in ("whole", "broken"))
    for file in whole.glob("latest_net_*.pth"):
        one, other = (torch.load(run / file.name, weights_only=True) for run in (whole, broken))
        assert all(torch.equal(value, other[key]) for key, value in one.items()), file.name


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_the_pictures_of_training_are_the_published_rows() -> None:
    model = build("--show_D_heat", "--ugatit_strip")
    steps(model)
    rows = {
        "A2B": ["real_A", "heat_idt_A", "idt_A", "heat_fake_B", "fake_B", "heat_rec_A", "rec_A"],
        "B2A": ["real_B", "heat_idt_B", "idt_B", "heat_fake_A", "fake_A", "heat_rec_B", "rec_B"],
    }
    judges = {"A2B": ["heat_D_GB", "heat_D_LB"], "B2A": ["heat_D_GA", "heat_D_LA"]}
    shown = model.visuals()
    assert list(shown) == [name for way in rows for name in (*rows[way], *judges[way], f"strip_{way}")]
    for way, names in rows.items():
        assert torch.equal(shown[f"strip_{way}"], torch.cat([shown[name] for name in names], dim=2))


def test_a_dead_attention_is_told_once(caplog) -> None:
    model = build()
    torch.nn.init.constant_(model.networks["G_A2B"].conv1x1.bias, -1e4)
    steps(model)
    with caplog.at_level(logging.WARNING):
        model.visuals()
        model.visuals()
    assert caplog.text.count("all zero") == 1 and "fake_B" in caplog.text


def test_pictures_of_a_test_and_one_direction(workdir, dataroot) -> None:
    argv = arguments(dataroot, "--light", "--n_iters", "1", "--no_html", model="ugatit")
    assert train.main(argv) == 0
    run = workdir / "checkpoints" / "run"
    both = ["--name", "run", "--gpu_ids", "-1", "--num_test", "1"]

    def written(*extra: str, phase: str = "test") -> list[str]:
        assert test_program.main([*both, *extra]) == 0
        return sorted(file.name for file in (workdir / "results" / "run" / f"{phase}_latest" / "images").iterdir())

    way = ["heat_fake_B", "fake_B", "rec_A", "real_A"]
    other = ["heat_fake_A", "fake_A", "rec_B", "real_B"]
    assert written() == sorted(f"0_{name}.png" for name in way + other)
    assert len(written("--ugatit_strip")) == 16
    strip = workdir / "results/run/test_latest/images/0_strip_A2B.png"
    assert Image.open(strip).size == (SIZE, 7 * SIZE)
    single = ["--dataset_mode", "single", "--phase"]
    assert written(*single, "testA", phase="testA") == sorted(f"0_{name}.png" for name in way)
    for file in run.glob("*_net_G_A2B.pth"):
        file.unlink()
    only = written(*single, "testB", "--test_direction", "BtoA", phase="testB")
    assert only == ["0_fake_A.png", "0_heat_fake_A.png", "0_real_B.png"]
    images = workdir / "results/run/testB_latest/images"
    assert Image.open(images / "0_real_B.png").tobytes() == Image.open(dataroot / "testB/0.png").tobytes()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_sizes() -> None:
    assert build("--crop_size", "32").img_size == 32  # full generators follow --crop_size
    with pytest.raises(ValueError, match=r"0.png at 36x36: the full generator was built for 32x32.*--img_size 32"):
        build().set_input(batch_of(size=36))
    with pytest.raises(ValueError, match=r"--crop_size 88x88: with --n_layers_global 7 training needs at least 96"):
        build("--light", "--n_layers_global", "7", "--n_layers_local", "5").check_size(88, 88)
    model = build("--light")
    model.set_input(batch_of(size=36))
    model.optimize_parameters()
    with pytest.raises(ValueError, match="multiple of 4"):
        model.set_input(batch_of(size=34))


@pytest.mark.parametrize(
    ("flags", "kind"), [([], "full (32x32 pixels)"), (["--light"], "light"), (["--mlp_pool", "2"], "--mlp_pool 2")]
)
def test_the_memory_of_the_networks_is_told(flags, kind, caplog) -> None:
    with caplog.at_level(logging.INFO):
        model = build("--ch", "16", *flags)
    total = 16 * sum(p.numel() for net in model.networks.values() for p in net.parameters())
    assert f"take {total / 1e9:.2f} GB" in caplog.text and f"{kind} generators" in caplog.text


@pytest.mark.parametrize(("words", "load_size"), [([], 158), (["--load_size", "143"], 143)])
def test_images_are_30_pixels_larger_than_the_crop(words, load_size) -> None:
    options = parse_train(["--model", "ugatit", "--dataroot", "x", "--crop_size", "128", *words], MODELS, DATASETS)
    assert options.data.load_size == load_size


def test_flags_without_effect_are_told(caplog) -> None:
    build("--netG", "resnet_6blocks", "--pool_size", "9")
    assert "--netG has no effect on --model ugatit" in caplog.text and "--pool_size has no effect" in caplog.text


def test_nothing_to_train_by_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is left to train by"):
        UGATITOptions(adv_weight=0, cycle_weight=0, identity_weight=0, cam_weight=0)


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        (["--gan_mode", "vanilla"], "--gan_mode vanilla"),
        (["--light", "--mlp_pool", "4"], "--mlp_pool 4 with --light"),
        (["--output_nc", "1"], "--identity_weight 0 --cam_weight 0"),
        (
            ["--ugatit_strip", "--test_direction", "AtoB"],
            "--test_direction AtoB: a strip needs both.*--ugatit_strip False",
        ),
        (["--ugatit_strip", "--input_nc", "5", "--output_nc", "5"], "1 and 3 channels"),
        (["--test_direction", "AtoB"], "training needs both generators"),
    ],
)
def test_options_that_do_not_fit(extra, part) -> None:
    with pytest.raises(ValueError, match=part):
        build(*extra)


def test_one_direction_reads_one_folder() -> None:
    from util.run.engine import Engine

    model = UGATITModel(UGATITOptions(ngf=2, n_res=1, light=True, test_direction="AtoB"), Engine())
    assert list(model.networks) == ["G_A2B"]
    with pytest.raises(ValueError, match="--dataset_mode single --phase testA"):
        model.set_input(batch_of())
    options = {"identity_weight": 0, "cam_weight": 0, "output_nc": 1, "test_direction": "BtoA"}
    model = UGATITModel(UGATITOptions(ngf=2, n_res=1, light=True, **options), Engine())
    assert model.options.data_channels == (1, 3)
    batch = {key: value for key, value in batch_of().items() if not key.startswith("B")}
    model.set_input({**batch, "A": batch["A"][:, :1]})  # what the data set gives, read with one channel
    model.forward()
    assert model.visuals()["fake_A"].shape[1] == 3
