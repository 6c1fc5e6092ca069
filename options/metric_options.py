"""Options of measuring: how, and when while training. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from options.schema import OptionError, OptionRecord, arg
from util.metrics import EXTRACTORS, LPIPS_NETS, METRICS, expand, listing


@dataclass(frozen=True, kw_only=True)
class MetricOptions(OptionRecord):
    """How the metrics are measured. The defaults are the published protocol (KID: 100 subsets of 50, degree 3)."""

    feature_extractor: str = arg(
        "inception", choices=EXTRACTORS, help="network whose features KID, FID, IS and precision/recall compare"
    )
    inception_weights: str = arg(
        "",
        of="machine",
        metavar="FILE",
        help="file with the weights of torch-fidelity's Inception (default: downloaded once)",
    )
    lpips_net: str = arg("alex", choices=LPIPS_NETS, help="backbone of LPIPS")
    lpips_weights: str = arg(
        "",
        of="machine",
        metavar="FILE",
        help="file with torchvision's weights of the backbone of LPIPS (default: downloaded once)",
    )
    kid_subset_size: int = arg(50, minimum=2, help="images per subset of KID; fewer where a side has fewer")
    kid_subsets: int = arg(100, minimum=1, help="number of subsets that KID averages over")
    is_splits: int = arg(10, minimum=1, help="number of splits that IS averages over")
    metric_seed: int = arg(
        2020, minimum=0, maximum=2**32 - 1, help="seed of KID's subsets and IS's splits", advanced=True
    )
    metric_batch_size: int = arg(
        32, minimum=1, of="machine", help="images that go through the feature extractor at a time", advanced=True
    )
    feature_cache: str = arg(
        "",
        of="machine",
        metavar="DIR",
        help="folder that keeps the features of real images (default: the user's cache; none = off)",
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class EvalOptions(OptionRecord):
    """Measuring on held-out images while training."""

    eval_freq: int = arg(0, minimum=0, help="epochs between two evaluations on held-out images; 0 = none")
    eval_metrics: tuple[str, ...] = arg(
        ("kid", "psnr", "ssim"),
        help="metrics to measure: " + listing(lambda metric: metric.by != "draws" and not metric.needs_classes),
    )
    eval_phase: str = arg("", help="subfolder of the held-out images (default: val if there is one, else test)")
    eval_images: float = arg(float("inf"), minimum=1, help="evaluate on this many images only, the first ones")
    save_best: str = arg("", help="keep the best checkpoint by this metric as best_<metric>, e.g. kid")
    early_stop: int = arg(
        0, minimum=0, help="stop after this many evaluations without a better --save_best (or first) metric; 0 = never"
    )

    def __post_init__(self) -> None:
        try:
            names = expand(self.eval_metrics, "--eval_metrics")
        except ValueError as error:
            raise OptionError(str(error)) from None
        if float(self.eval_images) % 1 and self.eval_images != float("inf"):
            raise OptionError(f"--eval_images {self.eval_images}: expected a whole number")
        if drawn := [name for name in names if METRICS[name].by == "draws"]:
            raise OptionError(
                f"--eval_metrics {','.join(drawn)}: while training nothing is drawn several times; afterwards: "
                "test.py --num_samples 4, then scripts/evaluate.py --metrics diversity"
            )
        for flag in ("save_best", "early_stop", "eval_phase"):
            if getattr(self, flag) and not self.eval_freq:
                raise OptionError(f"--{flag} {getattr(self, flag)}: nothing is evaluated; give --eval_freq E as well")
        if self.save_best and self.save_best not in METRICS:
            raise OptionError(
                f"--save_best {self.save_best}: no metric; choose one of --eval_metrics {','.join(names)}"
            )
        if self.save_best and self.save_best not in names:
            raise OptionError(f"--save_best {self.save_best}: add it to --eval_metrics {','.join(self.eval_metrics)}")
