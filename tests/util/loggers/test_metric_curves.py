"""Metrics as the loggers show them: titles, numbers, curves."""

from __future__ import annotations

import math

import pytest

from tests.util.loggers.records import epoch
from util.loggers.metric_curves import MetricCurves, metric_title, metrics_line, scaled, short_name
from util.metrics import METRICS, full_name


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


def test_curves_hold_what_was_measured_as_it_is_shown() -> None:
    curves = MetricCurves()
    curves.add(epoch(1, 100))
    curves.add(epoch(2, 200, {"psnr": 20.0, "kid_inception": 0.25}))
    curves.add(epoch(3, 300))
    curves.add(epoch(4, 400, {"kid_inception": 0.125, "psnr": math.nan}))
    points = {name: [(b.x, b.mean) for b in curve.buckets] for name, curve in curves.curves.items()}
    assert points == {"psnr": [(200, 20.0)], "kid_inception": [(200, 25.0), (400, 12.5)]}
    assert list(points) == ["psnr", "kid_inception"]
    assert scaled("kid_inception", -0.5) == -50.0 and scaled("later", 3.0) == 3.0
