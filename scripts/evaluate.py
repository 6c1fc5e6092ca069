"""Measure generated images: KID, FID, IS, precision/recall, PSNR, SSIM, L1, LPIPS, diversity, each with its protocol.

Usage:
    python scripts/evaluate.py --name facades                      results/facades/test_latest, in place
    python scripts/evaluate.py --name facades --epoch all          every checkpoint: a table, a CSV file, a plot
    python scripts/evaluate.py --fake DIR --real DIR --metrics kid,fid
    python scripts/evaluate.py --compare facades facades_hinge     a page that compares runs
    python scripts/evaluate.py --name cifar --n_samples 5000       a run that draws from noise: fresh samples
Words after a lone -- go to test.py, which makes the results that are missing.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import json
from dataclasses import replace

import test
from data import DATASETS
from data.class_folder_dataset import ClassImages
from models import MODELS
from models.base_model import draws_from_noise
from models.sagan.samples import SAMPLES_FILE, facts_of, training_images, wanted_samples
from options.evaluate_options import BETWEEN_RUNS, RECORDS, EvaluateOptions
from options.files import read_options
from options.metric_options import MetricOptions
from options.parse import parse_command, parse_test
from options.records import PLUGINS, TEST, all_specs, options_of
from util.exit_code import EXIT_DONE, run_command
from util.images.folder import scan
from util.images.io import scale_of
from util.metrics import METRICS, expand, listing, needs_real, needs_source
from util.metrics.images import FolderImages, ImageSet
from util.metrics.measurement import FILE_NAME, Measurement, read_measurements, update_measurements
from util.metrics.results import ResultFolder, RunPlace, choose, make_missing, words_of_test
from util.metrics.suite import Suite
from util.pages.comparison import ComparedRun
from util.pages.comparison_folder import compare
from util.pages.series import Series
from util.run.device import device_for, parse_gpu_ids
from util.run.folder import check_writable
from util.run.sides import SideFormat, read_sides

logger = logging.getLogger("evaluate")


MOST_SAMPLES = 50_000
"""Drawn of a run, where it was trained on more images."""

PHASE = "eval"
"""Part of the name of the result folders: what test.py drew for looking at, ``test_latest``, stays as it is."""


def is_from_noise(place: RunPlace) -> bool:
    """Whether a run's model makes its images from noise alone, by the run's options."""
    model = str(read_options(place.checkpoints, required=False).get("model") or "")
    return model in MODELS.names() and draws_from_noise(MODELS.get(model))


def refuse_sides(o: EvaluateOptions) -> None:
    """Refuse what only translations have: two domains, sources, draws of an input, targets of another size.

    Raises:
        ValueError: naming the flag.
    """
    metrics = {name: METRICS[name] for name in expand(o.metrics or ("kid",))}
    of_translations = [name for name, metric in metrics.items() if metric.by != "features" or metric.needs_source]
    wrong = {
        f"--metrics {','.join(of_translations)}": bool(of_translations),
        f"--domain {o.domain}": o.domain != "B",
        f"--resize {o.resize}": o.resize > 0 and not o.real,
    }
    for flag, given in wrong.items():
        if given:
            raise ValueError(f"{flag}: has no use for the run {o.name}, which draws from noise; leave it out")


def num_samples(o: EvaluateOptions, training: ClassImages | None) -> int:
    """How many samples are measured: those asked for, else as many as there are real images."""
    if o.n_samples:
        return o.n_samples
    if training is not None:
        return min(len(training), MOST_SAMPLES)
    return min(len(scan(Path(o.real))), MOST_SAMPLES) if Path(o.real).is_dir() else 1  # a wrong folder is refused later


def stale(place: RunPlace, folder: ResultFolder, words: Sequence[str]) -> bool:
    """Whether other samples lie in a folder than test.py would draw now, of these weights and with these flags.

    Args:
        place: of the run.
        folder: of the samples.
        words: for test.py, beside those that say which folder it is.
    """
    file = folder.path / SAMPLES_FILE
    page = folder.path / "index.html"
    if not file.is_file() or not page.is_file():
        return True
    options = parse_test([*words_of_test(place, folder), *words], MODELS, DATASETS)
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return True
    wanted = wanted_samples(options)
    weights = place.checkpoints / f"{folder.tag}_net_{options.model.sampled}.pth"  # type: ignore[attr-defined]
    newer = weights.is_file() and weights.stat().st_mtime > page.stat().st_mtime
    whole = len(scan(folder.images)) == len(wanted.samples) if folder.images.is_dir() else False
    return bool(newer or not whole or there != facts_of(options, wanted))


UNPAIRED, PAIRED = ("kid",), ("kid", "psnr", "ssim", "l1")
USAGE = (
    "python scripts/evaluate.py --name RUN [options] [-- flags for test.py]\n"
    "       python scripts/evaluate.py --fake DIR --real DIR [options]\n"
    "       python scripts/evaluate.py --compare RUN1 RUN2 ... [options]"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed, 2 bad options or images, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("evaluate.py", argv, _start)


def _start(argv: list[str]) -> int:
    words, test_flags = split_words(argv)
    records, given = parse_command("scripts/evaluate.py", RECORDS, words, usage=USAGE, doc=__doc__ or "")
    return _run(records["evaluate"], records["metric"], given, test_flags)


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our words, with the runs of ``--compare`` as one; and those after a lone ``--``.

    Of several runs every word is a name, whatever is in it; a single word is a list with commas.
    """
    ours, flags = list(argv), []
    if "--" in ours:
        cut = ours.index("--")
        ours, flags = ours[:cut], ours[cut + 1 :]
    if "--compare" in ours:
        begin = ours.index("--compare") + 1
        end = next((place for place in range(begin, len(ours)) if ours[place].startswith("--")), len(ours))
        runs = ours[begin:end]
        if len(runs) == 1:
            runs = [name.strip() for name in runs[0].split(",") if name.strip()]
        ours[begin:end] = [BETWEEN_RUNS.join(runs)] if runs else []
    return ours, flags


def _run(o: EvaluateOptions, m: MetricOptions, given: frozenset[str], test_flags: list[str]) -> int:

    if o.compare:
        return _compare(o, m, given, test_flags)
    if o.fake:
        if test_flags:
            raise ValueError(f"-- {' '.join(test_flags)}: --fake {o.fake} needs no test; leave these words out")
        return _folders(o, m)
    known = all_specs({**TEST, **PLUGINS})
    placing = {f"--{name}" for name, spec in known.items() if spec.finds_results}
    if stray := [word for word in test_flags if word.split("=")[0] in placing]:
        raise ValueError(f"-- {stray[0]}: say which results are meant before the --, by --name, --epoch and --phase")
    place = RunPlace(o.name, Path(o.checkpoints_dir), Path(o.results_dir))
    from_noise = is_from_noise(place)
    phase = PHASE if from_noise and "phase" not in given else o.phase
    folders = choose(place, phase, o.epoch, any_phase="phase" not in given and not from_noise)
    if o.n_samples and not from_noise:
        raise ValueError(f"--n_samples {o.n_samples}: the run {o.name} translates images; leave it out")
    if from_noise:
        refuse_sides(o)
    check_writable(place.results / FILE_NAME, f"--results_dir {o.results_dir}")
    read_measurements(place.results / FILE_NAME)  # a damaged one is refused before anything is computed
    metrics = o.metrics or _default_metrics(place)
    _check_pairs(place, metrics)
    _check_draws(o, metrics, place, folders, test_flags)
    training = None
    if from_noise and not o.real and (needs_real(metrics) or not o.n_samples):
        training = training_images(place, o.dataroot)
    suite = _suite(metrics, m, o.gpu_ids)
    flags = ["--gpu_ids", o.gpu_ids] if o.gpu_ids else []
    flags += ["--num_images", str(num_samples(o, training))] if from_noise else []
    flags += test_flags
    for folder in folders:
        again = o.retest or (from_noise and stale(place, folder, flags))
        if code := make_missing(place, [folder], flags, again=again, test=test.main):
            return code
    measured = []
    for folder in folders:
        measured.append(_measure_run(o, suite, folder, from_noise, training))
        update_measurements(place.results / FILE_NAME, measured[-1])
    if len(folders) == 1:
        _print(measured[0])
    else:
        series = Series(o.name, {folder.path.name: found for folder, found in zip(folders, measured)})
        print(series.table())
        for file in series.write(place.results, o.format):
            logger.info("written: %s", file)
    logger.info("written: %s", place.results / FILE_NAME)
    return EXIT_DONE


def _suite(names: Sequence[str], m: MetricOptions, gpu_ids: str) -> Suite:

    return Suite(names, device_for(parse_gpu_ids(gpu_ids), 0), **vars(m))


def _measure_run(
    o: EvaluateOptions, suite: Suite, folder: ResultFolder, from_noise: bool, training: ClassImages | None
) -> list[Measurement]:
    """Every number of one result folder; ``training`` is what samples from noise are compared with."""

    other = "A" if o.domain == "B" else "B"
    sides = _stored_sides(Path(o.checkpoints_dir) / o.name, folder.path)
    shared: dict[str, Any] = {"resize": o.resize, "alpha": o.alpha, "of_run": True}
    shared |= _values_of(sides[o.domain])
    flag = f"--name {o.name}"
    fake = FolderImages(folder.images, flag, suffix="" if from_noise else f"fake_{o.domain}", **shared)
    real: ImageSet | None = _side(o, "--real", o.real, label_nc=fake.label_nc) if o.real else training
    if real is None and needs_real(suite.names) and not from_noise:
        real = FolderImages(folder.images, flag, suffix=f"real_{o.domain}", **shared)
    draws = [fake]
    for number in range(2, folder.num_samples(o.domain) + 1) if suite.of_kind("draws") else ():
        draws.append(FolderImages(folder.images, flag, suffix=f"fake_{o.domain}_{number}", **shared))
    source = None
    if needs_source(suite.names):
        source = (
            _side(o, "--source", o.source, label_nc=sides[other].labels)
            if o.source
            else FolderImages(folder.images, flag, suffix=f"real_{other}", **{**shared, **_values_of(sides[other])})
        )
    return [
        replace(
            each,
            folder=folder.path.name,
            tag=folder.tag,
            domain=o.domain,
            protocol={**each.protocol, "tag": folder.tag},
        )
        for each in (_in_unit(each, sides[o.domain]) for each in suite.measure(fake, real, source, draws=draws))
    ]


def _stored_sides(run: Path, results: Path) -> dict[str, SideFormat]:
    """Domain -> how its results store values: what the test or the run noted, else the options of an earlier version's
    run."""
    found = {**read_sides(run), **read_sides(results)}
    words = read_options(run, required=False).get("value_range") or ()
    words = words.strip("()").split(",") if isinstance(words, str) else words  # of the original's text file
    value_range = tuple(float(word) for word in words if str(word).strip())
    return {name: found.get(name, SideFormat("uint8", value_range)) for name in "AB"}


def _values_of(side: SideFormat) -> dict[str, Any]:
    """How ``FolderImages`` reads the numbers of a domain."""
    return {"value_range": side.value_range, "label_nc": side.labels}


def _in_unit(measured: Measurement, side: SideFormat) -> Measurement:
    """L1 with a note that gives it in the unit of the values."""
    if measured.short != "l1" or not side.unit:
        return measured
    low, high = side.value_range or scale_of(side.format)
    return replace(measured, notes=(*measured.notes, f"{measured.value * (high - low):.6g} {side.unit}"))


def _folders(o: EvaluateOptions, m: MetricOptions) -> int:
    """``--fake DIR --real DIR``."""
    if o.output:
        check_writable(Path(o.output), f"--output {o.output}")
        if Path(o.output).suffix != ".json" or Path(o.output).is_dir():
            raise ValueError(f"--output {o.output}: name a file that ends in .json")
        read_measurements(Path(o.output))
    fake, real = _side(o, "--fake", o.fake, o.fake_suffix), _side(o, "--real", o.real) if o.real else None
    source = _side(o, "--source", o.source) if o.source else None
    found = _suite(o.metrics or UNPAIRED, m, o.gpu_ids).measure(fake, real, source)
    if o.output:
        update_measurements(Path(o.output), found)
    _print(found)
    return EXIT_DONE


def _side(o: EvaluateOptions, flag: str, folder: str, suffix: str = "", *, label_nc: int = 0) -> FolderImages:
    real = flag == "--real"
    return FolderImages(
        Path(folder),
        flag,
        suffix=o.real_suffix if real else suffix,
        half=o.real_half if real else "",
        alpha=o.alpha,
        resize=o.resize,
        value_range=o.value_range,
        label_nc=label_nc,
    )


def _compare(o: EvaluateOptions, m: MetricOptions, given: frozenset[str], test_flags: list[str]) -> int:
    """``--compare``: measure each run where metrics are asked for, then make the page."""

    compared = []
    for name in o.runs:
        place = RunPlace(name, Path(o.checkpoints_dir), Path(o.results_dir))
        options = read_options(place.checkpoints, required=False) or None
        compared.append(ComparedRun(name, options=options, is_paired=_is_paired(place)))
        if is_from_noise(place):
            raise ValueError(
                f"--compare {name}: it draws from noise, and the page shows translations of the same images; "
                f"measure it alone: python scripts/evaluate.py --name {name}"
            )
    for name in o.runs if o.metrics else ():
        run = replace(o, compare="", name=name, output="")
        if code := _run(run, m, given, test_flags):
            return code
    output = Path(o.output or Path(o.results_dir) / "comparison")
    page = compare(
        compared,
        checkpoints_dir=Path(o.checkpoints_dir),
        results_dir=Path(o.results_dir),
        output=output,
        left_out=options_of("start", "machine"),
        folder=f"{o.phase}_latest",
        domain=o.domain,
        num_images=o.num_images,
    )
    logger.info("comparison: %s", page)
    return EXIT_DONE


def _default_metrics(place: RunPlace) -> tuple[str, ...]:
    return PAIRED if _is_paired(place) else UNPAIRED


def _check_pairs(place: RunPlace, names: Sequence[str]) -> None:
    """Refuse to compare an output with a picture that is not its target."""
    wrong = [name for name in expand(names) if METRICS[name].by == "pairs"]
    if wrong and not _is_paired(place):
        raise ValueError(
            f"--metrics {','.join(wrong)}: the run {place.name} was trained on unpaired images, so its outputs have no "
            f"targets; ask for {listing(lambda metric: metric.by == 'features' and not metric.needs_classes)}"
        )


def _check_draws(
    o: EvaluateOptions,
    names: Sequence[str],
    place: RunPlace,
    folders: Sequence[ResultFolder],
    test_flags: Sequence[str],
) -> None:
    """Refuse to look for differences between the draws of an image where there is one; before anything is made."""
    drawn = [name for name in expand(names) if METRICS[name].by == "draws"]
    asked = any(word.split("=")[0] == "--num_samples" for word in test_flags)
    for folder in folders if drawn else ():
        made_now = o.retest or not folder.images.is_dir()
        if not (asked if made_now else folder.num_samples(o.domain) > 1):
            words = words_of_test(place, folder, only_needed=True)
            raise ValueError(
                f"--metrics {','.join(drawn)}: {folder.path} has no several draws of an image; "
                f"make them by: {shlex.join(['python', 'test.py', *words])} --num_samples 4"
            )


def _is_paired(place: RunPlace) -> bool:
    """Whether real_B is the target of fake_B, by the run's options; a run without options counts as paired."""
    mode = str(read_options(place.checkpoints, required=False).get("dataset_mode") or "aligned")
    return mode not in DATASETS.names() or DATASETS.get(mode).paired


def _print(measured: Sequence[Measurement]) -> None:
    """The numbers, then how they were made and what to know, each said once."""
    for each in measured:
        print(f"{each.title}: {each.shown}")
    for line, titles in _grouped((_how(each), each.title) for each in measured).items():
        print(f"  {', '.join(titles)}: {line}")
    for note, titles in _grouped((note, each.title) for each in measured for note in each.notes).items():
        print(f"  note: {note}" if len(titles) > 1 else f"  note: {titles[0]}: {note}")


def _grouped(facts: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fact, title in facts:
        found.setdefault(fact, []).append(title)
    return found


def _how(each: Measurement) -> str:
    p = each.protocol
    sides = f"{p['fake']['n']} images of {p['fake']['size']}"
    if "extractor" not in p:
        network = f", {p['lpips_net']} ({p['weights_sha256'][:8]})" if "lpips_net" in p else ""
        if "draws" in p:
            return f"{p['draws']} draws of each of {sides}{network}"
        return f"{p['pairs']} pairs of {p['fake']['size']}{network}"
    if "real" in p:
        sides += f", {p['real']['n']} real ones of {p['real']['size']}"
    parts = [f"extractor {p['extractor']} ({p['weights_sha256'][:8]})"]
    if "subsets" in p:
        sizes = p["subset_size"] if isinstance(p["subset_size"], list) else [p["subset_size"]]
        size = " and ".join(map(str, dict.fromkeys(sizes)))
        parts.append(f"{p['subsets']} subsets of {size}, degree 3, seed {p['seed']}")
    if "splits" in p:
        parts.append(f"{p['splits']} splits, seed {p['seed']}")
    return f"{sides}; {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
