"""AU-GAN's published command lines, learning rates and image sizes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from data import DATASETS
from data.transforms import scaled_size
from models import MODELS
from models.augan_model import AUGANOptions
from options.base_options import DataOptions
from options.parse import parse_test, parse_train
from tests.golden_rules import load_golden
from util.run.schedule import lr_factor

MISC = load_golden("augan/golden")[0]["misc"]
STRETCHED = {  # by the published code, where the other side falls below the crop; here the shape is kept
    "400x800 scale_height load512 crop512": [256, 512],
    "1280x720 scale_width load512 crop512": [512, 288],
}


def test_the_published_command_lines_parse(workdir: Path) -> None:
    line = (
        "--local-rank=0 --dataroot data --name night --model au_gan --input_nc 3 --output_nc 3 --netD ms3 --norm none "
        "--lambda_identity 0.0 --lr 0.0001 --n_epochs 3 --n_epochs_decay 10 --preprocess scale_height_and_crop "
        "--load_size 512 --crop_size 512 --batch_size 2 --num_threads 4 --instance_level --lambda_inst 1 "
        "--dataset_mode unaligned_coco --coco_imagedir . --category_id 1 --lambda_perc 20 --lambda_conf 1 --lambda_dc 1"
    )
    options = parse_train(shlex.split(line), MODELS, DATASETS)
    assert options.run.model == "augan" and options.run.local_rank == 0 and isinstance(options.model, AUGANOptions)
    assert options.model.upsample == "bilinear" and options.model.lambda_perc == 20
    test = parse_test(
        shlex.split("--local_rank 1 --dataroot data --name night --model au_gan --preprocess scale_height"),
        MODELS,
        DATASETS,
    )
    assert test.run.local_rank == 1 and test.data.preprocess == "scale_height"


def test_learning_rates_are_the_published_ones_on_request() -> None:
    schedule = {"n_epochs": 10, "n_epochs_decay": 10, "sched_compat": "reference"}
    found = [lr_factor("linear", epoch=epoch, **schedule) for epoch in range(1, 21)]
    assert found == pytest.approx(MISC["lr_factor_port_epochs_1_to_20"])


@pytest.mark.parametrize("case", MISC["preprocess_sizes_wh"])
def test_sizes_are_the_published_ones_but_for_stretched_images(case: str) -> None:
    size, mode, load, crop = case.split()
    width, height = map(int, size.split("x"))
    sizes = {"load_size": max(int(load[4:]), 1), "crop_size": max(int(crop[4:]), 1)}
    options = DataOptions(preprocess="resize_and_crop" if mode == "resize" else mode, **sizes)
    want = STRETCHED.get(case, MISC["preprocess_sizes_wh"][case])
    assert list(scaled_size(width, height, options)) == want
