"""The published SAGAN program's parameter files (.h5) into a run of this program, and back.

    python scripts/import_sagan_h5.py params_999999.h5 --name imported      writes checkpoints/imported
    python test.py --name imported                                          draws images
    python scripts/import_sagan_h5.py --name RUN --export FILE.h5           writes a run's networks as such a file

Widths, classes and the length of the latent vector are read off the file. Files of before 2021 have beside each weight
the one that test mode used then (W_sn): it is passed over, unless --use_w_sn asks for the images of that time.
What became of each tensor stands in the run's import_report.txt.

Exit code 0: done; 1: failed; 2: bad arguments, or a file that does not fit, and then nothing is written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.imported import REPORT_FILE, ImportedRun, ImportOptions, check_target, run_import, write_run
from models.sagan.h5 import PREFIX, Entry, Report, by, layout, read_h5, write_h5
from models.sagan.latent import draw_labels
from models.sagan.networks import BASE, WIDTHS, SAGANDiscriminator, SAGANGenerator
from options.files import read_options
from options.schema import arg
from util.images.draw import tile, to_uint8_truncating
from util.images.io import save_array
from util.run.class_names import CLASSES_FILE, read_class_names, write_class_names
from util.run.folder import check_writable
from util.run.pretrained import load_weights
from util.wording import counted

Arrays = Mapping[str, NDArray[np.float32]]
State = dict[str, Tensor]
CHECK_IMAGES, CHECK_FILE = 16, "import_check.png"
_BATCHES = 1_000_000  # that batch norm has seen, which the file does not say: so many that their start does not count
WITHOUT_D = "the file has no discriminator: the run is for test.py, not for train.py --continue_train"


@dataclass(frozen=True, kw_only=True)
class SAGANImportOptions(ImportOptions):
    """What becomes of what."""

    file: Path | None = arg(None, positional=True, metavar="FILE.h5", help="parameter file to read")
    use_w_sn: bool = arg(False, help="use W_sn of the file as the weights, without spectral norm")
    class_names: Path | None = arg(
        None, metavar="FILE", help="file with the names of the classes, one per row or LABEL: 'name'"
    )
    check: bool = arg(False, help=f"draw {CHECK_IMAGES} images of the run into {CHECK_FILE}")
    export: Path | None = arg(None, metavar="FILE.h5", help="write the networks of the run --name to this file")
    epoch: str = arg("latest", help="checkpoint for --export: latest, a number, iter_<n>")


def main(argv: Sequence[str] | None = None) -> int:
    """Convert as the command line says; returns the exit code."""
    return run_import("import_sagan_h5.py", SAGANImportOptions, argv, __doc__, _convert)


def _convert(args: SAGANImportOptions, folder: Path) -> None:
    if args.file and not args.export:
        _import(args.file, folder, args)
    elif args.export and not args.file:
        _export(folder, args.epoch, args.export)
    else:
        raise ValueError("give either a FILE.h5 to read, or --export FILE.h5 to write")


# --- from the file ----------------------------------------------------------------------------------------------------


def _import(file: Path, folder: Path, args: SAGANImportOptions) -> None:
    check_target(folder, overwrite=args.overwrite)
    arrays = read_h5(file)
    options = infer_options(arrays, file)
    has_D = any(name.startswith(PREFIX["D"]) for name in arrays)
    networks = {key: net for key, net in empty_networks(options).items() if key == "G" or has_D}
    states, report = take_states(arrays, layout(networks), file, use_w_sn=args.use_w_sn)
    names = read_class_names(args.class_names) if args.class_names else ()
    if names and len(names) != options["num_classes"]:
        classes = counted(options["num_classes"], "class", "classes")
        raise ValueError(f"--class_names {args.class_names}: {counted(len(names), 'name')} for {classes}")
    options |= {"no_sn": args.use_w_sn, "ema_decay": 0}  # so that a test draws with G, which is all there is
    digits = re.search(r"\d+$", file.stem)
    iteration = int(digits[0]) if digits else None
    imported = ImportedRun(
        options,
        {key: partial(dict, state) for key, state in states.items()},
        list(report.lines(*(() if has_D else (WITHOUT_D,)))),
        tags=("latest",) if iteration is None else ("latest", f"iter_{iteration}"),
        aliases={"G": ("G_ema",)},  # for a training with --ema_decay
        prepare=lambda draft: write_class_names(draft / CLASSES_FILE, names) if names else None,
    )
    write_run(folder, imported, overwrite=args.overwrite)
    for stale in (CHECK_FILE, *(() if names else (CLASSES_FILE,))):  # of a start that came to nothing
        (folder / stale).unlink(missing_ok=True)
    size = options["image_size"]
    shown = " ".join(f"--{key} {options[key]}" for key in ("num_classes", "nz", "ngf", "ndf"))
    print(f"{folder}: {size}x{size} pixels, {shown}{'' if iteration is None else f', iteration {iteration}'}")
    if not has_D:
        print(WITHOUT_D)
    print(f"names of all tensors: {folder / REPORT_FILE}")
    if args.check:
        print(_draw(states["G"], options, folder / CHECK_FILE))


def infer_options(arrays: Arrays, file: Path) -> dict[str, Any]:
    """Flags of the networks, from the shapes of the file's tensors.

    Raises:
        ValueError: it has no generator of SAGAN, or one of a size that there is not.
    """
    shapes = {name: value.shape for name, value in arrays.items()}
    for name in (table := "generator/block-1/conv1/ccbn/gamma/embed/W", affine := "generator/sn_affine/W"):
        if len(shapes.get(name, ())) != 2:
            has = f"{name} is {by(shapes[name])}" if name in shapes else f"there is no {name}"
            raise ValueError(f"{file}: no parameter file of SAGAN, {has}")
    (num_classes, maps), (nz, _) = shapes[table], shapes[affine]
    blocks = max(int(match[1]) for name in shapes if (match := re.match(r"generator/block-(\d+)/", name)))
    size = BASE << min(blocks, 16)
    if size not in WIDTHS:
        known = ", ".join(map(str, WIDTHS))
        raise ValueError(f"{file}: {blocks} blocks make {size}x{size} pixels; there are networks for {known}")
    widths = WIDTHS[size]
    ngf, rest = divmod(maps, widths.G[0])
    if rest or not ngf:
        raise ValueError(f"{file}: {table} has {counted(maps, 'column')}, which is no multiple of {widths.G[0]}")
    first = shapes.get("discriminator/block-1/conv1/sn_conv/W", ())
    ndf = max(1, first[0] // widths.D[0]) if first else ngf
    places_G = {BASE << number: width * ngf for number, width in enumerate(widths.G) if number}  # 0: before any block
    places_D = {size >> number: width * ndf for number, width in enumerate(widths.D, start=1)}
    return {
        "model": "sagan",
        "image_size": size,
        "num_classes": num_classes,
        "nz": nz,
        "ngf": ngf,
        "ndf": ndf,
        "attn_res_G": _place(shapes.get("generator/attn/h/sn_conv/W"), places_G, widths.attention),
        "attn_res_D": _place(shapes.get("discriminator/attn/h/sn_conv/W"), places_D, widths.attention)
        if first
        else widths.attention,
    }


def _place(shape: tuple[int, ...] | None, places: Mapping[int, int], usual: int) -> int:
    """Size of the map with attention: that with as many channels, of several the usual one; 0 for none."""
    if not shape:
        return 0
    return next((size for size in (usual, *places) if places.get(size) == shape[0]), usual)


def empty_networks(options: Mapping[str, Any]) -> dict[str, nn.Module]:
    """G and D of these options, with spectral norm, without memory for their weights."""
    common = {key: options[key] for key in ("image_size", "num_classes")}
    with torch.device("meta"):
        G = SAGANGenerator(ngf=options["ngf"], nz=options["nz"], attn_res=options["attn_res_G"], **common)
        D = SAGANDiscriminator(ndf=options["ndf"], attn_res=options["attn_res_D"], **common)
    return {"G": G, "D": D}


def take_states(
    arrays: Arrays, wanted: Sequence[Entry], file: Path, *, use_w_sn: bool = False
) -> tuple[dict[str, State], Report]:
    """State dicts of the networks from the file's tensors, and what became of those.

    Prints the counts, and the names of those that are unknown, missing or do not fit.

    Args:
        arrays: as ``read_h5`` gives them.
        wanted: what the networks have.
        file: for messages.
        use_w_sn: take each ``W_sn`` as the weight, for networks without spectral norm.

    Raises:
        ValueError: a tensor is missing, has another shape, or is not finite.
    """
    states: dict[str, State] = {entry.network: {} for entry in wanted}
    used: dict[str, str] = {}
    missing: dict[str, tuple[int, ...]] = {}
    unfit: dict[str, str] = {}
    for entry in wanted:
        name = entry.name
        if use_w_sn and entry.key.endswith(".u"):
            continue
        if use_w_sn and entry.normalised_name:
            name = entry.normalised_name
        if name not in arrays:
            missing[name] = entry.shape
        elif arrays[name].shape != entry.shape:
            unfit[name] = f"of another shape: {name} {by(arrays[name].shape)}, not {by(entry.shape)}"
        elif not np.isfinite(arrays[name]).all():
            unfit[name] = f"not finite: {name}"
        else:
            states[entry.network][entry.key] = entry.read(arrays[name])
            used[name] = f"{entry.network}: {entry.key}"
        if entry.key.endswith(".running_var"):
            counter = entry.key.replace("running_var", "num_batches_tracked")
            states[entry.network][counter] = torch.tensor(_BATCHES)
    known = {name for entry in wanted for name in (entry.name, entry.normalised_name)}
    shapes = {name: value.shape for name, value in arrays.items()}
    ignored = [name for name in arrays if name in known and name not in used and name not in unfit]
    report = Report(file, shapes, used, ignored, [name for name in arrays if name not in known], missing)
    wrong = [*(f"missing: {name} {by(shape)}" for name, shape in missing.items()), *unfit.values()]
    print(report.counts)
    for line in (*(f"unknown: {name} {by(shapes[name])}" for name in report.unknown), *wrong):
        print(f"  {line}")
    if wrong:
        more = f" (and {len(wrong) - 1} more, listed above)" if len(wrong) > 1 else ""
        old = "; --use_w_sn is for files of before 2021, leave it out" if "/W_sn" in wrong[0] else ""
        raise ValueError(f"{file}: {wrong[0]}{more}{old}")
    return states, report


def _draw(state: State, options: Mapping[str, Any], file: Path) -> Path:
    """Images of classes that differ as far as possible, as a picture of ``CHECK_IMAGES`` cells."""
    G = SAGANGenerator(
        **{key: options[key] for key in ("image_size", "ngf", "nz", "num_classes")},
        attn_res=options["attn_res_G"],
        spectral=not options["no_sn"],
    )
    G.load_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(CHECK_IMAGES, options["nz"], generator=generator)
    labels = draw_labels(CHECK_IMAGES, options["num_classes"], "balanced", generator)
    with torch.no_grad():
        images = G.eval()(z, labels)
    return save_array(file, tile(to_uint8_truncating(images)))


# --- to the file ------------------------------------------------------------------------------------------------------


def _export(folder: Path, tag: str, file: Path) -> None:
    if file.suffix != ".h5" or file.exists():
        raise ValueError(f"--export {file}: name a new file that ends in .h5")
    options = read_options(folder)
    if foreign := _not_published(options):
        raise ValueError(f"--name {folder.name}: the published program has no {foreign}; it could not read the file")
    width = options["maps"] // 16
    sizes = {"ngf": width or options["ngf"], "ndf": width or options["ndf"], "attn_res_G": 32, "attn_res_D": 32}
    wanted = layout(empty_networks({**options, **sizes}))
    states = {}
    for key in ("G", "D"):
        source = folder / f"{tag}_net_{key}.pth"
        if not source.is_file():
            raise FileNotFoundError(f"--epoch {tag}: {source} does not exist")
        states[key] = load_weights(source, "--epoch")
    for entry in wanted:
        found = states[entry.network].get(entry.key)
        if found is None or tuple(found.shape) != entry.own_shape:
            has = "nothing" if found is None else by(tuple(found.shape))
            raise ValueError(f"--epoch {tag}: {entry.network}: {entry.key} is {has}, not {by(entry.own_shape)}")
    check_writable(file, f"--export {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {entry.name: entry.write(states[entry.network][entry.key]) for entry in wanted}
    write_h5(file, arrays, {entry.name: entry.trained for entry in wanted})
    print(f"{file}: G and D of {folder.name}, {tag}, {len(arrays)} tensors")


def _not_published(options: Mapping[str, Any]) -> str:
    """What the published program cannot build of a run's options; empty if nothing."""
    if options.get("model") != "sagan":
        return f"--model {options.get('model')}"
    allowed: dict[str, tuple[Any, ...]] = {"image_size": (128,), "attn_kind": ("paper",), "input_nc": (3,)}
    allowed |= {"attn_res_G": (-1, 32), "attn_res_D": (-1, 32)}
    allowed |= {"no_sn": (False,), "no_sn_G": (False,), "no_sn_D": (False,)}
    wrong = [f"--{key} {options[key]}" for key, values in allowed.items() if options[key] not in values]
    if options["num_classes"] == 1:
        wrong.append("--num_classes 1, that is no discriminator without a projection")
    if not options["maps"] and options["ngf"] != options["ndf"]:
        wrong.append(f"two widths, --ngf {options['ngf']} and --ndf {options['ndf']}")
    return wrong[0] if wrong else ""


if __name__ == "__main__":
    sys.exit(main())
