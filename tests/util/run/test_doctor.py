"""Judgements over windows of records: each sign on records made to show it, and silence beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.util.loggers.records import epoch, scalars
from util.run.doctor import (
    LATE,
    PICTURE_STEPS,
    PICTURES,
    SCALAR_STEPS,
    SCALARS,
    Doctor,
    Finding,
    overfitting,
    pairs_of,
)
from util.types import CYCLE_VISUALS, PAIRED_VISUALS, ImageRecord, Visual

SIZE = 64
DRAWN = {"real": Visual("real", "A"), "fake": Visual("fake", "A")}  # from noise, without a partner

Draw = Callable[[np.random.Generator], np.ndarray]


def scene(rng: np.random.Generator) -> np.ndarray:
    """Smooth blobs in all levels, another one in every picture: ``[64, 64, 3]``."""
    coarse = rng.uniform(0, 255, (9, 9, 3))
    at = np.linspace(0, 7.99, SIZE)
    low, part = at.astype(int), at % 1
    rows = coarse[low] * (1 - part[:, None, None]) + coarse[low + 1] * part[:, None, None]
    return (rows[:, low] * (1 - part[None, :, None]) + rows[:, low + 1] * part[None, :, None]).astype(np.uint8)


def judge_pictures(
    fake: Callable[[np.ndarray], np.ndarray], *, kinds=PAIRED_VISUALS, real=scene, count=PICTURES, **options: object
):
    """Findings after ``count`` pictures: ``fake`` makes the fakes from the real ones."""
    doctor, rng = Doctor(options), np.random.default_rng(0)
    for number in range(count):
        images = {}
        for name, kind in kinds.items():
            images[name] = real(rng) if kind.role == "real" else fake(images[_partner(name, kinds)])
        found = doctor.add_images(ImageRecord(1, PICTURE_STEPS * (number + 1), images, (f"{number}.png",), kinds))
        assert number == count - 1 or not found, "a judgement before its time"
    return found


def _partner(fake: str, kinds) -> str:
    return next(name for name, kind in kinds.items() if kind.role == "real" and kind.domain == kinds[fake].domain)


PAIRED = {name: PAIRED_VISUALS[name] for name in ("real_A", "real_B", "fake_B")}


def signs(found: list[Finding]) -> list[tuple[str, str]]:
    return [(each.sign, each.about) for each in found]


def test_a_healthy_pair_is_no_finding() -> None:
    noisy = np.random.default_rng(9).normal(0, 20, (SIZE, SIZE, 3))
    assert judge_pictures(lambda real: np.clip(real + noisy, 0, 255).astype(np.uint8), kinds=PAIRED) == []


def test_a_picture_of_one_colour() -> None:
    found = judge_pictures(lambda real: np.full_like(real, 90), kinds=PAIRED)
    assert signs(found) == [("constant", "fake_B")] and "--init_type" in found[0].text


def test_a_picture_of_one_colour_is_right_where_the_targets_are() -> None:
    flat = lambda rng: np.full((SIZE, SIZE, 3), rng.integers(0, 255), np.uint8)  # noqa: E731
    assert judge_pictures(lambda real: real, kinds=PAIRED, real=flat) == []


def test_the_same_picture_whatever_the_input() -> None:
    always = scene(np.random.default_rng(5))
    found = judge_pictures(lambda real: always, kinds=PAIRED)
    assert signs(found) == [("constant", "fake_B")] and "whatever the input" in found[0].text
    assert signs(judge_pictures(lambda real: always, kinds=DRAWN)) == [("constant", "fake")]


def test_the_same_picture_is_right_for_the_same_input() -> None:
    always = scene(np.random.default_rng(5))
    assert judge_pictures(lambda real: always, kinds=PAIRED, real=lambda rng: always) == []


def test_a_negative_of_the_target() -> None:
    found = judge_pictures(lambda real: 255 - real, kinds=PAIRED)
    assert signs(found) == [("inverted", "fake_B")]
    assert "real_B" in found[0].text and "--lambda_L1" in found[0].text


def test_a_negative_of_the_input_is_a_sign_without_pairs_alone() -> None:
    kinds = {name: CYCLE_VISUALS[name] for name in ("real_A", "real_B", "fake_B")}
    doctor, rng = Doctor({}), np.random.default_rng(0)
    paired = Doctor({})
    for number in range(PICTURES):
        a, b = scene(rng), scene(rng)
        found = doctor.add_images(
            ImageRecord(1, PICTURE_STEPS * (number + 1), {"real_A": a, "real_B": b, "fake_B": 255 - a}, (), kinds)
        )
        target = {"real_A": a, "real_B": 255 - a, "fake_B": 255 - a}
        silent = paired.add_images(ImageRecord(1, PICTURE_STEPS * (number + 1), target, (), PAIRED))
    assert signs(found) == [("inverted", "fake_B")] and "real_A" in found[0].text and "identity" in found[0].text
    assert silent == []


def test_a_checkerboard_that_the_real_images_lack() -> None:
    board = 30 * (np.indices((SIZE, SIZE)).sum(0) % 2)[:, :, None].astype(np.uint8)
    found = judge_pictures(lambda real: real // 2 + board, kinds=PAIRED, count=LATE)
    assert signs(found) == [("checkerboard", "fake_B")] and "--netG" in found[0].text
    woven = lambda rng: scene(rng) // 2 + board  # noqa: E731
    assert judge_pictures(lambda real: real, kinds=PAIRED, real=woven, count=LATE) == []


def test_saturated_and_pale_fakes() -> None:
    ends = judge_pictures(lambda real: np.where(real > 128, 255, 0).astype(np.uint8), kinds=PAIRED)
    assert signs(ends) == [("range", "fake_B")] and "black or white" in ends[0].text
    assert "atme_head" not in ends[0].text
    options = {"atme_head": "resnet"}
    ends = judge_pictures(lambda real: np.where(real > 128, 255, 0).astype(np.uint8), kinds=PAIRED, **options)
    assert "--atme_head conv_clamp" in ends[0].text
    pale = judge_pictures(lambda real: (100 + real / 10).astype(np.uint8), kinds=PAIRED, count=2 * LATE)
    assert signs(pale) == [("range", "fake_B")] and "10%" in pale[0].text
    drawing = lambda rng: np.where(scene(rng) > 128, 255, 0).astype(np.uint8)  # noqa: E731
    assert judge_pictures(lambda real: real, kinds=PAIRED, real=drawing) == []


def test_data_that_use_a_sixteenth_of_their_range() -> None:
    found = judge_pictures(lambda real: real, kinds=PAIRED, real=lambda rng: scene(rng) // 16)
    assert [each for each in signs(found) if each[1] != "fake_B"] == [("range", "real_A"), ("range", "real_B")]
    assert "--value_range_A" in found[0].text and "--value_range_B" in found[1].text
    swapped = judge_pictures(lambda real: real, kinds=PAIRED, real=lambda rng: scene(rng) // 16, direction="BtoA")
    assert "--value_range_B" in swapped[0].text and "--value_range_A" in swapped[1].text
    drawn = judge_pictures(lambda real: real, kinds=DRAWN, real=lambda rng: scene(rng) // 16)
    assert "--value_range LOW" in drawn[0].text


def test_pictures_that_are_no_values_and_changing_sizes_are_left_alone() -> None:
    doctor, rng = Doctor({}), np.random.default_rng(0)
    for number in range(2 * PICTURES):
        images = {"real_A": scene(rng), "real_B": scene(rng)[: 40 + number], "fake_B": scene(rng)[:50, :40, :1]}
        images["labels"] = np.zeros((SIZE, SIZE, 3), np.uint8)
        assert doctor.add_images(ImageRecord(1, PICTURE_STEPS * (number + 1), images, (), PAIRED)) == []


def test_of_a_large_picture_the_centre_is_looked_at() -> None:
    def framed(inner: np.ndarray) -> np.ndarray:
        return np.pad(np.tile(inner, (8, 8, 1)), ((100, 100), (40, 40), (0, 0)))

    found = judge_pictures(
        lambda real: framed(255 - real[100:164, 40:104]), kinds=PAIRED, real=lambda r: framed(scene(r))
    )
    assert signs(found) == [("inverted", "fake_B")] and "-1.00" in found[0].text


def test_partners_follow_from_the_kinds() -> None:
    blank = np.zeros((1, 1, 3), np.uint8)
    found = {}
    for kinds in (PAIRED_VISUALS, CYCLE_VISUALS, DRAWN):
        record = ImageRecord(1, 1, dict.fromkeys(kinds, blank), (), kinds)
        found |= {(each.fake, len(kinds)): (each.real, each.target, each.source) for each in pairs_of(record)}
    assert found == {
        ("fake_B", 3): ("real_B", "real_B", "real_A"),
        ("fake_B", 6): ("real_B", "", "real_A"),
        ("fake_A", 6): ("real_A", "", "real_B"),
        ("fake", 2): ("real", "", ""),
    }


def judge_losses(count: int = SCALARS, options: dict[str, object] | None = None, **losses: object) -> list[Finding]:
    """Findings after ``count`` records; a loss is a number, around which it varies a little, or a function of the
    record's number."""
    doctor, found = Doctor(options or {}), []
    for number in range(count):
        values = {
            name: value(number) if callable(value) else value * (1 + 1e-3 * (number % 2))
            for name, value in losses.items()
        }
        found = doctor.add_scalars(scalars(SCALAR_STEPS * (number + 1), **values))
    return found


def test_d_has_won() -> None:
    found = judge_losses(G_GAN=6.0, D_real=0.002, D_fake=0.004)
    assert signs(found) == [("d_won", "D_real,D_fake")] and "D_real 0.002" in found[0].text and "--lr," in found[0].text
    assert "--lr_D" in judge_losses(options={"lr_D": 4e-4}, D_real=0.0, D_fake=0.0)[0].text
    assert signs(judge_losses(D_A=0.002, G_A=1.0, D_B=0.2)) == [("d_won", "D_A")]


@pytest.mark.parametrize(
    ("options", "losses"),
    [
        ({}, {"D_real": 0.001, "D_fake": 0.3}),  # sure of the real images alone
        ({}, {"D_real": -30.0, "D_fake": -30.0}),  # a critic
        ({"gan_mode": "wgangp"}, {"D_real": 0.001, "D_fake": 0.002}),
        ({}, {"D_gp_A": 0.001, "G_L1": 0.001, "DC": 0.0}),  # no loss of D
        ({}, {"D_A": lambda number: 0.3 if number % 10 == 0 else 0.0}),  # mean 0.03
    ],
)
def test_d_has_not_won(options: dict[str, object], losses: dict[str, object]) -> None:
    assert judge_losses(options=options, **losses) == []


def test_d_has_not_won_before_the_window_is_full() -> None:
    assert judge_losses(SCALARS - 1, D_A=0.0) == []


def test_a_discriminator_that_answers_everything_alike() -> None:
    still = {"G": -0.03, "D_real": lambda number: 0.967, "D_fake": lambda number: 1.033}
    found = judge_losses(options={"lr_D": 4e-4}, **still)
    assert signs(found) == [("d_dead", "D_real,D_fake")]
    assert "D_real 0.967, D_fake 1.033 in each" in found[0].text and "--lr_D" in found[0].text
    critic = judge_losses(options={"gan_mode": "wgangp"}, D_A=lambda number: -0.5, D_B=0.3)
    assert signs(critic) == [("d_dead", "D_A")]
    assert judge_losses(SCALARS - 1, **still) == []
    assert judge_losses(**{**still, "D_real": lambda number: 0.967 + 1e-3 * (number == 7)}) == []
    assert judge_losses(D_A=lambda number: 0.25 + 1e-4 * (number % 2)) == [], "it knows nothing, and is alive"
    assert signs(judge_losses(D_A=lambda number: 0.0)) == [("d_won", "D_A")], "one of both"


def test_records_of_too_few_steps_are_no_reason() -> None:
    """Printed after every step, or of a batch that is larger than --print_freq: 20 records of 20 steps."""
    doctor, large = Doctor({}), Doctor({"batch_size": 8, "accum_grad": 2})
    for step in range(1, SCALARS * SCALAR_STEPS):
        assert doctor.add_scalars(scalars(step, D_A=0.0)) == []
        assert large.add_scalars(scalars(16 * step, D_A=0.0)) == []
    assert signs(doctor.add_scalars(scalars(SCALARS * SCALAR_STEPS, D_A=0.0))) == [("d_won", "D_A")]
    assert signs(large.add_scalars(scalars(16 * SCALARS * SCALAR_STEPS, D_A=0.0))) == [("d_won", "D_A")]


def test_pictures_of_too_few_steps_are_no_reason() -> None:
    doctor, rng = Doctor({"batch_size": 2}), np.random.default_rng(0)
    found = []
    for step in range(1, PICTURES * PICTURE_STEPS + 1):
        assert found == [], "a network of some steps makes one colour"
        images = {name: scene(rng) for name in ("real_A", "real_B")} | {
            "fake_B": np.full((SIZE, SIZE, 3), 128, np.uint8)
        }
        found = doctor.add_images(ImageRecord(1, 2 * step, images, (), PAIRED))
    assert signs(found) == [("constant", "fake_B")]


def judge_epochs(images: int, count: int, options: dict[str, object] | None = None, **means: float) -> list[Finding]:
    doctor, found = Doctor(options or {}), []
    for number in range(1, count + 1):
        found = doctor.add_epoch(epoch(number, number * images, **means))
    return found


def test_d_has_won_by_the_means_of_three_epochs() -> None:
    losing = {"D_real": 1e-3, "D_fake": 1e-3, "D_sum": 2e-3}
    found = judge_epochs(80, 3, **losing)
    assert signs(found) == [("d_won", "D_real,D_fake")] and "mean of the last epoch" in found[0].text
    assert judge_epochs(80, 2, **losing) == []
    assert judge_epochs(40, 4, **losing) == [] and judge_epochs(40, 5, **losing), "of 200 steps or more"
    assert judge_epochs(80, 3, {"batch_size": 4}, **losing) == []
    assert judge_epochs(80, 3, {"gan_mode": "wgan"}, **losing) == []
    assert signs(judge_epochs(80, 3, D_A=0.5, D_B=1e-3)) == [("d_won", "D_B")]


def test_an_epoch_in_which_d_errs_starts_the_count_again() -> None:
    doctor, found = Doctor({}), []
    for number, loss in enumerate([1e-3, 1e-3, 0.4, 1e-3, 1e-3, 1e-3], start=1):
        assert not found
        found = doctor.add_epoch(epoch(number, 100 * number, D_A=loss))
    assert signs(found) == [("d_won", "D_A")]


def test_the_eight_terms_of_ugatit() -> None:
    """D that knows nothing: 0.25 halved twice of least squares elsewhere, here 8 x 0.25 = 2, times the weight."""
    weighted = {"adv_weight": 2.0}
    assert signs(judge_losses(options=weighted, D_A=0.3, D_B=0.4)) == [("d_won", "D_A")]  # below 0.02 x 16
    assert judge_losses(options=weighted, D_A=100.0) == [] and judge_losses(options=weighted, D_A=4.0) == []
    found = judge_losses(options=weighted, D_A=170.0)
    assert signs(found) == [("diverging", "D_A")] and "less than 16 is usual" in found[0].text
    assert judge_losses(options={"adv_weight": 0.0}, D_A=lambda number: 0.0) == [], "no discriminator is trained"


def test_a_loss_that_grows() -> None:
    found = judge_losses(G_GAN=lambda number: 0.7 * 2**number)
    assert signs(found) == [("diverging", "G_GAN")] and "--lr" in found[0].text and "fp32" not in found[0].text
    assert "fp32" in judge_losses(options={"precision": "fp16"}, D_real=lambda number: 2.0**number)[0].text


def test_a_loss_of_d_that_was_large_from_the_start() -> None:
    found = judge_losses(G_GAN=50.0, D_real=40.0, D_fake=lambda number: 300.0 * (number % 3 == 0))
    assert signs(found) == [("diverging", "D_real,D_fake")]
    assert judge_losses(SCALARS - 1, D_A=40.0) == []
    assert judge_losses(options={"gan_mode": "wgangp"}, D_A=40.0) == []


def test_losses_that_are_large_or_jump_once_do_not_grow() -> None:
    assert judge_losses(G_L1=5000.0) == []
    assert judge_losses(G_GAN=lambda number: 1e6 if number == 17 else 1.0) == []
    assert judge_losses(G_GAN=lambda number: 0.01 * 2 ** (number / 2)) == [], "0.01 to 10: large in ratio alone"
    assert judge_losses(options={"gan_mode": "wgan"}, D_real=lambda number: -1.0 - 20 * number) == []


def evaluations(train: list[float], held_out: list[float], metric: str = "l1"):
    return [epoch(n, n * 40, {metric: h}, G_L1=t) for n, (t, h) in enumerate(zip(train, held_out), start=1)]


def test_overfitting() -> None:
    finding = overfitting(evaluations([30, 20, 15, 10, 6, 5], [0.20, 0.15, 0.16, 0.16, 0.17, 0.17]))
    assert finding and "since epoch 2" in finding.text and "20 to 5" in finding.text and "0.15 to 0.17" in finding.text


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ([30, 20, 15, 10], [0.20, 0.15, 0.16, 0.17]),  # two evaluations since the best
        ([30, 20, 15, 13, 11], [0.20, 0.15, 0.152, 0.153, 0.154]),  # no worse
        ([30, 20, 19, 18, 17], [0.20, 0.15, 0.16, 0.16, 0.17]),  # both have come to rest
        ([30, 20, 15, 13, 11], [0.20, 0.15, 0.16, 0.151, 0.17]),  # nearly as good in between
    ],
)
def test_no_overfitting(train: list[float], held_out: list[float]) -> None:
    assert overfitting(evaluations(train, held_out)) is None


def test_held_out_images_that_get_no_better_at_three_times_the_training_error() -> None:
    held_out = [0.20, 0.16, 0.150, 0.149, 0.149, 0.148]
    finding = overfitting(evaluations([60, 20, 15, 12, 10, 9.8], held_out), 100)  # 9.8 / 200 = 0.049
    assert finding and "0.049" in finding.text and "0.15 on held-out" in finding.text
    assert not overfitting(evaluations([60, 20, 15, 12, 10, 9.9], held_out), 100), "0.0495 is more than a third"
    assert not overfitting(evaluations([60, 20, 15, 12, 10, 9], held_out))
    assert not overfitting(evaluations([60, 20, 15, 12, 10, 9], [0.20, 0.18, 0.17, 0.165, 0.16, 0.15]), 100)


def test_held_out_images_that_get_no_better_while_the_training_error_halves() -> None:
    held_out = [0.20, 0.15, 0.148, 0.151, 0.147, 0.146]  # 3 % of 0.15 is 0.0045
    finding = overfitting(evaluations([60, 20, 15, 12, 11, 10], held_out))
    assert finding and "since epoch 2" in finding.text and "20 to 10" in finding.text and "no better" in finding.text
    assert not overfitting(evaluations([60, 20, 15, 12, 11, 10.1], held_out))
    assert not overfitting(evaluations([60, 20, 15, 12, 11, 10], [*held_out[:5], 0.145]))
    assert not overfitting(evaluations([60, 60, 20, 12, 10.1], [0.20, 0.20, 0.15, 0.15, 0.15])), "two since the third"


def test_overfitting_by_psnr_and_only_where_both_were_measured() -> None:
    assert overfitting(evaluations([30, 20, 9, 8, 7], [15, 20, 19, 19, 19], "psnr"))  # 1 dB: 1.12 times the error
    assert not overfitting(evaluations([30, 20, 15, 13, 11], [15, 20, 19.9, 19.9, 19.9], "psnr"))
    assert not overfitting(evaluations([30, 20, 9, 8, 7], [1, 2, 3, 4, 5], "kid"))
    doctor = Doctor({})
    found = [doctor.add_epoch(each) for each in evaluations([30, 20, 9, 8, 7], [0.2, 0.1, 0.2, 0.2, 0.2])]
    assert signs(found[-1]) == [("overfitting", "G_L1")] and not any(found[:-1])


def test_the_flags_of_a_remedy_are_those_of_the_model() -> None:
    sagan = {"lr": 2e-4, "lr_G": 1e-4, "lr_D": 4e-4, "gan_mode": "ls"}
    (won,) = judge_losses(options=sagan, D_real=0.001, D_fake=0.001)
    assert "a lower --lr_D, a smaller --ndf" in won.text, "it is least squares already"
    assert "--lr_D or --lr_G" in judge_losses(options=sagan, D_real=40.0, D_fake=0.1)[0].text
    assert "a lower --lr_G or" in judge_pictures(lambda real: np.full_like(real, 90), kinds=DRAWN, **sagan)[0].text


def test_overfitting_of_the_model_whose_l1_has_another_name() -> None:
    records = [epoch(n, 40 * n, {"l1": 0.1 + 0.1 * (n > 2)}, G_L=30.0 / n) for n in range(1, 6)]
    assert overfitting(records[:4]) and overfitting(records[:3]) is None
