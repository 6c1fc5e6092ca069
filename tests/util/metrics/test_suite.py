"""What a suite makes of the metrics that were asked for: numbers with names, protocol and notes."""

from __future__ import annotations

import importlib.metadata
import json

import numpy as np
import pytest
import torch
import torchvision

from tests.measuring import CPU, draw, save_drawings
from util.metrics import GROUPS, METRICS, expand, full_name
from util.metrics.images import FolderImages, MadeImages
from util.metrics.suite import Suite
from util.run.pretrained import MissingWeights


def drawn(kind, count, *, seed=0, size=24, label="drawn"):
    """Half of them in a class ``ape``, half in ``bee``."""
    images = [draw(kind, 1000 * seed + number, size) for number in range(count)]
    return MadeImages(label, {f"{'ape' if n < count / 2 else 'bee'}/{n}": each for n, each in enumerate(images)})


def test_features_of_missing_pixels_are_those_of_black_ones(tiny):
    """And a note says so, with the number of images."""
    whole = drawn("boxes", 4)
    black = {name: whole.read(number).copy() for number, name in enumerate(whole.names)}
    missing = {name: image.astype(float) for name, image in black.items()}
    for name in list(black)[:3]:
        black[name][:5], missing[name][:5] = 0, np.nan
    suite = make_suite("kid")
    sides = (MadeImages("made", images) for images in (missing, black))
    (found,), (wanted,) = (suite.measure(side, drawn("discs", 4)) for side in sides)
    assert found.value == wanted.value
    note = "the network saw missing pixels (nodata) as black; a value for them is named in 3 images"
    assert found.notes == (*wanted.notes, note)


def make_suite(*names, **settings):
    return Suite(names, CPU, **{"feature_cache": "none", "progress": False, "kid_subset_size": 4, **settings})


def test_every_metric_has_one_number(tiny, tmp_path):
    file = tmp_path / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), file)
    names = [*METRICS]
    draws = [drawn("boxes", 8, size=32), drawn("boxes", 8, size=32, seed=2)]
    measured = make_suite(*names, lpips_net="squeeze", lpips_weights=str(file)).measure(
        draws[0], drawn("boxes", 8, size=32, seed=1), drawn("discs", 8, size=32), draws=draws
    )
    assert [each.short for each in measured] == names
    assert [each.name for each in measured] == [
        *("kid_inception", "mean_kid_inception", "fid_inception", "is_inception"),
        *("precision_inception", "recall_inception", "f_score_inception", "intra_kid_inception", "intra_fid_inception"),
        *("psnr", "ssim", "l1", "lpips_squeeze"),
        *("diversity", "diversity_lpips_squeeze"),
    ]
    assert all(np.isfinite(each.value) for each in measured)
    with_spread = {
        "kid",
        "intra_kid",
        "intra_fid",
        "mean_kid",
        "is",
        "psnr",
        "ssim",
        "l1",
        "lpips",
        "diversity",
        "diversity_lpips",
    }
    assert {each.short for each in measured if each.std is not None} == with_spread
    assert json.loads(json.dumps([dict(each.protocol) for each in measured]))
    assert tiny == ["inception"]


def test_protocol_of_features_says_how_to_repeat_the_number(tiny, tmp_path):
    fake = FolderImages(save_drawings(tmp_path / "f", "boxes", 5, size=20), "--fake", resize=16)
    real = FolderImages(save_drawings(tmp_path / "r", "discs", 7, size=20), "--real")
    (kid,) = make_suite("kid", kid_subsets=3, metric_seed=11).measure(fake, real)
    p = kid.protocol
    assert (p["fake"]["n"], p["real"]["n"], p["fake"]["size"], p["real"]["size"]) == (5, 7, "16x16", "20x20")
    assert p["fake"]["sha256"] != p["real"]["sha256"] and p["fake"]["from"] == (tmp_path / "f").as_posix()
    assert (p["subset_size"], p["subsets"], p["seed"]) == (4, 3, 11)
    assert (p["extractor"], p["weights_sha256"], p["extractor_input"]) == ("inception", "ab" * 32, "4x4")
    assert p["versions"]["torch"] == importlib.metadata.version("torch")
    assert set(p["versions"]) == {"torch", "torchvision", "torch-fidelity", "torchmetrics", "numpy", "pillow"}
    assert "source" not in p
    assert any("16x16" in note and "20x20" in note and "--resize" in note for note in kid.notes)


def test_equal_sizes_are_not_noted(tiny):
    assert make_suite("kid").measure(drawn("boxes", 6), drawn("boxes", 6, seed=1))[0].notes == ()


def test_protocol_of_the_inception_score(tiny):
    (score,) = make_suite("is", is_splits=3).measure(drawn("boxes", 6), drawn("discs", 2, size=30))
    assert score.protocol["splits"] == 3 and score.protocol["extractor"] == "inception"
    assert not any("--resize" in note for note in score.notes), "the real images play no part"


def test_numbers_of_another_extractor_have_its_name_and_a_note(tiny):
    measured = make_suite("kid", "mean_kid", "psnr", feature_extractor="efficientnet_lite0").measure(
        drawn("boxes", 6), drawn("boxes", 6, seed=1), drawn("discs", 6)
    )
    assert [each.name for each in measured] == ["kid_efficientnet_lite0", "mean_kid_efficientnet_lite0", "psnr"]
    assert [each.title for each in measured] == [
        *("KID_efficientnet_lite0 x100", "mean KID_efficientnet_lite0 (target, source) x100", "PSNR")
    ]
    noted = [any("not comparable with published numbers" in note for note in each.notes) for each in measured]
    assert noted == [True, True, False]


def test_mean_kid_needs_the_source_domain_and_names_it(tiny):
    suite = make_suite("mean_kid", "kid")
    fake, real, source = drawn("boxes", 6), drawn("boxes", 6, seed=1), drawn("discs", 5, label="the sources")
    mean, kid = suite.measure(fake, real, source)
    assert mean.protocol["source"]["from"] == "the sources" and mean.protocol["source"]["n"] == 5
    assert mean.protocol["parts"]["to_target"] == [kid.value, kid.std] and mean.value > kid.value
    with pytest.raises(ValueError, match="source domain"):
        suite.measure(fake, real)


def test_kid_goes_from_fake_to_real_and_precision_too(tiny):
    """Fakes of one picture: all of them among the reals, but they cover few of those."""
    spread_out = drawn("boxes", 12)
    close = MadeImages("close", {str(n): np.roll(draw("boxes", 3, 24), n % 3, axis=0) for n in range(12)})
    found = {each.short: each.value for each in make_suite("prc").measure(close, spread_out)}
    assert found["precision"] > 0.9 and found["recall"] < 0.5


def test_too_few_images_are_told_before_a_number(tiny):
    with pytest.raises(ValueError, match="there are 1 and 6"):
        make_suite("kid").measure(drawn("boxes", 1), drawn("boxes", 6))


def test_what_cannot_be_measured_takes_nothing_with_it(tiny):
    """One image has no KID, no precision and no recall; on 8 pixels there is no window of SSIM."""
    told = {}
    suite = make_suite("kid", "psnr", "prc", "is", "ssim")
    sides = drawn("boxes", 1, size=8), drawn("boxes", 1, size=8, seed=1)
    found = suite.measure(*sides, failed=lambda names, error: told.update(dict.fromkeys(names, str(error))))
    assert [each.short for each in found] == ["psnr", "is"]
    assert set(told) == {"kid", "precision", "recall", "f_score", "ssim"}
    assert "two images" in told["kid"] and "8 pixels" in told["ssim"]
    assert found[0].value == make_suite("psnr").measure(*sides)[0].value


def test_is_and_diversity_need_no_real_images(tiny):
    draws = [drawn("boxes", 6), drawn("boxes", 6, seed=1)]
    score, distance = make_suite("is", "diversity").measure(draws[0], None, draws=draws)
    assert "real" not in score.protocol and "real" not in distance.protocol
    assert score.value == make_suite("is").measure(draws[0], drawn("discs", 6))[0].value
    with pytest.raises(ValueError, match="kid compare with real images"):
        make_suite("is", "kid").measure(draws[0], None)


def test_features_and_paired_values_that_are_known_are_not_made_again(tiny):
    suite = make_suite("kid", "psnr")
    fake, real = drawn("boxes", 6), drawn("boxes", 6, seed=1)
    first = suite.measure(fake, real)
    features = suite.features(fake)
    calls = suite._extractor.module.calls
    again = suite.measure(fake, real, features=features, paired_values={"psnr": first[1]})
    assert [each.value for each in again] == [each.value for each in first]
    assert suite._extractor.module.calls == calls, "the real side is in memory, the fake side was given"


def test_same_images_give_the_same_numbers(tiny):
    runs = [make_suite("kid", "is", "prc").measure(drawn("boxes", 9), drawn("discs", 9)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_without_weights_everything_is_refused_or_left_out_with_a_reason():
    with pytest.raises(MissingWeights, match="--inception_weights FILE"):
        make_suite("kid", "psnr")
    with pytest.raises(MissingWeights, match="--lpips_weights FILE"):
        make_suite("psnr", "lpips")
    suite = make_suite("kid", "psnr", "lpips", "prc", lenient=True)
    assert suite.names == ("psnr",)
    assert set(suite.missing) == {"kid", "lpips", "precision", "recall", "f_score"}
    assert "inception" in suite.missing["kid"] and "alexnet" in suite.missing["lpips"]
    assert [each.short for each in suite.measure(drawn("boxes", 2), drawn("boxes", 2, seed=1))] == ["psnr"]


def test_pairs_alone_need_no_extractor(tiny):
    make_suite("psnr", "ssim", "l1")
    assert tiny == []


def test_names_expand_in_order_and_once():
    assert expand(["psnr", "prc", "kid", "recall", "psnr"]) == ("psnr", "precision", "recall", "f_score", "kid")
    assert set(GROUPS["prc"]) <= set(METRICS)
    with pytest.raises(ValueError, match=r"--metrics psnrr.*psnr"):
        expand(["psnrr"])
    with pytest.raises(ValueError, match="--eval_metrics is empty"):
        expand([], "--eval_metrics")


def test_full_names():
    assert full_name("kid", extractor="efficientnet_lite0", lpips_net="alex") == "kid_efficientnet_lite0"
    assert full_name("lpips", extractor="inception", lpips_net="vgg") == "lpips_vgg"
    assert full_name("diversity_lpips", extractor="inception", lpips_net="vgg") == "diversity_lpips_vgg"
    assert full_name("ssim", extractor="inception", lpips_net="vgg") == "ssim"
