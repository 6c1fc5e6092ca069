"""The numbers that say of a training whether it has collapsed."""

from __future__ import annotations

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


def epoch(monitor, **values):
    step(monitor, **values)
    return monitor.report(alone)


def test_entropy_is_that_of_the_formula():
    assert float(entropy(torch.zeros(2, 1, 3, 3))) == pytest.approx(math.log(2), rel=1e-6)
    p = 1 / (1 + math.exp(-1.5))
    by_hand = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert float(entropy(torch.tensor([1.5]))) == pytest.approx(by_hand, rel=1e-6)
    assert float(entropy(torch.tensor([1.5, -1.5, 0.0]))) == pytest.approx((2 * by_hand + math.log(2)) / 3, rel=1e-6)
    assert float(entropy(torch.tensor([1e4, -1e4]))) == 0.0, "a D without doubt gives no NaN"


def test_a_healthy_epoch():
    report = epoch(CollapseMonitor())
    assert list(report) == ["D_sum", "D_entropy", "saturated", "collapsed"]
    assert report["D_sum"] == pytest.approx(1.38) and report["D_entropy"] == pytest.approx(math.log(2))
    assert report["saturated"] == 0 and report["collapsed"] == 0


def test_nothing_to_report_before_a_step():
    assert CollapseMonitor().report(alone) == {}


def test_means_are_weighted_and_start_over_every_epoch():
    monitor = CollapseMonitor()
    step(monitor, 1.0, 2.0, fake=1.0, weight=3)
    step(monitor, 5.0, 0.0, weight=1)
    report = monitor.report(alone)
    assert report["D_sum"] == pytest.approx((3 * 3.0 + 5.0) / 4) and report["saturated"] == pytest.approx(0.75)
    step(monitor, 0.25, 0.25)
    assert monitor.report(alone)["D_sum"] == pytest.approx(0.5)


def test_a_D_that_has_won_is_a_collapse_from_the_third_epoch_on():
    monitor = CollapseMonitor()
    losing = {"D_real": 9e-4, "D_fake": 1e-5}
    for expected in (0, 0, 1, 1):
        for _ in range(5):
            step(monitor, **losing)
        assert epoch(monitor, **losing)["collapsed"] == expected
    assert epoch(monitor, D_real=0.1, D_fake=1e-5)["collapsed"] == 0
    assert epoch(monitor, **losing)["collapsed"] == 0, "the count starts again"


@pytest.mark.parametrize("losses", [(0.5, 1e-4), (1e-4, 0.5), (2e-3, 2e-3), (-3.0, -2.0), (-1e-4, 5e-4)])
def test_other_losses_are_no_reason(losses):
    """One of them is large, both are small but not that small, or a Wasserstein critic has losses below 0."""
    monitor = CollapseMonitor(patience=1)
    report = epoch(monitor, D_real=losses[0], D_fake=losses[1])
    assert report["collapsed"] == 0


@pytest.mark.parametrize(("fake", "collapsed"), [(0.99, 1), (-0.99, 1), (0.97, 0), (-0.97, 0)])
def test_saturated_pictures_are_a_collapse_at_once(fake, collapsed):
    report = epoch(CollapseMonitor(), fake=fake)
    assert report["saturated"] == report["collapsed"] == collapsed


def test_a_few_grey_pixels_make_a_picture_of_it():
    monitor, fake = CollapseMonitor(), torch.ones(1, 1, 10, 20)
    fake[..., 0, :3] = 0.5  # 98.5 % are saturated
    monitor.update(torch.tensor(0.7), torch.tensor(0.7), fake, torch.zeros(1, 1, 2, 2))
    report = monitor.report(alone)
    assert report["saturated"] == pytest.approx(0.985) and report["collapsed"] == 0


def test_targets_that_are_black_and_white_themselves_are_no_collapse():
    masks = torch.ones(2, 1, 8, 8)
    report = epoch(CollapseMonitor(), fake=1.0, real=masks)
    assert report["saturated"] == 1 and report["collapsed"] == 0
    report = epoch(CollapseMonitor(), fake=1.0, real=masks * 0.5)
    assert report["collapsed"] == 1


def test_processes_report_the_mean_over_all_of_them():
    def others(value):
        return [value, None, torch.tensor([8.0, 0.0, 4.0, 0.0, 0.0, 4.0])]  # 4 images; one process had none

    monitor = CollapseMonitor()
    step(monitor, 1.0, 1.0, weight=4)
    report = monitor.report(others)
    assert report["D_sum"] == pytest.approx((3.0 + 1.0) / 2) and report["saturated"] == pytest.approx(0.5)


def test_it_survives_a_resume_in_mid_epoch(tmp_path):
    losing = {"D_real": 1e-4, "D_fake": 1e-4}
    whole, broken = CollapseMonitor(), CollapseMonitor()
    for _ in range(2):
        for monitor in (whole, broken):
            epoch(monitor, **losing)
    for monitor in (whole, broken):
        step(monitor, 3e-4, 2e-4, weight=2)
    torch.save(broken.state(), tmp_path / "state.pth")
    resumed = CollapseMonitor()
    resumed.load_state(torch.load(tmp_path / "state.pth", weights_only=True), CPU)
    for monitor in (whole, resumed):
        step(monitor, **losing)
    expected = whole.report(alone)
    assert resumed.report(alone) == expected and expected["collapsed"] == 1


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
        report = resumed[0].report(lambda value, found=found: found)
        assert report["D_sum"] == pytest.approx((2 * 2.0 + 8.0 + 0.0) / 6)
    empty = CollapseMonitor()
    empty.load_state(CollapseMonitor().state(), CPU)
    assert empty.report(alone) == {}
