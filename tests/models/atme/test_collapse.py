"""The warnings of a training that has failed, and the numbers behind them."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from models.atme.collapse import CollapseMonitor, entropy

CPU = torch.device("cpu")


def alone(value):
    return [value]


def step(monitor, D_real=0.69, D_fake=0.69, fake=0.0, logit=0.0, **more):
    maps = torch.full((2, 1, 3, 3), float(logit))
    monitor.update(torch.tensor(D_real), torch.tensor(D_fake), torch.full((2, 3, 8, 8), float(fake)), maps, **more)


@pytest.fixture()
def warned(caplog):
    caplog.set_level(logging.WARNING)

    def messages():
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return messages


def epoch(monitor, warned, **values):
    step(monitor, **values)
    return monitor.report(alone, tell=True), warned()


def test_entropy_is_that_of_the_formula():
    assert float(entropy(torch.zeros(2, 1, 3, 3))) == pytest.approx(math.log(2), rel=1e-6)
    p = 1 / (1 + math.exp(-1.5))
    by_hand = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert float(entropy(torch.tensor([1.5]))) == pytest.approx(by_hand, rel=1e-6)
    assert float(entropy(torch.tensor([1.5, -1.5, 0.0]))) == pytest.approx((2 * by_hand + math.log(2)) / 3, rel=1e-6)
    assert float(entropy(torch.tensor([1e4, -1e4]))) == 0.0, "a D without doubt gives no NaN"


def test_a_healthy_epoch(warned):
    report, messages = epoch(CollapseMonitor(), warned)
    assert list(report) == ["D_sum", "D_entropy", "saturated", "collapsed"] and not messages
    assert report["D_sum"] == pytest.approx(1.38) and report["D_entropy"] == pytest.approx(math.log(2))
    assert report["saturated"] == 0 and report["collapsed"] == 0


def test_nothing_to_report_before_a_step():
    assert CollapseMonitor().report(alone, tell=True) == {}


def test_means_are_weighted_and_start_anew_every_epoch():
    monitor = CollapseMonitor()
    step(monitor, 1.0, 2.0, fake=1.0, weight=3)
    step(monitor, 5.0, 0.0, weight=1)
    report = monitor.report(alone, tell=False)
    assert report["D_sum"] == pytest.approx((3 * 3.0 + 5.0) / 4) and report["saturated"] == pytest.approx(0.75)
    step(monitor, 0.25, 0.25)
    assert monitor.report(alone, tell=False)["D_sum"] == pytest.approx(0.5)


def test_D_that_has_won_is_told_from_the_third_epoch_on_and_once_an_epoch(warned):
    monitor = CollapseMonitor()
    losing = {"D_real": 9e-4, "D_fake": 1e-5}
    for _ in range(2):
        report, messages = epoch(monitor, warned, **losing)
        assert report["collapsed"] == 0 and not messages
    for count in (3, 4):
        for _ in range(5):
            step(monitor, **losing)
        report, (message,) = epoch(monitor, warned, **losing)
        assert report["collapsed"] == 1 and f"for {count} epochs" in message
        assert all(word in message for word in ("D_real", "D_fake", "0.001", "--seed", "--init_type", "--lr"))
    report, messages = epoch(monitor, warned, D_real=0.1, D_fake=1e-5)
    assert report["collapsed"] == 0 and not messages
    assert epoch(monitor, warned, **losing)[1] == [], "the count starts anew"


@pytest.mark.parametrize("losses", [(0.5, 1e-4), (1e-4, 0.5), (2e-3, 2e-3), (-3.0, -2.0), (-1e-4, 5e-4)])
def test_other_losses_are_no_reason(losses, warned):
    """One of them is large, both are small but not that small, or a Wasserstein critic has losses below 0."""
    monitor = CollapseMonitor(patience=1)
    report, messages = epoch(monitor, warned, D_real=losses[0], D_fake=losses[1])
    assert report["collapsed"] == 0 and not messages


@pytest.mark.parametrize(("fake", "collapsed"), [(0.99, 1), (-0.99, 1), (0.97, 0), (-0.97, 0)])
def test_saturated_pictures_are_told_at_once(fake, collapsed, warned):
    report, messages = epoch(CollapseMonitor(), warned, fake=fake)
    assert report["saturated"] == report["collapsed"] == collapsed == len(messages)
    for message in messages:
        assert "100.0 %" in message and "--atme_head conv_clamp" in message


def test_a_few_grey_pixels_make_a_picture_of_it(warned):
    monitor, fake = CollapseMonitor(), torch.ones(1, 1, 10, 20)
    fake[..., 0, :3] = 0.5  # 98.5 % are saturated
    monitor.update(torch.tensor(0.7), torch.tensor(0.7), fake, torch.zeros(1, 1, 2, 2))
    report = monitor.report(alone, tell=True)
    assert report["saturated"] == pytest.approx(0.985) and report["collapsed"] == 0 and not warned()


def test_targets_that_are_black_and_white_themselves_are_no_collapse(warned):
    masks = torch.ones(2, 1, 8, 8)
    report, messages = epoch(CollapseMonitor(), warned, fake=1.0, real=masks)
    assert report["saturated"] == 1 and report["collapsed"] == 0 and not messages
    report, messages = epoch(CollapseMonitor(), warned, fake=1.0, real=masks * 0.5)
    assert report["collapsed"] == 1 and len(messages) == 1


def test_only_the_main_process_tells(warned):
    monitor = CollapseMonitor()
    step(monitor, fake=1.0)
    assert monitor.report(alone, tell=False)["collapsed"] == 1 and not warned()


def test_processes_report_the_mean_over_all_of_them():
    def others(value):
        return [value, None, torch.tensor([8.0, 0.0, 4.0, 0.0, 0.0, 4.0])]  # 4 images; one process had none

    monitor = CollapseMonitor()
    step(monitor, 1.0, 1.0, weight=4)
    report = monitor.report(others, tell=False)
    assert report["D_sum"] == pytest.approx((3.0 + 1.0) / 2) and report["saturated"] == pytest.approx(0.5)


def test_it_survives_a_resume_in_mid_epoch(tmp_path, warned):
    losing = {"D_real": 1e-4, "D_fake": 1e-4}
    whole, broken = CollapseMonitor(), CollapseMonitor()
    for _ in range(2):
        for monitor in (whole, broken):
            epoch(monitor, warned, **losing)
    for monitor in (whole, broken):
        step(monitor, 3e-4, 2e-4, weight=2)
    torch.save(broken.state(), tmp_path / "state.pth")
    resumed = CollapseMonitor()
    resumed.load_state(torch.load(tmp_path / "state.pth", weights_only=True), CPU)
    for monitor in (whole, resumed):
        step(monitor, **losing)
    assert whole.report(alone, tell=False) == resumed.report(alone, tell=True)
    assert "for 3 epochs" in warned()[0]


def test_a_resume_with_several_processes_counts_every_image_once():
    """Two processes save; two, then one, go on."""
    parts = [CollapseMonitor(), CollapseMonitor()]
    step(parts[0], 1.0, 1.0, weight=2)
    step(parts[1], 4.0, 4.0, weight=1)
    sums = [part._sums for part in parts]
    state = parts[0].state(lambda value: sums)
    assert torch.equal(state["sums"], parts[1].state(lambda value: sums)["sums"])
    for count in (1, 2):
        resumed = [CollapseMonitor() for _ in range(count)]
        for each in resumed:
            each.load_state(state, CPU, 1.0 / count)
        step(resumed[0], 0.0, 0.0, weight=3)
        found = [each._sums for each in resumed]
        report = resumed[0].report(lambda value, found=found: found, tell=False)
        assert report["D_sum"] == pytest.approx((2 * 2.0 + 8.0 + 0.0) / 6)
    empty = CollapseMonitor()
    empty.load_state(CollapseMonitor().state(), CPU)
    assert empty.report(alone, tell=False) == {}
