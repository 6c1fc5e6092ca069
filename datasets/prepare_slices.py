"""Cut volumes into upright slices for training: DICOM series, NIfTI, NRRD, MetaImage, stacks of microscopes.

CT is stored in Hounsfield units, whole numbers as 16-bit TIFF. All slices of a patient go into one phase. OUT gets
PHASE/*.tif, with --side PHASEA or PHASEB, with --pair_with PHASE/A and PHASE/B; slices.csv lists every slice,
volumes.jsonl every volume with its affine, slices.json how all were cut; OUT_sheet.png beside OUT shows them.
Exit code 0: all done; 1: some files were left out, one line each; 2: nothing done.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, EXIT_FAILED, report_error, run_command
from util.files import real_path
from util.types import STORED, VIEWS
from util.volumes.grid import Volume, difference, resampled, select_bands, view_of, windowed
from util.volumes.phases import split_patients
from util.volumes.series import Series, find_series, naming_packages
from util.volumes.slices import Cut, Settings, SideSettings, SliceFolder, sheet
from util.wording import counted

_REGISTER = "register them first, for example by SimpleITK, elastix (itk-elastix) or ANTs (antspyx)"


@dataclass(frozen=True, kw_only=True)
class SlicesOptions(OptionRecord):
    """The volumes, and how they are cut."""

    source: tuple[str, ...] = arg(
        (), positional=True, several=True, metavar="SOURCE", help="files, or folders that are searched to any depth"
    )
    out: Path = arg(Path(), required=True, metavar="DIR", help="gets the slices; may have some of an earlier call")
    pair_with: tuple[str, ...] = arg(
        (),
        several=True,
        metavar="SOURCE",
        help="the other modality of the same patients, on the same grid: SOURCE becomes side A, these side B",
    )
    modality: str = arg("", metavar="CT|MR|...", help="of the DICOM series in SOURCE use only these")
    pair_modality: str = arg("", metavar="CT|MR|...", help="of the DICOM series in --pair_with use only these")
    side: str = arg("", choices=("", "A", "B"), metavar="A|B", help="the slices are this side of an unpaired data set")
    view: str = arg(
        "",
        choices=("", *VIEWS, STORED),
        metavar="|".join((*VIEWS, STORED)),
        help="direction of the slices; stored: as the file has them (default: axial, and stored where a file does not "
        "say how the patient lies)",
    )
    resample: float = arg(0.0, minimum=0, metavar="MM", help="make cubic voxels of this size first; 0: keep the file's")
    window: tuple[float, ...] = arg((), metavar="LOW,HIGH", help="clip values of SOURCE to these, in their unit")
    pair_window: tuple[float, ...] = arg((), metavar="LOW,HIGH", help="clip values of --pair_with to these")
    bands: tuple[int, ...] = arg((), help="time points, echoes or channels of SOURCE that become channels, from 1")
    pair_bands: tuple[int, ...] = arg((), help="the same of --pair_with")
    unit: str = arg("", help="unit of SOURCE where its files do not name it, such as HU")
    pair_unit: str = arg("", help="unit of --pair_with where its files do not name it, such as HU")
    labels: bool = arg(False, help="SOURCE holds labels: --resample takes the nearest value")
    pair_labels: bool = arg(False, help="--pair_with holds labels: --resample takes the nearest value")
    phase: str = arg("", metavar="NAME", help="put all patients into this phase instead of splitting them")
    val_fraction: float = arg(0.0, minimum=0, maximum=1, help="share of the patients for phase val")
    test_fraction: float = arg(0.2, minimum=0, maximum=1, help="share of the patients for phase test")
    seed: int = arg(0, help="another number splits the patients differently")
    patient_pattern: str = arg(
        "",
        metavar="REGEX",
        help="what in a path names the patient, its first group if it has one (default: PatientID of DICOM, else "
        "sub-NAME in the path, else the first folder below SOURCE, else the file name)",
    )
    format: str = arg("tif", choices=("tif", "npy"), help="kind of the slices' files")


def main(argv: Sequence[str] | None = None) -> int:
    """Cut the volumes; returns the exit code."""
    return run_command("prepare_slices.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/prepare_slices.py", SlicesOptions, words, __doc__)
    _check(args)
    with naming_packages("datasets/prepare_slices.py"):
        return _prepare(args)


def _prepare(args: SlicesOptions) -> int:
    sides = {args.side or ("A" if args.pair_with else ""): args.source}
    if args.pair_with:
        sides["B"] = args.pair_with
    found, problems = {}, []
    for side, sources in sides.items():
        found[side], left_out = find_series([Path(source) for source in sources], args.patient_pattern)
        if modality := args.pair_modality if side == "B" and args.pair_with else args.modality:
            found[side] = [series for series in found[side] if series.modality == modality]
        problems += [line for line in left_out if line not in problems]
    if args.pair_with:
        jobs, alone = _matched(found)
        problems += alone
    else:
        jobs = [{side: series} for side, all_series in found.items() for series in all_series]
    if not jobs:
        raise ValueError(f"no volume can be used: {(problems or ['SOURCE holds no file'])[0]}")
    folder = SliceFolder.opened(args.out, _settings(args), args.format)
    phases = _phases(args, [next(iter(job.values())).patient for job in jobs], folder.phases)
    for job in tqdm(jobs, args.out.name, unit="volume", disable=None):
        try:
            _cut(job, args, folder, phases)
        except ValueError as error:
            problems.append(f"{' and '.join(series.source for series in job.values())}: {error}")
    for line in problems:
        report_error("prepare_slices.py", line)
    if not folder.new:
        raise ValueError(f"--out {args.out}: no slice was written; the reasons stand above")
    folder.finish()
    sheet(args.out, folder.rows).save(args.out.with_name(f"{args.out.name}_sheet.png"))
    _report(args, folder)
    return EXIT_FAILED if problems else EXIT_DONE


def _check(args: SlicesOptions) -> None:
    if args.side and args.pair_with:
        raise ValueError(f"--side {args.side}: --pair_with makes both sides; give one of them")
    for name in ("window", "pair_window"):
        window = getattr(args, name)
        if window and (len(window) != 2 or not window[0] < window[1]):
            raise ValueError(
                f"--{name} {','.join(f'{value:g}' for value in window)}: give two numbers, the lower first"
            )
    for name in ("pair_window", "pair_bands", "pair_labels", "pair_modality", "pair_unit"):
        if getattr(args, name) and not args.pair_with:
            raise ValueError(f"--{name}: without --pair_with there is no other side")
    if args.phase and Path(args.phase).name != args.phase:
        raise ValueError(f"--phase {args.phase}: give the name of a folder, e.g. test")
    out = real_path(args.out)
    for source in map(Path, (*args.source, *args.pair_with)):
        if source.is_dir() and real_path(source) in (out, *out.parents):
            raise ValueError(f"--out {args.out} lies in SOURCE {source}: give a folder beside it")


def _settings(args: SlicesOptions) -> Settings:
    layout = "pairs" if args.pair_with else "unpaired" if args.side else "single"
    sides = {args.side or ("A" if args.pair_with else ""): SideSettings(args.window, args.bands, args.labels)}
    if args.pair_with:
        sides["B"] = SideSettings(args.pair_window, args.pair_bands, args.pair_labels)
    return Settings(layout, args.view, args.resample, sides)


def _phases(args: SlicesOptions, patients: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    """Patient -> phase.

    Raises:
        ValueError: a patient would be in two phases.
    """
    if not args.phase:
        shares = {"val": args.val_fraction, "test": args.test_fraction}
        return split_patients(patients, shares, known=known, seed=args.seed)
    elsewhere = sorted({name for name in patients if known.get(name, args.phase) != args.phase})
    if elsewhere:
        raise ValueError(
            f"--phase {args.phase}: {args.out} has patient {elsewhere[0]} in phase {known[elsewhere[0]]} already, and "
            "nobody may be in two"
        )
    return dict.fromkeys(patients, args.phase)


def _matched(found: dict[str, list[Series]]) -> tuple[list[dict[str, Series]], list[str]]:
    """The pairs, each a patient's volume of side A with one of side B; and one line for each that has no partner.

    Of several volumes of a patient, those on the same grid belong together. One volume on each side is a pair whatever
    their names.
    """
    a_side, b_side = found["A"], found["B"]
    if len(a_side) == len(b_side) == 1:
        return [{"A": a_side[0], "B": b_side[0]}], []
    pairs, problems = [], []
    for patient in sorted({series.patient for series in (*a_side, *b_side)}):
        a = [series for series in a_side if series.patient == patient]
        b = [series for series in b_side if series.patient == patient]
        if len(a) == len(b) == 1:
            pairs.append({"A": a[0], "B": b[0]})
        elif a and b:
            try:
                pairs += _same_grids(a, b)
            except ValueError as error:
                problems.append(f"patient {patient}: {error}")
        else:
            there, other = (a, "--pair_with") if a else (b, "SOURCE")
            problems.append(f"{there[0].source}: {other} has no volume of patient {patient}")
    return pairs, problems


def _same_grids(a: list[Series], b: list[Series]) -> list[dict[str, Series]]:
    others = [(series, series.grid()) for series in b]
    pairs = []
    for series in a:
        grid = series.grid()
        partners = [other for other, place in others if not difference(grid, place)]
        if len(partners) != 1:
            count = "no volume" if not partners else f"{len(partners)} volumes"
            raise ValueError(
                f"{counted(len(a), 'volume')} in SOURCE and {len(b)} in --pair_with, and {count} of these on the grid "
                f"of {series.name}: name the files that belong together"
            )
        pairs.append({"A": series, "B": partners[0]})
    return pairs


def _cut(job: dict[str, Series], args: SlicesOptions, folder: SliceFolder, phases: dict[str, str]) -> None:
    """Read one volume, or a pair of them, and write its slices.

    Raises:
        ValueError: the reason why nothing was written.
    """
    first = next(iter(job.values()))
    volumes = {side: series.load() for side, series in job.items()}
    if len(volumes) == 2:
        apart = difference(volumes["A"], volumes["B"])
        if apart:
            raise ValueError(f"their grids differ ({apart}): {_REGISTER}")
        if volumes["A"].frame != volumes["B"].frame and volumes["A"].frame and volumes["B"].frame:
            print(
                f"warning: {first.source}: both series have the same grid, but different frames of reference: check "
                "that they are registered",
                file=sys.stderr,
            )
    cuts = []
    for side, volume in volumes.items():
        wanted = folder.settings.sides[side]
        chosen = _with_unit(
            select_bands(volume, wanted.bands), args.pair_unit if len(job) > 1 and side == "B" else args.unit
        )
        view = view_of(chosen, args.view)
        if args.resample:
            chosen = resampled(chosen, args.resample, nearest=wanted.labels)
        cuts.append(Cut(side, job[side], windowed(chosen, wanted.window), view))
    folder.add(cuts, first.patient, phases[first.patient])


def _with_unit(volume: Volume, unit: str) -> Volume:
    if unit and volume.unit not in ("", unit):
        raise ValueError(f"is in {volume.unit}, not in the {unit} that was given")
    return replace(volume, unit=unit or volume.unit)


def _report(args: SlicesOptions, folder: SliceFolder) -> None:
    rows = folder.rows
    by_phase: dict[str, set[str]] = {}
    for row in rows:
        by_phase.setdefault(row["phase"], set()).add(row["patient"])
    counts = ", ".join(
        f"{phase}: {sum(row['phase'] == phase for row in rows)} of {_patients(names)}"
        for phase, names in sorted(by_phase.items())
    )
    print(f"{args.out}: {counted(len(rows), 'slice')}, {folder.new} of them new ({counts})")
    if len({row["patient"] for row in rows}) == 1 and not args.phase:
        print(
            f"warning: all slices are of one patient ({rows[0]['patient']}), so all are in phase {rows[0]['phase']}: "
            "a test needs other patients (or --patient_pattern, if the paths name them)",
            file=sys.stderr,
        )
    if flags := folder.flags():
        print(f"train with: python train.py {shlex.join(['--dataroot', str(args.out), '--name', 'run', *flags])}")


def _patients(names: set[str]) -> str:
    return counted(len(names), "patient")


if __name__ == "__main__":
    sys.exit(main())
