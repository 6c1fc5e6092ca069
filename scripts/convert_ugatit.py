"""U-GAT-IT checkpoints of the official PyTorch code, into a run of this program and back.

The official file is one dictionary, ``<dataset>_params_<step>.pt``; a run has a file for each network and its options.

python scripts/convert_ugatit.py FILE.pt --name RUN          writes checkpoints/RUN, ready for test.py --name RUN
python scripts/convert_ugatit.py --name RUN --export FILE.pt writes the official file of the run's networks

Exit code 0: done; 1: failed; 2: bad arguments, or a file that is none of these.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import torch
from torch import Tensor

from models.imported import ImportedRun, ImportOptions, check_state, check_target, run_import, write_run
from models.ugatit.official import NETWORKS, WITHOUT_SIZE, empty_networks, flags
from options.files import read_options
from options.schema import arg
from util.run.folder import check_writable

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ImportOptions):
    """What becomes of what."""

    file: Path | None = arg(None, positional=True, metavar="FILE.pt", help="official checkpoint to read")
    epoch: str = arg("latest", help="tag of the run's checkpoint: latest, a number, iter_<n>")
    crop_size: int = arg(WITHOUT_SIZE, help="image size to note for light generators, whose weights do not tell it")
    export: Path | None = arg(None, metavar="FILE.pt", help="write the networks of the run --name to this file")


def main(argv: Sequence[str] | None = None) -> int:
    """Convert as the command line says; returns the exit code."""
    return run_import("convert_ugatit.py", ConvertOptions, argv, __doc__, _convert)


def _convert(args: ConvertOptions, folder: Path) -> None:
    if not re.fullmatch(r"latest|\d+|iter_\d+|best_\w+", args.epoch):
        raise ValueError(f"--epoch {args.epoch}: give latest, the number of an epoch, or iter_<n>")
    if args.file and not args.export:
        _import(args.file, folder, args)
    elif args.export and not args.file:
        _export(folder, args.epoch, args.export)
    else:
        raise ValueError("give either an official FILE.pt to read, or --export FILE.pt to write")


# --- from the official file -------------------------------------------------------------------------------------------


def _import(file: Path, folder: Path, args: ConvertOptions) -> None:
    check_target(folder, overwrite=args.overwrite)
    states = read_official(file)
    shapes = {name: {key: tuple(value.shape) for key, value in state.items()} for name, state in states.items()}
    options = flags(shapes, file, crop_size=args.crop_size)
    report = [f"{file}: U-GAT-IT (PyTorch); every tensor is used as it is, the file has no optimizer states"]
    for name, net in empty_networks(options, states).items():
        check_state(states[name], net, f"{file}: {name}")
        report += [f"  {name}: {key}" for key in states[name]]
    made: dict[str, Callable[[], State]] = {name: partial(dict, state) for name, state in states.items()}
    write_run(folder, ImportedRun(options, made, report, tags=(args.epoch,)), overwrite=args.overwrite)
    kind = "light" if options["light"] else f"full, {options['img_size']}x{options['img_size']} pixels"
    print(f"{folder}: {kind}, --ngf {options['ngf']}, --n_res {options['n_res']}; the file has no optimizer states")


def read_official(file: Path) -> dict[str, State]:
    """Our network names -> state_dicts of an official file, without the ``module.`` prefixes of DataParallel.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no official checkpoint.
    """
    loaded = _load(file)
    missing = [key for key in NETWORKS if not isinstance(loaded, Mapping) or not isinstance(loaded.get(key), Mapping)]
    if missing:
        raise ValueError(f"{file}: no official checkpoint of U-GAT-IT, it lacks {', '.join(missing)}")
    states = {
        name: {key.removeprefix("module."): value for key, value in loaded[official].items()}
        for official, name in NETWORKS.items()
    }
    for name, state in states.items():
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(f"{file}: {name} is not a state_dict")
    return states


# --- to the official file ---------------------------------------------------------------------------------------------


def _export(folder: Path, tag: str, file: Path) -> None:
    options = read_options(folder)
    foreign = _not_official(options)
    if foreign:
        raise ValueError(f"--name {folder.name}: the official code has no {foreign}; it could not read the file")
    states: dict[str, State] = {}
    for official, name in NETWORKS.items():
        source = folder / f"{tag}_net_{name}.pth"
        states[official] = {key.removeprefix("module."): value for key, value in _load(source).items()}
    check_writable(file, f"--export {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(states, file)
    step = re.search(r"_params_\d{7}\.pt$", file.name)
    hint = "" if step else "; the official code looks for results/<dataset>/model/<dataset>_params_<7 digits>.pt"
    print(f"{file}: the six networks of {folder.name}, {tag}{hint}")


def _not_official(options: Mapping[str, Any]) -> str:
    """What the official code cannot build of a run's options; empty if nothing."""
    if options.get("model") != "ugatit":
        return f"--model {options.get('model')}"
    fixed: dict[str, tuple[Any, ...]] = {"ugatit_variant": ("pytorch",), "mlp_bias": (False,), "mlp_pool": (0, 1)}
    fixed |= {"n_layers_global": (7,), "n_layers_local": (5,), "input_nc": (3,), "output_nc": (3,)}
    wrong = [f"--{key} {options[key]}" for key, allowed in fixed.items() if options.get(key, allowed[0]) not in allowed]
    ngf, ndf = options.get("ngf", 64), options.get("ndf", 64)
    if ngf != ndf and not options.get("ch"):
        wrong.append(f"two widths, --ngf {ngf} and --ndf {ndf}")
    return wrong[0] if wrong else ""


# --- both -------------------------------------------------------------------------------------------------------------


def _load(file: Path) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{file}: damaged or no PyTorch checkpoint ({reason})") from error


if __name__ == "__main__":
    sys.exit(main())
