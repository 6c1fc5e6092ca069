"""Options of ``scripts/evaluate.py``: what is measured. How is in ``metric_options``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from options.metric_options import MetricOptions
from options.schema import OptionError, OptionRecord, arg
from util.metrics import METRICS, expand, listing, needs_real, needs_source

BETWEEN_RUNS = "\n"
"""What stands between the runs of ``--compare`` in its one value; their names may hold commas and brackets."""


_WITH_SOURCE = listing(lambda metric: metric.needs_source)
_TAG = re.compile(r"latest|latest_iter\d+|\d+|iter_\d+|best_\w+")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(OptionRecord):
    """Which images, and which numbers."""

    metrics: tuple[str, ...] = arg(
        (),
        help=f"metrics to measure: {listing(lambda metric: metric.by != 'draws' and not metric.needs_classes)}; "
        f"of several draws {listing(lambda metric: metric.by == 'draws')}; "
        f"of classes {listing(lambda metric: metric.needs_classes)} (default: kid; of pairs kid,psnr,ssim,l1)",
    )
    name: str = arg("", help="measure the results of this run in place")
    epoch: tuple[str, ...] = arg(
        (),
        help="checkpoints of the run --name: latest, 5,10,20, best_kid or all (default: latest); missing results are "
        "made",
    )
    phase: str = arg("test", help="phase of the run --name: its images lie in results/<name>/<phase>_<epoch>")
    domain: str = arg("B", choices=("A", "B"), help="fake_B against real_B, or fake_A against real_A")
    retest: bool = arg(False, help="translate again where results are there already")
    fake: str = arg("", metavar="DIR", help="measure this folder of images, against --real")
    real: str = arg("", metavar="DIR", help="folder of real images, to compare --fake with")
    source: str = arg("", metavar="DIR", help=f"images of the source domain, for {_WITH_SOURCE}")
    fake_suffix: str = arg("", help="of --fake only the files whose name ends in _<suffix>, e.g. fake_B")
    real_suffix: str = arg("", help="of --real only the files whose name ends in _<suffix>, e.g. real_B")
    real_half: str = arg(
        "", choices=("", "left", "right"), help="use only this half of every picture of --real, for side-by-side pairs"
    )
    resize: int = arg(0, minimum=0, maximum=16384, help="scale all images to this many pixels squared first; 0 = as is")
    alpha: str = arg("drop", choices=("drop", "white"), help="transparency: ignore it, or put on white")
    value_range: tuple[float, ...] = arg(
        (), metavar="LOW,HIGH", help="values in --fake and --real that are black and white (default: full scale)"
    )
    n_samples: int = arg(
        0, minimum=0, help="samples to draw of a run that draws from noise (default: as many as it learned from)"
    )
    dataroot: str = arg("", help="training data of a run that draws from noise, if they were moved")
    compare: str = arg("", metavar="RUN1 RUN2 ...", help="make a page that compares these runs")
    num_images: int = arg(20, minimum=0, help="test images on the page of --compare")
    output: str = arg(
        "", help="folder of the page of --compare (default: results/comparison), or .json file for --fake and --real"
    )
    format: str = arg("svg", choices=("svg", "png", "pdf"), help="file format of the charts of --epoch all")
    checkpoints_dir: str = arg("./checkpoints", help="folder of all runs")
    results_dir: str = arg("./results", help="folder of all results")
    gpu_ids: str = arg("", help="GPU to use; -1 = CPU (default: the first GPU, else CPU)")
    verbose: bool = arg(False, help="print a traceback with every error")

    def __post_init__(self) -> None:
        ways = {"--name": self.name, "--fake and --real": self.fake, "--compare": self.compare}
        given = [flag for flag, value in ways.items() if value]
        if len(given) != 1:
            what = " and ".join(given) + " together" if given else "nothing to measure"
            raise OptionError(f"{what}: give one of --name RUN, --fake DIR --real DIR, --compare RUN1 RUN2 ...")
        if self.compare and len(self.runs) < 2:
            raise OptionError(f"--compare {self.compare}: give at least two runs")
        if self.epoch and not self.name:
            raise OptionError(f"--epoch {','.join(self.epoch)}: belongs to --name RUN")
        for tag in self.epoch:
            if tag != "all" and not _TAG.fullmatch(tag):
                raise OptionError(f"--epoch {tag}: give latest, numbers of epochs, iter_<n>, best_<metric>, or all")
        if "all" in self.epoch and len(self.epoch) > 1:
            raise OptionError(f"--epoch {','.join(self.epoch)}: all stands alone")
        if len(PurePath(self.phase).parts) != 1 or self.phase.strip(". ") == "" or PurePath(self.phase).is_absolute():
            raise OptionError(f"--phase {self.phase!r}: give the name of a phase, e.g. test")
        for flag in ("real_suffix", "real_half"):
            if getattr(self, flag) and not self.real:
                raise OptionError(f"--{flag} {getattr(self, flag)}: belongs to --real DIR")
        if self.fake_suffix and not self.fake:
            raise OptionError(f"--fake_suffix {self.fake_suffix}: belongs to --fake DIR; of a run --domain chooses")
        wrong = {"--output": self.output and self.name, "--source": self.source and not needs_source(self.metrics)}
        wrong |= {f"--{flag}": getattr(self, flag) and not self.name for flag in ("retest", "n_samples", "dataroot")}
        for flag, is_wrong in wrong.items():
            if is_wrong:
                remedy = {
                    "--source": f"give --metrics {_WITH_SOURCE}",
                    "--output": "of a run, numbers go to its results",
                }
                raise OptionError(f"{flag} has no use here: {remedy.get(flag, 'it belongs to --name RUN')}")
        try:
            metrics = expand(self.metrics or ("kid",))
        except ValueError as error:
            raise OptionError(str(error)) from None
        drawn = [name for name in metrics if METRICS[name].by == "draws"]
        if self.fake and drawn:
            raise OptionError(f"--metrics {','.join(drawn)}: the draws of an image are found by --name RUN only")
        if self.fake and not self.real and needs_real(metrics):
            raise OptionError(f"--fake {self.fake}: the real images are missing; give --real DIR (only IS needs none)")

    @property
    def runs(self) -> tuple[str, ...]:
        """Those of ``--compare``, in order."""
        return tuple(self.compare.split(BETWEEN_RUNS))


RECORDS = {
    "evaluate": (EvaluateOptions, "what is measured"),
    "metric": (MetricOptions, "how it is measured"),
}
