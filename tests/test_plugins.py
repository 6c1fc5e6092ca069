"""One of each kind from a module outside the project: a model, a data set, a metric and a logger, in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.measuring import CPU
from util.metrics import METRICS, Metric, expand, full_name
from util.metrics.images import MadeImages
from util.metrics.suite import Suite

REPO = Path(__file__).resolve().parents[1]

PLUGINS = '''
from dataclasses import dataclass

from data import DATASETS
from data.aligned_dataset import AlignedDataset
from models import MODELS
from models.pix2pix_model import Pix2PixModel
from options.schema import OptionError, arg
from util.loggers import LOGGERS
from util.loggers.base import Logger
from util.metrics import METRICS, Metric


@MODELS.register("outer_model")
class OuterModel(Pix2PixModel):
    """From outside."""


@DATASETS.register("outer_data")
class OuterData(AlignedDataset):
    """From outside: the sides exchanged."""

    def decode(self, unit):
        found = super().decode(unit)
        return {"A": found["B"], "B": found["A"]}


def mean_of_fake(x, y):
    return float(x.mean())


METRICS["outer_metric"] = Metric("outer", True, "pairs", "outer_plugins:mean_of_fake", protocol={"values": "0..255"})


@dataclass(frozen=True, kw_only=True)
class OuterOptions:
    """From outside."""

    outer_file: str = arg("", help="name of the file")

    def __post_init__(self):
        if "/" in self.outer_file:
            raise OptionError(f"--outer_file {self.outer_file}: give a name without /")


@LOGGERS.register("outer_logger")
class OuterLogger(Logger):
    """From outside."""

    Options = OuterOptions

    def __init__(self, path):
        self.path, self.lines = path, []

    @classmethod
    def open(cls, run, options):
        return cls(run.folder / options.outer_file) if options.outer_file else None

    def log_epoch(self, record):
        self.lines.append(f"{record.epoch} {sorted(record.metrics)}")

    def close(self):
        self.path.write_text("\\n".join(self.lines))
'''

RUN = """
import sys
import train, test
import outer_plugins
sys.exit(train.main(sys.argv[1:]) or test.main(["--name", "r", "--gpu_ids", "-1"]))
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with such a module and pairs, A black and B white."""
    (tmp_path / "outer_plugins.py").write_text(PLUGINS, encoding="utf-8")
    pair = np.concatenate([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)], axis=1)
    for phase in ("train", "val", "test"):
        (tmp_path / "pairs" / phase).mkdir(parents=True)
        Image.fromarray(pair).save(tmp_path / "pairs" / phase / "0.png")
    return tmp_path


def run(outside: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    words = "--model outer_model --dataset_mode outer_data --dataroot pairs --name r --gpu_ids -1 --netG resnet_6blocks"
    words += " --ngf 4 --netD pixel --ndf 4 --load_size 16 --crop_size 16 --num_threads 0 --display_id 0"
    words += " --n_epochs 1 --n_epochs_decay 0 --eval_freq 1 --eval_metrics outer_metric"
    return subprocess.run(
        [sys.executable, "-c", RUN, *words.split(), *flags],
        cwd=outside,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{REPO}{os.pathsep}{outside}"},
        capture_output=True,
        text=True,
    )


def test_plug_ins_from_outside_the_tree(outside: Path) -> None:
    done = run(outside, "--outer_file", "epochs.txt")
    assert done.returncode == 0, done.stderr
    assert (outside / "checkpoints/r/epochs.txt").read_text() == "1 ['outer_metric']"
    assert "outer_metric" in (outside / "checkpoints/r/loss_log.csv").read_text().splitlines()[0]
    images = outside / "results/r/test_latest/images"
    assert np.asarray(Image.open(images / "0_real_A.png")).min() == 255, "the data set exchanged the sides"
    assert np.asarray(Image.open(images / "0_real_B.png")).max() == 0


def test_flags_of_a_logger_from_outside_are_checked(outside: Path) -> None:
    done = run(outside, "--outer_file", "a/b")
    assert (done.returncode, done.stderr.strip().count("\n")) == (2, 0)
    assert "--outer_file a/b: give a name without /" in done.stderr
    assert not (outside / "checkpoints").exists()
    done = run(outside, "--outer_files", "x")
    assert done.returncode == 2 and "did you mean --outer_file?" in done.stderr


def test_a_suite_measures_a_registered_metric(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of two images of 10 and 30 is 20 +/- 10."""
    (outside / "outer_means.py").write_text("def mean_of_fake(x, y):\n    return float(x.mean())\n")
    monkeypatch.syspath_prepend(str(outside))
    entry = Metric("outer", True, "pairs", "outer_means:mean_of_fake", protocol={"values": "0..255"}, smallest=9)
    monkeypatch.setitem(METRICS, "outer", entry)
    assert expand(["outer"]) == ("outer",) and full_name("outer", extractor="inception", lpips_net="alex") == "outer"
    suite = Suite(["outer"], CPU, feature_cache="none", progress=False)
    fakes = MadeImages("fakes", {str(value): np.full((9, 9, 3), value, np.uint8) for value in (10, 30)})
    (number,) = suite.measure(fakes, fakes)
    assert (number.value, number.std) == (20.0, 10.0)
    assert number.protocol["values"] == "0..255" and number.protocol["pairs"] == 2
    small = MadeImages("fakes", {"0": np.zeros((8, 9, 3), np.uint8)})
    with pytest.raises(ValueError, match="fakes: 0 has 8 pixels; outer needs 9 or more"):
        suite.measure(small, small)
