"""Metrics by their stored names: titles and numbers as they are shown."""

from __future__ import annotations

import math

import pytest

from tests.util.loggers.records import epoch
from util.metrics import METRICS, full_name
from util.metrics.measurement import metric_title, metrics_line, scaled, short_name


@pytest.mark.parametrize(
    ("name", "short", "title"),
    [
        ("kid_inception", "kid", "KID x100"),
        ("kid_efficientnet_lite0", "kid", "KID_efficientnet_lite0 x100"),
        ("mean_kid_inception", "mean_kid", "mean KID (target, source) x100"),
        ("psnr", "psnr", "PSNR"),
        ("lpips_alex", "lpips", "LPIPS_alex"),
        ("is_inception", "is", "IS"),
        ("kidney", None, "kidney"),
        ("sharpness_of_later", None, "sharpness_of_later"),
    ],
)
def test_titles(name: str, short: str | None, title: str) -> None:
    assert short_name(name) == short
    assert metric_title(name) == title


@pytest.mark.parametrize("short", METRICS)
def test_every_metric_is_found_by_its_full_name(short: str) -> None:
    assert short_name(full_name(short, extractor="efficientnet_lite0", lpips_net="vgg")) == short


def test_the_longest_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "kid_of_patches", METRICS["fid"])
    assert short_name("kid_of_patches_inception") == short_name("kid_of_patches") == "kid_of_patches"
    assert short_name("kid_of_inception") == "kid"


def test_a_line_has_scaled_numbers_with_the_decimals_of_the_metric() -> None:
    metrics = {"kid_inception": 0.12344, "psnr": 21.4, "ssim": 0.5, "fid_inception": math.nan, "later": 2.0}
    line = "epoch 5: KID x100 12.34, PSNR 21.40, SSIM 0.5000, FID nan, later 2.0000"
    assert metrics_line(epoch(5, 500, metrics)) == line


def test_values_are_scaled_as_their_titles_say() -> None:
    stored = {"psnr": 20.0, "kid_inception": -0.25, "later": 3.0}
    assert scaled(stored) == {"psnr": 20.0, "kid_inception": -25.0, "later": 3.0}
