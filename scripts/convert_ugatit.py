"""U-GAT-IT checkpoints of the official PyTorch code, into a run of this program and back.

The official file is one dictionary, ``<dataset>_params_<step>.pt``; a run has a file for each network and its options.

python scripts/convert_ugatit.py FILE.pt --name RUN          writes checkpoints/RUN, ready for test.py --name RUN
python scripts/convert_ugatit.py --name RUN --export FILE.pt writes the official file of the run's networks

Exit code 0: done; 1: failed; 2: bad arguments, or a file that is none of these.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn

from data import DATASETS
from models import MODELS
from models.ugatit.networks import CAMDiscriminator, UGATITGenerator
from options.files import read_options, write_options
from options.parse import parse_record, parse_train
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.run.folder import check_name, check_writable, make_folder

OFFICIAL = {
    "genA2B": "G_A2B",
    "genB2A": "G_B2A",
    "disGA": "D_GA",
    "disGB": "D_GB",
    "disLA": "D_LA",
    "disLB": "D_LB",
}
"""Key of the official dictionary -> our network."""

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(OptionRecord):
    """What becomes of what."""

    file: Path | None = arg(None, positional=True, metavar="FILE.pt", help="official checkpoint to read")
    name: str = arg("", required=True, help="name of the run that is written, or read for --export")
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    epoch: str = arg("latest", help="tag of the run's checkpoint: latest, a number, iter_<n>")
    crop_size: int = arg(256, help="image size to note for light generators, whose weights do not tell it")
    export: Path | None = arg(None, metavar="FILE.pt", help="write the networks of the run --name to this file")


def main(argv: Sequence[str] | None = None) -> int:
    """Convert as the command line says; returns the exit code."""
    return run_command("convert_ugatit.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/convert_ugatit.py", ConvertOptions, words, __doc__)
    check_name(args.name)
    if not re.fullmatch(r"latest|\d+|iter_\d+|best_\w+", args.epoch):
        raise ValueError(f"--epoch {args.epoch}: give latest, the number of an epoch, or iter_<n>")
    folder = args.checkpoints_dir / args.name
    if args.file and not args.export:
        _import(args.file, folder, args)
    elif args.export and not args.file:
        _export(folder, args.epoch, args.export)
    else:
        raise ValueError("give either an official FILE.pt to read, or --export FILE.pt to write")
    return EXIT_DONE


# --- from the official file -------------------------------------------------------------------------------------------


def _import(file: Path, folder: Path, args: ConvertOptions) -> None:
    states = read_official(file)
    options = infer_options(states, file, crop_size=args.crop_size)
    for name, net in empty_networks(options).items():
        _check(states[name], net, f"{file}: {name}")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--name {folder.name}: {folder} is not empty; choose another name or delete it")
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    words += ["--name", folder.name, "--checkpoints_dir", str(folder.parent)]
    parsed = parse_train(words, MODELS, DATASETS)
    make_folder(folder, f"--checkpoints_dir {folder.parent}")
    for name, state in states.items():
        torch.save(state, folder / f"{args.epoch}_net_{name}.pth")
    write_options(parsed.lasting, parsed.defaults, folder, "train")
    kind = "light" if options["light"] else f"full, {options['img_size']}x{options['img_size']} pixels"
    print(f"{folder}: {kind}, --ngf {options['ngf']}, --n_res {options['n_res']}; the file has no optimizer states")


def read_official(file: Path) -> dict[str, State]:
    """Our network names -> state_dicts of an official file, without the ``module.`` prefixes of DataParallel.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no official checkpoint.
    """
    loaded = _load(file)
    missing = [key for key in OFFICIAL if not isinstance(loaded, Mapping) or not isinstance(loaded.get(key), Mapping)]
    if missing:
        raise ValueError(f"{file}: no official checkpoint of U-GAT-IT, it lacks {', '.join(missing)}")
    states = {
        name: {key.removeprefix("module."): value for key, value in loaded[official].items()}
        for official, name in OFFICIAL.items()
    }
    for name, state in states.items():
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(f"{file}: {name} is not a state_dict")
    return states


def infer_options(states: Mapping[str, State], file: Path, *, crop_size: int = 256) -> dict[str, Any]:
    """Flags of the networks, from the shapes of their weights.

    Args:
        states: as ``read_official`` gives them.
        file: for messages.
        crop_size: to note where the networks do not tell.

    Raises:
        ValueError: a network is not one of U-GAT-IT.
    """
    G, D_global, D_local = states["G_A2B"], states["D_GA"], states["D_LA"]
    try:
        first, mlp, last = (G[key].shape for key in ("DownBlock.1.weight", "FC.0.weight", "UpBlock2.11.weight"))
        ndf = D_global["model.1.weight_orig"].shape[0]
    except KeyError as error:
        raise ValueError(f"{file}: no networks of U-GAT-IT, there is no {error.args[0]}") from None
    ngf, features = first[0], mlp[1]
    side = math.isqrt(features // (4 * ngf))
    if side * side * 4 * ngf != features:
        raise ValueError(f"{file}: FC.0.weight has {features} columns, which fit no square image at width {ngf}")
    light = side == 1
    size = crop_size if light else 4 * side
    layers = [1 + sum("weight_orig" in key and key.startswith("model.") for key in D) for D in (D_global, D_local)]
    return {
        "model": "ugatit",
        "light": light,
        "ngf": ngf,
        "ndf": ndf,
        "n_res": sum(re.fullmatch(r"UpBlock1_\d+\.conv1\.weight", key) is not None for key in G),
        "n_layers_global": layers[0],
        "n_layers_local": layers[1],
        "input_nc": first[1],
        "output_nc": last[0],
        "img_size": size,
        "crop_size": size,
        "load_size": size + 30,
    }


def empty_networks(options: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The networks of these options, without memory for their weights."""
    channels = {"A": options["input_nc"], "B": options["output_nc"]}
    shape = {"n_res": options["n_res"], "pool": int(options["light"]), "img_size": options["img_size"]}
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            f"G_{a}2{b}": UGATITGenerator(channels[a], channels[b], ngf=options["ngf"], **shape)
            for a, b in ("AB", "BA")
        }
        for scale, layers in (("G", options["n_layers_global"]), ("L", options["n_layers_local"])):
            for side in "AB":
                networks[f"D_{scale}{side}"] = CAMDiscriminator(channels[side], ndf=options["ndf"], n_layers=layers)
    return networks


# --- to the official file ---------------------------------------------------------------------------------------------


def _export(folder: Path, tag: str, file: Path) -> None:
    options = read_options(folder)
    foreign = _not_official(options)
    if foreign:
        raise ValueError(f"--name {folder.name}: the official code has no {foreign}; it could not read the file")
    states: dict[str, State] = {}
    for official, name in OFFICIAL.items():
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
    fixed = {"mlp_bias": (False,), "mlp_pool": (0, 1), "n_layers_global": (7,), "n_layers_local": (5,)}
    fixed |= {"input_nc": (3,), "output_nc": (3,)}
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


def _check(state: State, net: nn.Module, where: str) -> None:
    """Refuse a state_dict of another network.

    Raises:
        ValueError: with the first entry that differs.
    """
    own = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    for key in [*own, *found]:
        if own.get(key) != found.get(key):
            has = found.get(key, "nothing")
            raise ValueError(f"{where}: {key} is {has}, where this network has {own.get(key, 'nothing')}")


if __name__ == "__main__":
    sys.exit(main())
