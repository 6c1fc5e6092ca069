"""Is the data set sound? ``quick_check`` at every start; ``check_dataset`` reads every file (scripts/check_data.py)."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.base_dataset import BaseDataset
from data.class_folder_dataset import PHASES, ClassFolders, class_root, find_classes
from data.coco import CocoImages, image_folder, read_coco
from data.examine import FileFacts, Sides
from data.transforms import final_size, missing_pixels
from data.unaligned_coco_dataset import UnalignedCocoOptions
from data.values import Values, described, merged, phase_warnings, side_warnings, values_of
from options.base_options import DataOptions, SideOptions
from util.images.folder import describe, has_images, left_out, listed, scan, stem, subfolders
from util.images.io import Header, read_header
from util.wording import counted


@dataclass(frozen=True)
class Phase:
    """One phase of a data set on disk: its layout, and the files of its sides (``A`` alone where there is no B)."""

    name: str
    layout: str  # side_by_side, folders, unaligned, single, class_folders; pairs, files: as the data set lists them
    sides: dict[str, list[str]]
    folders: dict[str, Path]
    annotations: dict[str, CocoImages] = field(default_factory=dict)  # of unaligned_coco, by side
    classes: ClassFolders | None = None  # of class_folders
    remarks: tuple[str, ...] = ()  # of the data set


def find_phases(
    dataroot: Path,
    names: Iterable[str] = (),
    dataset_class: type[BaseDataset] | None = None,
    options: DataOptions | None = None,
) -> list[Phase]:
    """The phases below ``dataroot`` and how each is laid out.

    Args:
        dataroot: folder of the data set.
        names: phases to look at (default: all there are).
        dataset_class: whose layout it is; None guesses it from the folders.
        options: of that class.

    Raises:
        FileNotFoundError: no such folder, or no such phase in it.
    """
    if not dataroot.is_dir():
        raise FileNotFoundError(f"{dataroot}: there is no such folder")
    layout = dataset_class.layout if dataset_class else ""
    if dataset_class and options and not layout:
        return listed_phases(dataset_class, options, names)
    if isinstance(options, UnalignedCocoOptions):
        return coco_phases(dataroot, names, imagedir=options.coco_imagedir, category_id=options.category_id)
    return class_phases(dataroot, names) if layout == "class_folder" else _folder_phases(dataroot, names, layout)


def listed_phases(dataset_class: type[BaseDataset], options: DataOptions, names: Iterable[str] = ()) -> list[Phase]:
    """The phases of a data set with a layout of its own: the files of its units.

    Args:
        dataset_class: that data set.
        options: for it; their phase does not matter.
        names: phases to look at (default: those of train, val and test that are there).

    Raises:
        FileNotFoundError: no such phase.
    """
    phases, reasons = [], []
    for name in list(names) or dataset_class.phases(options):
        try:
            dataset = dataset_class(replace(options, phase=name), input_nc=3, output_nc=3)
        except FileNotFoundError as error:
            reasons.append(error)
            continue
        sides: dict[str, list[str]] = dict(dataset.sides().items())
        pairs = "pairs" if dataset.paired and len(sides) == 2 else "files"
        phases.append(Phase(name, pairs, sides, dict.fromkeys(sides, dataset.root), remarks=tuple(dataset.remarks)))
    if reasons and (names or not phases):
        raise reasons[0]
    return phases


def _folder_phases(dataroot: Path, names: Iterable[str], dataset_mode: str) -> list[Phase]:
    inside = set(subfolders(dataroot))
    pairs = sorted(name[:-1] for name in inside if name.endswith("A") and len(name) > 1 and name[:-1] + "B" in inside)
    plain = sorted(inside - {name + side for name in pairs for side in "AB"})
    if not names and has_images(dataroot):
        return [_phase(dataroot, "", dataset_mode)]
    if not names and not dataset_mode and not pairs and _holds_classes(dataroot):
        return [_class_phase(".", dataroot)]
    wanted = list(names) or [*plain, *(name for name in pairs if name not in plain)]
    phases = []
    for name in wanted:
        if name not in inside and name not in pairs:
            raise FileNotFoundError(f"--phase {name}: {describe(dataroot)}")
        phases.append(_phase(dataroot, name, dataset_mode or ("unaligned" if name not in inside else "")))
    found = [phase for phase in phases if any(phase.sides.values())]
    if not found:
        raise FileNotFoundError(f"{dataroot}: no images found; {describe(dataroot)}")
    return found


def class_phases(dataroot: Path, names: Iterable[str] = ()) -> list[Phase]:
    """The phases whose folders have class folders, or the data root itself as one, as the data set reads them.

    Args:
        dataroot: folder of the data set.
        names: phases to look at (default: all there are).

    Raises:
        FileNotFoundError: no class folders, or no image in them.
    """
    wanted = list(names) or [name for name in subfolders(dataroot) if subfolders(dataroot / name)]
    roots = {name: class_root(dataroot, name) for name in wanted or ["train"]}
    phases = [_class_phase("." if root == dataroot else name, root) for name, root in roots.items()]
    if not any(phase.sides["A"] for phase in phases):
        raise FileNotFoundError(f"{dataroot}: no images found in class folders; {describe(dataroot)}")
    return phases


def _class_phase(name: str, root: Path) -> Phase:
    found = find_classes(root)
    files = [path for paths in found.images.values() for path in paths]
    return Phase(name, "class_folders", {"A": files}, {"A": root}, classes=found)


def _holds_classes(folder: Path) -> bool:
    """Whether it looks like a folder of classes: two folders or more with images right in them, none called a phase."""
    inside = subfolders(folder)
    named = {"A", "B"} <= set(inside) or set(PHASES) & set(inside)
    return not named and not has_images(folder) and sum(has_images(folder / name) for name in inside) >= 2


def coco_phases(dataroot: Path, names: Iterable[str] = (), *, imagedir: str, category_id: int) -> list[Phase]:
    """The phases that have the annotation files PHASEA.json and PHASEB.json in ``dataroot``.

    Args:
        dataroot: folder of the data set.
        names: phases to look at (default: all there are).
        imagedir: ``--coco_imagedir``.
        category_id: of the boxes.

    Raises:
        FileNotFoundError: no such files.
        ValueError: one of them is broken.
    """
    there = {file.stem for file in dataroot.glob("?*[AB].json")}
    phases = list(names) or sorted(name[:-1] for name in there if name.endswith("A") and name[:-1] + "B" in there)
    if not phases:
        raise FileNotFoundError(f"{dataroot}: no annotation files <phase>A.json and <phase>B.json")
    found = []
    for name in phases:
        sides = {
            side: read_coco(
                dataroot / f"{name}{side}.json",
                image_folder(dataroot, name + side, imagedir),
                category_id=category_id,
            )
            for side in "AB"
        }
        paths = {side: images.paths for side, images in sides.items()}
        folders = {side: images.folder for side, images in sides.items()}
        found.append(Phase(name, "unaligned", paths, folders, sides))
    return found


def _phase(dataroot: Path, name: str, dataset_mode: str) -> Phase:
    folder = dataroot / name
    if dataset_mode == "unaligned":
        folders = {side: dataroot / f"{name}{side}" for side in "AB"}
        layout = "unaligned"
    elif dataset_mode != "single" and {"A", "B"} <= set(subfolders(folder)):
        folders = {side: folder / side for side in "AB"}
        layout = "folders"
    else:
        folders, layout = {"A": folder}, "single"
    sides = {side: scan(where) if where.is_dir() else [] for side, where in folders.items()}
    if layout == "single" and dataset_mode != "single" and (dataset_mode == "aligned" or _looks_paired(sides["A"])):
        layout = "side_by_side"
    if layout == "single" and not dataset_mode and _holds_classes(folder):
        return _class_phase(name, folder)
    return Phase(name or ".", layout, sides, folders)


def _looks_paired(files: list[str]) -> bool:
    """Whether the first readable file is two squares side by side."""
    for path in files[:5]:
        try:
            header = read_header(path)
        except ValueError:
            continue
        return header.width == 2 * header.height
    return False


_QUICK_FILES = 16  # whose headers are compared
_QUICK_SECONDS = 1.0
_LOOKED_AT = 8  # units whose values are looked at
_LOOK_SECONDS = 0.5
_IMBALANCE = 10  # times as many images as the smallest class has


@dataclass
class Report:
    """What was found: ``problems`` stop a training, ``warnings`` may be meant so, ``facts`` are for reading."""

    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def quick_check(dataset: BaseDataset) -> list[str]:
    """Look at the files before a run: decode as many as one second allows, and compare the headers of 16.

    Returns:
        Warnings, one line each.

    Raises:
        ValueError: something that cannot work: a broken file, wrong channels, too small, or unequal sizes in a batch.
    """
    for index in sorted({0, len(dataset) - 1}):
        dataset[index]
    clipped: dict[str, list[float]] = defaultdict(list)
    end = time.monotonic() + _QUICK_SECONDS
    for unit in dict.fromkeys([*dataset.probe_units(_QUICK_FILES), *range(dataset.num_units())]):
        if time.monotonic() > end:
            break
        for side, prepared in dataset.decode(unit).items():
            clipped[side].append(prepared.clipped)
    options = dataset.options
    named = dataset.headers(_QUICK_FILES)
    sizes = [(path, dataset.picture_size(header)) for path, header in named]
    warnings = []
    for path, (width, height) in sizes:
        if options.preprocess == "crop" and min(width, height) < options.crop_size:
            raise ValueError(
                f"{path}: {width}x{height} pixels are too few for --crop_size {options.crop_size}: lower it, "
                f"or use --preprocess resize_and_crop"
            )
    finals = {final_size(*size, options): path for path, size in sizes}
    if len(finals) > 1 and options.batch_size > 1:
        two = ", ".join(f"{path} becomes {w}x{h}" for (w, h), path in list(finals.items())[:2])
        raise ValueError(
            f"--batch_size {options.batch_size} needs images of one size, but with --preprocess {options.preprocess} "
            f"{two}: use --preprocess resize_and_crop or --batch_size 1"
        )
    stretched = [(path, size) for path, size in sizes if size[0] != size[1]]
    if options.preprocess == "resize_and_crop" and stretched:
        path, (width, height) = stretched[0]
        warnings.append(
            f"images that are not square are stretched, e.g. {path} ({width}x{height}): "
            f"--preprocess scale_width_and_crop keeps their shape"
        )
    if dataset.side_by_side and stretched:
        path, (width, height) = stretched[0]
        asked = ": is it really A beside B?"
        if portrait := [(path, size) for path, size in sizes if 2 * size[0] <= size[1]]:
            path, (width, height) = portrait[0]
            asked = ": it looks like one picture, but is cut into A and B because of --dataset_mode aligned"
        warnings.append(f"the halves of {path} are {width}x{height}, not square{asked}")
    warnings += _value_warnings(dataset)
    warnings += _clipped_shares(clipped) if options.clip_range else []
    return [*dataset.remarks, *unread_files(dataset), *warnings, *_header_warnings(named, options.alpha)]


def _value_warnings(dataset: BaseDataset) -> list[str]:
    """What the values of a few units say, one side after the other."""
    found: dict[str, list[Values]] = defaultdict(list)
    end = time.monotonic() + _LOOK_SECONDS
    for unit in dataset.probe_units(_LOOKED_AT):
        if time.monotonic() > end and found:
            break
        for name, picture in dataset.pictures(unit).items():
            found[name].append(values_of(picture, missing_pixels(picture, dataset.options.side(name))))
    warnings = []
    for side, values in found.items():
        own = dataset.options.side(side)
        warnings += side_warnings(merged(values), own)
    return warnings


def _clipped_shares(clipped: Mapping[str, list[float]]) -> list[str]:
    """What ``--clip_range`` does to each side: side -> share of the values of each file."""
    return [
        f"--clip_range: side {side}: {sum(shares) / len(shares):.2%} of the values lie outside the range and are "
        f"clipped ({counted(len(shares), 'file')} looked at)"
        for side, shares in sorted(clipped.items())
    ]


def unread_files(dataset: BaseDataset) -> list[str]:
    """One line on the files beside the images that are of other kinds; none where there are none."""
    folders = {os.path.dirname(path) for unit in range(dataset.num_units()) for path in dataset.unit_paths(unit)}
    unread = left_out(folder for folder in folders if os.path.isdir(folder))
    return [f"{dataset.dataroot}: {unread}"] if unread else []


def _header_warnings(named: list[tuple[str, Header]], alpha: str) -> list[str]:
    """What the headers alone say: alpha, EXIF orientation, mixed depth and channels."""
    warnings = []
    with_alpha = [path for path, header in named if header.alpha]
    if with_alpha and alpha == "drop":
        warnings.append(f"transparency is ignored, e.g. of {with_alpha[0]}: --alpha white or keep uses it")
    turned = [path for path, header in named if header.orientation != 1]
    if turned:
        warnings.append(f"images are turned upright by their EXIF orientation, e.g. {turned[0]}")
    stacks = [(path, header.remark) for path, header in named if header.remark]
    if stacks:
        warnings.append(f"{stacks[0][0]}: {stacks[0][1]}; {len(stacks)} of {len(named)} files looked at are like this")
    for folder in sorted({Path(path).parent for path, _ in named}):  # the sides of a pair may differ
        side = [(path, header) for path, header in named if Path(path).parent == folder]
        for what, values in (
            ("bit depth", {header.format: path for path, header in side}),
            ("channels", {str(header.channels - header.alpha): path for path, header in side}),
        ):
            if len(values) > 1:
                warnings.append(f"mixed {what}: " + ", ".join(f"{value} ({path})" for value, path in values.items()))
    return warnings


def reading_of(phases: Iterable[Phase], sides: Mapping[str, SideOptions]) -> dict[str, Sides]:
    """Path -> how it is read: as the side it belongs to, of a side-by-side file each half as its own."""
    found: dict[str, Sides] = {}
    for phase in phases:
        for side, files in phase.sides.items():
            own = (sides["A"], sides["B"]) if phase.layout == "side_by_side" else (sides[side],)
            found.update(dict.fromkeys(files, own))
    return found


def report(phases: list[Phase], facts: dict[str, FileFacts], sides: Mapping[str, SideOptions] | None = None) -> Report:
    """Judge the phases from the facts about their files; ``sides`` says how those of A and B are read."""
    sides = sides or {side: SideOptions(side) for side in "AB"}
    result = Report()
    for phase in phases:
        counts = ", ".join(f"{side} {len(files)}" for side, files in phase.sides.items())
        if phase.classes:
            counts = f"{len(phase.sides['A'])} in {counted(len(phase.classes.images), 'class', 'classes')}"
        result.facts.append(f"{phase.name}: {phase.layout.replace('_', ' ')}, files: {counts}")
        if phase.classes:
            _check_classes(phase.name, phase.classes, result)
        for side, files in phase.sides.items():
            sound = [facts[path].header for path in files]
            _describe_side(
                phase.name if phase.classes else f"{phase.name} {side}", [header for header in sound if header], result
            )
        for path in (path for files in phase.sides.values() for path in files):
            if facts[path].error:
                result.problems.append(facts[path].error)
        if phase.layout == "side_by_side":
            _check_halves(phase, facts, result)
        if phase.layout == "folders":
            _check_partners(phase, facts, result)
        if phase.layout == "pairs":
            pairs = zip(phase.sides["A"], phase.sides["B"])
            _check_pair_sizes(phase.name, {f"{a} | {b}": (a, b) for a, b in pairs}, facts, result)
        result.warnings += [line for line in phase.remarks if line not in result.warnings]
        for side, images in phase.annotations.items():
            _check_boxes(f"{phase.name} {side}", images, facts, result)
        if phase.layout == "unaligned":
            for side, files in phase.sides.items():
                if not files:
                    result.problems.append(f"{phase.name}: no images in {phase.folders[side]}")
    _check_left_out(phases, result)
    _check_values(phases, facts, sides, result)
    _check_layouts(phases, result)
    _check_labels(phases, result)
    _check_copies(phases, facts, result)
    return result


def _check_left_out(phases: list[Phase], result: Report) -> None:
    """What lies beside the images and is not read."""
    for phase in phases:
        folders = {str(folder) for folder in phase.folders.values() if folder.is_dir()}
        unread = left_out(folders | {os.path.dirname(path) for files in phase.sides.values() for path in files})
        if unread:
            result.warnings.append(f"{phase.name}: {unread}")


def _check_values(
    phases: list[Phase], facts: dict[str, FileFacts], options: Mapping[str, SideOptions], result: Report
) -> None:
    """The range of values of each side in each phase, and what is strange about it."""
    order = sorted(phases, key=lambda phase: phase.name != "train")
    sides: dict[str, dict[str, list[Values]]] = defaultdict(dict)
    for phase in order:
        beside = phase.layout == "side_by_side"
        for side, files in phase.sides.items():
            halves = [facts[path].values for path in files]
            for number, name in enumerate("AB" if beside else side):
                chosen = [found[number : number + 1] if beside else found for found in halves]
                sides[name][phase.name] = merged(each for found in chosen for each in found)
    for side, by_phase in sides.items():
        for name, values in by_phase.items():
            for each in values:
                result.facts.append(f"  {name} {side}: {each.format} {described(each)}")
        everything = merged(each for values in by_phase.values() for each in values)
        result.warnings += side_warnings(everything, options[side])
        result.warnings += phase_warnings(by_phase, side)


def _check_layouts(phases: list[Phase], result: Report) -> None:
    """Folders that look like pairs and are read as something else, or by no model at all."""
    single = {phase.name for phase in phases if phase.layout in ("single", "class_folders")}
    if {"A", "B"} <= single and not single & set(PHASES):
        result.problems.append(
            "folders A and B lie above the phases, which no model reads as it is: pairs go into train/A and train/B "
            "(move them, or join them by datasets/combine_A_and_B.py), unpaired images into trainA and trainB"
        )
    for phase in phases:
        if phase.classes and len(phase.classes.images) == 2:
            first, second = ({Path(path).stem for path in files} for files in phase.classes.images.values())
            if first == second:
                names = " and ".join(phase.classes.images)
                result.warnings.append(
                    f"{phase.name}: the folders {names} hold files of the same names: as classes they are read by "
                    f"--model sagan only; if they are pairs, call the folders {phase.name}/A and {phase.name}/B"
                )


def _describe_side(label: str, headers: list[Header], result: Report) -> None:
    if not headers:
        return
    sizes = Counter(f"{h.width}x{h.height}" for h in headers)
    shown = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(5))
    more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
    channels = Counter(f"{counted(h.channels, 'channel')} {h.format}" for h in headers)
    kinds = ", ".join(f"{kind} ({count})" for kind, count in channels.most_common())
    result.facts.append(f"  {label}: {shown}{more}; {kinds}")
    if len(sizes) > 1:
        result.warnings.append(
            f"{label}: {len(sizes)} different sizes: batches of more than one image need a --preprocess with crop"
        )
    if len({h.format for h in headers}) > 1:
        result.warnings.append(f"{label}: mixed bit depth: {kinds}")
    if len({h.channels - h.alpha for h in headers}) > 1:
        result.warnings.append(f"{label}: mixed grey and colour (or other channels): {kinds}")
    remarks = Counter(h.remark for h in headers if h.remark)
    result.warnings.extend(f"{label}: {count} of {len(headers)} files: {remark}" for remark, count in remarks.items())
    for count, text in (
        (sum(h.alpha for h in headers), "an alpha channel: ignored unless --alpha white or keep"),
        (sum(h.orientation != 1 for h in headers), "an EXIF orientation: they are turned upright when read"),
    ):
        if count:
            result.warnings.append(f"{label}: {count} of {len(headers)} files have {text}")


def _check_halves(phase: Phase, facts: dict[str, FileFacts], result: Report) -> None:
    for path in phase.sides["A"]:
        header = facts[path].header
        if header and header.width % 2:
            result.problems.append(f"{path}: a width of {header.width} pixels has no two equal halves A and B")
        elif header and header.width <= header.height:
            size = f"{header.width}x{header.height}"
            result.warnings.append(f"{path}: {size} pixels look like one picture, not A and B side by side")


def _check_partners(phase: Phase, facts: dict[str, FileFacts], result: Report) -> None:
    by_stem: dict[str, dict[str, str]] = {}
    for side, files in phase.sides.items():
        by_stem[side] = {}
        for path in files:
            other = by_stem[side].setdefault(stem(path, phase.folders[side]), path)
            if other != path:
                result.problems.append(f"{other} and {path} have the same name but for the suffix")
    for side, partner in (("A", "B"), ("B", "A")):
        alone = [path for key, path in by_stem[side].items() if key not in by_stem[partner]]
        if alone:
            names = listed([Path(path).name for path in alone])
            result.problems.append(
                f"{phase.name}: {len(alone)} of {len(by_stem[side])} files in {side} "
                f"have no partner in {partner}: {names}"
            )
    both = by_stem["A"].keys() & by_stem["B"].keys()
    _check_pair_sizes(phase.name, {key: (by_stem["A"][key], by_stem["B"][key]) for key in both}, facts, result)


def _check_pair_sizes(
    phase: str, pairs: Mapping[str, tuple[str, str]], facts: dict[str, FileFacts], result: Report
) -> None:
    for key, files in pairs.items():
        first, second = (facts[path].header for path in files)
        if first and second and (first.width, first.height) != (second.width, second.height):
            result.problems.append(
                f"{phase}: the sides of pair {key} differ in size: "
                f"{first.width}x{first.height} and {second.width}x{second.height}"
            )


def _check_boxes(label: str, images: CocoImages, facts: dict[str, FileFacts], result: Report) -> None:
    counts = [len(boxes) for boxes in images.boxes]
    result.facts.append(
        f"  {label}: {counted(sum(counts), 'box', 'boxes')}; {counts.count(0)} of {len(counts)} images have none"
    )
    result.warnings.extend(images.remarks)
    for path, (width, height), count in zip(images.paths, images.sizes, counts):
        header = facts[path].header
        if header and count and (header.width, header.height) != (width, height):
            result.problems.append(f"{path}: {header.width}x{header.height} pixels, but labelled as {width}x{height}")


def _check_classes(label: str, classes: ClassFolders, result: Report) -> None:
    result.warnings.extend(classes.remarks())
    if not classes.images:
        result.problems.append(f"{label}: no images in {classes.root}")
        return
    sizes = sorted((len(files), name) for name, files in classes.images.items())
    (fewest, smallest), (most, largest) = sizes[0], sizes[-1]
    shown = [f"{name} {len(files)}" for name, files in classes.images.items()]
    result.facts.append(f"  images of a class: {fewest} to {most}; {listed(shown)}")
    if most > _IMBALANCE * fewest:
        result.warnings.append(
            f"{label}: class {largest} has {counted(most, 'image')}, class {smallest} {fewest}: "
            f"train.py --class_balanced shows every class equally often"
        )


def _check_labels(phases: list[Phase], result: Report) -> None:
    """The labels of a data set are those of its training phase."""
    names = {phase.name: list(phase.classes.images) for phase in phases if phase.classes}
    for phase, found in names.items() if "train" in names else ():
        strange = [name for name in found if name not in names["train"]]
        if strange:
            result.problems.append(f"{phase}: classes that train does not have: {listed(strange)}")


def _check_copies(phases: list[Phase], facts: dict[str, FileFacts], result: Report) -> None:
    """Equal files: within a phase a waste, in two classes a contradiction, in two phases a test set trained on."""
    places: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    for phase in phases:
        by_class = phase.classes.images.items() if phase.classes else [("", files) for files in phase.sides.values()]
        for name, files in by_class:
            for path in files:
                if facts[path].digest:
                    places[facts[path].digest].append((phase.name, name, path))
    copies = [found for found in places.values() if len(found) > 1]
    classes = [found for found in copies if len({name for _, name, _ in found}) > 1]
    across = [found for found in copies if len({phase for phase, _, _ in found}) > 1]
    within = [found for found in copies if found not in classes and found not in across]
    for groups, text in (
        (classes, "in more than one class (which of them is it?)"),
        (across, "in more than one phase (results on them say nothing about new images)"),
        (within, "more than once"),
    ):
        if groups:
            example = " = ".join(path for *_, path in groups[0][:3])
            result.warnings.append(f"equal images {text}: {len(groups)}, e.g. {example}")
