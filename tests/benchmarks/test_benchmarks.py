from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from benchmarks import data_pipeline, measure, train_step


def test_flops_of_a_convolution_are_the_closed_form():
    net, image = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.zeros(2, 3, 8, 8)
    forward = 2 * 2 * 5 * 3 * 9 * 64  # 2 * N * C_out * C_in * k^2 * H * W
    assert measure.count_flops(lambda: net(image)) == forward


def test_a_setting_is_measured(capsys):
    flags = ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--batch_size", "1", "--precision", "fp32"]
    argv = ["--json", "--crop_size", "32", "--seconds", "0.1", "--gpu_ids", "-1", *flags]
    assert train_step.main(argv) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["share"] == pytest.approx(result["gflop_per_s"] / result["conv_gflop_per_s"])
    assert result["images_per_s"] > 0 and result["memory_mb"] > 0


def test_the_pipeline_is_measured(dataroot):
    argv = ["--dataroot", str(dataroot), "--num_threads", "0", "--load_size", "36", "--crop_size", "32"]
    assert data_pipeline.images_per_s(argv, seconds=0.1) > 0
