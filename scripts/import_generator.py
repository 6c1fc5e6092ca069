"""A generator of the original pix2pix and CycleGAN code (one .pth file) into a run of this program.

    python scripts/import_generator.py latest_net_G.pth --name RUN      writes checkpoints/RUN
    python scripts/translate.py --name RUN photo.jpg --output out.png   translates with it

Which network it is (U-Net or residual, width, channels, norm, dropout) is read off the weights.
scripts/download_pix2pix_model.sh and scripts/download_cyclegan_model.sh fetch the published ones and call this.

Exit code 0: done; 1: failed; 2: bad arguments, or a file that does not fit, and then nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from models.imported import ImportedRun, ImportOptions, check_state, check_target, run_import, write_run
from models.networks.factory import GENERATOR_NAMES, build_generator
from models.networks.recognise import recognise_generator
from options.schema import arg
from util.run.checkpoint import adapt_state, read_network


@dataclass(frozen=True, kw_only=True)
class GeneratorImportOptions(ImportOptions):
    """What is read, and what it does."""

    file: Path = arg(Path(), positional=True, metavar="FILE.pth", help="state_dict of the generator")
    model: str = arg(
        "test",
        choices=("test", "pix2pix"),
        help="test: for folders of input images; pix2pix: for pairs, to compare with their other side",
    )
    direction: str = arg("AtoB", choices=("AtoB", "BtoA"), help="which side of the pairs the generator translates")


def main(argv: Sequence[str] | None = None) -> int:
    """Import as the command line says; returns the exit code."""
    return run_import("import_generator.py", GeneratorImportOptions, argv, __doc__, _import)


def _import(args: GeneratorImportOptions, folder: Path) -> None:
    check_target(folder, overwrite=args.overwrite)
    if not args.file.is_file():
        raise FileNotFoundError(f"{args.file}: there is no such file")
    with args.file.open("rb") as file:
        if file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            raise ValueError(f"{args.file}: a web page, not a checkpoint: download the file itself")
    state = read_network(args.file)
    found = recognise_generator({key: tuple(value.shape) for key, value in state.items()})
    if found.get("netG") not in GENERATOR_NAMES:
        what = f"a generator that there is not here, {found['netG']}" if found else "neither a U-Net nor a residual one"
        raise ValueError(f"{args.file}: {what}; known are {', '.join(GENERATOR_NAMES)}")
    options = {"no_dropout": False, **found}
    net = build_generator(
        str(options["netG"]),
        int(str(options["input_nc"])),
        int(str(options["output_nc"])),
        ngf=int(str(options["ngf"])),
        norm=str(options["norm"]),
        dropout=0.0 if options["no_dropout"] else 0.5,
    )
    adapted = adapt_state(state, net)
    check_state(adapted, net, str(args.file))
    shown = " ".join(f"--{key} {value}" for key, value in sorted(options.items()))
    report = [f"file: {args.file.name}", f"network G: {shown}", f"tensors: {len(adapted)}"]
    if len(adapted) < len(state):
        report.append(
            f"left out: {len(state) - len(adapted)} statistics of instance norm, as torch before 0.4 saved them"
        )
    how = {**options, "model": args.model, "direction": args.direction}
    write_run(folder, ImportedRun(how, {"G": lambda: adapted}, report), overwrite=args.overwrite)
    print(f"{folder}: {shown}")


if __name__ == "__main__":
    sys.exit(main())
