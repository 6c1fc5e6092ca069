"""Our numbers are those of torch-fidelity's own command line and of its ``calculate_metrics``, on the same folders."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import torch_fidelity
from torch_fidelity import defaults
from torch_fidelity import feature_extractor_inceptionv3 as inception

from options.metric_options import MetricOptions
from tests.measuring import CPU, save_drawings
from util.metrics.images import FolderImages
from util.metrics.suite import Suite

KEYS = {
    "kid": ("kernel_inception_distance_mean", "kernel_inception_distance_std"),
    "fid": ("frechet_inception_distance", None),
    "is": ("inception_score_mean", "inception_score_std"),
    "precision": ("precision", None),
    "recall": ("recall", None),
    "f_score": ("f_score", None),
}
PROTOCOL = {"kid_subset_size": 6, "kid_subsets": 10, "is_splits": 2, "metric_batch_size": 12}


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Two overlapping sets: boxes against boxes and some discs. Text order is 0, 1, 10, 11, 2..."""
    root = tmp_path_factory.mktemp("sides")
    save_drawings(root / "fake", "boxes", 12, seed=1)
    save_drawings(root / "real", "boxes", 14, seed=2)
    save_drawings(root / "real", "discs", 4, seed=3)
    return root / "fake", root / "real"


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """Weights of the right shapes that keep the scale of the signal from layer to layer."""

    class Untrained(inception.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict, **kwargs):
            assert not state_dict

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        torch.manual_seed(1)
        net = Untrained("random", ["2048"])
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        torch.nn.init.normal_(net.fc.weight, std=0.5)
    file = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(net.state_dict(), file)
    return file


def measure(sides, **settings):
    suite = Suite(["kid", "fid", "is", "prc"], CPU, feature_cache="none", progress=False, **PROTOCOL, **settings)
    fake, real = (FolderImages(folder, flag) for folder, flag in zip(sides, ("--fake", "--real")))
    return {each.short: each for each in suite.measure(fake, real)}


def check(measured, theirs):
    assert set(measured) == set(KEYS)
    for short, (value, std) in KEYS.items():
        assert measured[short].value == pytest.approx(theirs[value], rel=1e-6, abs=1e-6), short
        if std:
            assert measured[short].std == pytest.approx(theirs[std], rel=1e-6, abs=1e-6), short
        else:
            assert measured[short].std is None, short
    # Numbers that any wrong code would give, too, prove nothing.
    assert measured["kid"].value > 1e-3 and measured["kid"].std > 1e-4 and measured["fid"].value > 1e-2
    assert measured["is"].value > 1.01 and measured["is"].std > 1e-4
    assert 0 < measured["recall"].value < 1 and measured["recall"].value != measured["precision"].value


@pytest.mark.slow
def test_equals_the_command_line_with_inception(sides, random_weights):
    flags = [
        "--input1",
        str(sides[0]),
        "--input2",
        str(sides[1]),
        "--kid",
        "--fid",
        "--isc",
        "--prc",
        "--cpu",
        "--json",
    ]
    flags += ["--feature-extractor", "inception-v3-compat", "--feature-layer-prc", "2048", "--no-cache"]
    flags += ["--feature-extractor-weights-path", str(random_weights), "--save-cpu-ram", "--silent", "-b", "12"]
    flags += ["--kid-subset-size", "6", "--kid-subsets", "10", "--isc-splits", "2"]
    command = [sys.executable, "-m", "torch_fidelity.fidelity", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(measure(sides, inception_weights=str(random_weights)), json.loads(done.stdout))


def test_equals_calculate_metrics_with_efficientnet(sides):
    measured = measure(sides, feature_extractor="efficientnet_lite0")
    check(
        measured,
        torch_fidelity.calculate_metrics(
            input1=str(sides[0]),
            input2=str(sides[1]),
            feature_extractor="efficientnet_lite0",
            **dict.fromkeys(("kid", "fid", "isc", "prc", "save_cpu_ram"), True),
            **dict.fromkeys(("cuda", "cache", "verbose"), False),
            kid_subset_size=6,
            kid_subsets=10,
            isc_splits=2,
            batch_size=12,
        ),
    )


def test_defaults_are_the_published_protocol():
    """Binkowski's 100 subsets, of 50 images as U-GAT-IT's; torch-fidelity's own seed."""
    o = MetricOptions()
    assert (o.feature_extractor, o.kid_subset_size, o.kid_subsets, o.is_splits) == ("inception", 50, 100, 10)
    assert (o.metric_seed, o.kid_subsets, o.is_splits) == tuple(
        defaults.DEFAULTS[key] for key in ("rng_seed", "kid_subsets", "isc_splits")
    )


def test_two_samples_of_one_kind_are_far_closer_than_two_kinds(tmp_path):
    folders = [
        save_drawings(tmp_path / name, kind, 16, seed=seed)
        for name, kind, seed in (("a", "boxes", 4), ("b", "boxes", 5), ("c", "discs", 6))
    ]
    suite = Suite(
        ["kid"],
        CPU,
        feature_extractor="efficientnet_lite0",
        kid_subset_size=8,
        kid_subsets=20,
        feature_cache="none",
        progress=False,
    )
    a, b, c = (FolderImages(folder, "--fake") for folder in folders)
    same, other = suite.measure(b, a)[0], suite.measure(c, a)[0]
    assert other.value > 20 * abs(same.value) and other.value - same.value > 5 * (other.std + same.std)


def test_the_size_of_batches_does_not_matter(sides):
    suites = [
        Suite(
            ["kid"],
            CPU,
            feature_extractor="efficientnet_lite0",
            kid_subset_size=6,
            kid_subsets=10,
            feature_cache="none",
            progress=False,
            metric_batch_size=size,
        )
        for size in (1, 5)
    ]
    fake, real = (FolderImages(folder, "--fake") for folder in sides)
    one, five = (suite.measure(fake, real)[0] for suite in suites)
    assert one.value == pytest.approx(five.value, rel=1e-4) and one.std == pytest.approx(five.std, rel=1e-4)
