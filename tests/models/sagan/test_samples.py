"""Parts of sampling by class: spread and collapse, averages, statistics, sheets, numbered noise."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from torch import nn

from models.averages import update_average
from models.sagan.latent import numbered_latents
from models.sagan.norm_statistics import remove_start, standing_statistics
from models.sagan.sheets import Columns, columns_for, sample_sheet
from models.sagan.spread import ClassMonitor, distance, spread
from util.images.draw import captioned_grid


def test_spread_is_the_mean_distance_of_all_pairs():
    images = torch.stack([torch.full((1, 2, 2), value) for value in (0.0, 0.3, 1.0)])
    assert float(distance(images[2], images[1])) == pytest.approx(0.7)
    assert spread(images) == pytest.approx((0.3 + 1.0 + 0.7) / 3)


def test_only_a_class_that_once_differed_can_collapse(caplog):
    caplog.set_level(logging.WARNING)
    monitor = ClassMonitor()
    names = {0: "ape", 1: "bee"}
    assert monitor.update({0: 0.0, 1: 0.0}, names) == [] and monitor.real == 0
    images = torch.stack([torch.full((1, 2, 2), value) for value in (0.0, 5.0, 1.0)])
    monitor.add_real(images, torch.tensor([3, 4, 3]))  # of one class: 0 and 1
    assert monitor.real == pytest.approx(1.0)
    assert monitor.update({0: 0.01, 1: 0.5}, names) == [] and not caplog.text
    other = ClassMonitor()
    other.load_state(monitor.state())
    assert other.update({0: 0.01, 1: 0.05}, names) == [1]
    assert "1 of 2 classes" in caplog.text and "bee (0.050)" in caplog.text and "ape" not in caplog.text


@pytest.mark.parametrize("count", [1, 3])
def test_images_of_different_classes_say_nothing_of_real_spread(count):
    monitor = ClassMonitor()
    monitor.add_real(torch.randn(count, 3, 2, 2), torch.arange(count))
    assert monitor.real == 0 and monitor.state() == {"sum": 0.0, "weight": 0.0, "different": []}


def test_real_spread_is_a_running_mean_that_is_right_from_the_start():
    monitor = ClassMonitor()
    for far in (2.0, 4.0):
        monitor.add_real(torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), far)]), torch.zeros(2).long())
    assert monitor.real == pytest.approx((0.99 * 2 + 4) / 1.99)


def test_the_average_moves_parameters_and_copies_buffers():
    source, average = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    nn.init.constant_(source.weight, 3.0)
    source.running_mean.fill_(7.0)
    update_average(average, source, 0.75)
    assert average.weight.tolist() == [1.5, 1.5] and average.running_mean.tolist() == [7.0, 7.0]
    update_average(average, source, 0.0)
    assert average.weight.tolist() == [3.0, 3.0] and average.weight.requires_grad


def test_standing_statistics_are_plain_means_over_batches():
    norm, net = nn.BatchNorm2d(1, momentum=0.1), nn.Sequential()
    net.append(nn.Dropout(0.5)).append(norm).eval()
    batches = [torch.arange(4.0).view(4, 1, 1, 1) + shift for shift in (0.0, 10.0)]
    with standing_statistics(net):
        for each in batches:
            net(each)
        assert not net[0].training
    assert norm.running_mean.item() == pytest.approx((1.5 + 11.5) / 2)
    assert norm.running_var.item() == pytest.approx(5 / 3) and norm.momentum == 0.1 and not norm.training


def test_running_statistics_without_their_start_are_the_weighted_means_of_the_batches():
    norm, net = nn.BatchNorm2d(1, momentum=0.1), nn.Sequential()
    net.append(norm)
    remove_start(net)
    assert (norm.running_mean.item(), norm.running_var.item()) == (0.0, 1.0), "it has seen nothing"
    for shift, scale in ((0.0, 1.0), (10.0, 3.0)):  # variances 5/3 and 15
        net(torch.arange(4.0).view(4, 1, 1, 1) * scale + shift)
    weights = 0.9 * 0.1 / 0.19, 0.1 / 0.19
    remove_start(net)
    assert norm.running_mean.item() == pytest.approx(weights[0] * 1.5 + weights[1] * 14.5)
    assert norm.running_var.item() == pytest.approx(weights[0] * 5 / 3 + weights[1] * 15)


def test_statistics_that_began_elsewhere_are_left_alone():
    """Those of another program, whose batches are counted from the first one here."""
    norm = nn.BatchNorm2d(2, momentum=0.1)
    norm.running_mean.fill_(3.0)
    norm.running_var.copy_(torch.tensor([2.0, 0.5]))
    norm.num_batches_tracked.fill_(1)
    remove_start(norm)
    assert norm.running_mean.tolist() == [3.0, 3.0] and norm.running_var.tolist() == [2.0, 0.5]
    equal = nn.BatchNorm2d(1, momentum=0.1)  # a channel whose values never differ: variance 0, rounding below it
    for _ in range(20):
        equal(torch.full((4, 1, 1, 1), 2.0))
    remove_start(equal)
    assert equal.running_var.item() == pytest.approx(0.0, abs=1e-6) and equal.running_var.item() >= 0
    assert equal.running_mean.item() == pytest.approx(2.0)


def test_columns_are_spread_over_the_classes_and_no_sample_comes_twice():
    assert columns_for(3).classes == (0, 1, 2)
    assert columns_for(1000).classes == tuple(range(0, 1000, 100))
    assert columns_for(12, first=10).classes == (10, 11, *range(8)) and columns_for(3, first=10).classes == (0, 1, 2)
    alone = columns_for(1)
    assert set(alone.classes) == {0} and len(set(alone.numbers())) == len(alone.classes) * alone.rows
    columns = Columns((4, 2), rows=2)
    assert columns.numbers() == [(4, 0), (4, 1), (2, 0), (2, 1)] and columns.labels().tolist() == [4, 4, 2, 2]
    assert {k: v.tolist() for k, v in columns.by_class(torch.arange(4)).items()} == {4: [0, 1], 2: [2, 3]}


def test_a_sheet_has_a_column_a_class():
    columns = Columns((0, 1), rows=3)
    samples = torch.stack([torch.full((1, 8, 8), -1.0)] * 3 + [torch.full((1, 8, 8), 1.0)] * 3)
    sheet = sample_sheet(samples, columns, ["night", "a name that is far too long"])
    cell = 64 + 2  # enlarged eight times
    assert sheet.shape == (3 * cell + 2 + 16, 2 * cell + 2, 3)
    assert (sheet[2 : 2 + 64, 2 : 2 + 64] == 0).all() and (sheet[2 : 3 * cell, 2 + cell : 2 * cell] == 255).all()
    assert (sheet[3 * cell + 2 :, :cell] < 255).any(), "the name is below its column"
    single = sample_sheet(samples, Columns((0, 0), rows=3), ["all", "all"])
    assert single.shape[0] == 3 * cell + 2


def test_a_captioned_grid_is_nearly_square():
    grid = captioned_grid(torch.zeros(5, 3, 64, 64), ["a"] * 5)
    assert grid.shape == (2 * (64 + 16 + 2) + 2, 3 * 66 + 2, 3) and grid.dtype == np.uint8


def test_numbered_latents_depend_on_nothing_but_their_number():
    every = numbered_latents(3, [(0, 0), (0, 1), (1, 0)], 5)
    assert torch.equal(numbered_latents(3, [(1, 0)], 5)[0], every[2])
    assert len({float(value) for value in every.flatten()}) == 15
    assert not torch.equal(numbered_latents(4, [(0, 0)], 5)[0], every[0])
    tame = numbered_latents(3, [(0, n) for n in range(200)], 5, truncation=0.5)
    assert float(tame.abs().max()) < 0.5 and math.isclose(float(tame.mean()), 0.0, abs_tol=0.05)
