"""Pack a data set into tar files (shards), which a training reads without unpacking: few files instead of many.

Usage:
    python scripts/make_shards.py data/facades --dataset_mode aligned --out shards
    python train.py --dataroot shards --dataset_mode shards --name run
The files go in as they are, in an order drawn by --seed, named as WebDataset names them: 000017.A.png, 000017.B.png.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import tarfile

from tqdm import tqdm

from data import DATASETS
from data.base_dataset import BaseDataset
from data.table import table_place
from data.unaligned_dataset import UnalignedDataset
from options.parse import parse_record
from options.schema import OptionRecord, arg, build
from util.exit_code import EXIT_DONE, run_command
from util.files import drafted
from util.wording import counted

PACKED = ("aligned", "unaligned", "single", "table", "unaligned_table")
"""Data sets whose files may go into shards."""

logger = logging.getLogger("make_shards")


@dataclass(frozen=True, kw_only=True)
class ShardOptions(OptionRecord):
    """What is packed."""

    dataroot: Path = arg(Path(), positional=True, help="folder of the data set, or its table")
    dataset_mode: str = arg("aligned", choices=PACKED, help="which kind of data set")
    phase: tuple[str, ...] = arg(
        (), several=True, metavar="PHASE", help="phases to pack (default: those that are there)"
    )
    out: Path = arg(Path(), required=True, metavar="DIR", help="new folder of the shards")
    shard_size: int = arg(1000, minimum=1, help="samples in each shard")
    seed: int = arg(0, minimum=0, help="of the order of the samples")


def files_of(dataset: BaseDataset) -> list[list[tuple[str, str]]]:
    """The files of each sample as (side, path); of unpaired data a file a sample."""
    if isinstance(dataset, UnalignedDataset):
        return [[(str(side), path)] for side, paths in dataset.sides().items() for path in paths]
    found = []
    for unit in range(dataset.num_units()):
        paths = dataset.unit_paths(unit)
        found.append([("AB", paths[0])] if dataset.side_by_side else list(zip("AB", paths)))
    return found


def pack(samples: Sequence[list[tuple[str, str]]], folder: Path, phase: str, size: int) -> Iterator[int]:
    """Write the shards of a phase; yields the number of samples after each."""
    digits = max(len(str(len(samples) - 1)), 6)
    for shard, first in enumerate(range(0, len(samples), size)):
        part = samples[first : first + size]
        with tarfile.open(folder / f"{phase}-{shard:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, sample in enumerate(part, start=first):
                for side, path in sample:
                    info = tarfile.TarInfo(f"{number:0{digits}d}.{side}{Path(path).suffix.lower()}")
                    info.size = Path(path).stat().st_size
                    with open(path, "rb") as file:
                        tar.addfile(info, file)
        yield len(part)


def main(argv: Sequence[str] | None = None) -> int:
    """Pack; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("make_shards.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/make_shards.py", ShardOptions, words, __doc__)
    if args.out.exists():
        raise FileExistsError(f"--out {args.out}: exists already; name a new folder")
    kind = DATASETS.get(args.dataset_mode)
    root, table = table_place(str(args.dataroot))
    options = build(kind.Options, {"dataroot": root, "table": table})
    phases: dict[str, list[list[tuple[str, str]]]] = {}
    reasons = []
    for phase in args.phase or kind.phases(options):
        try:
            phases[phase] = files_of(kind(replace(options, phase=phase), input_nc=3, output_nc=3))
        except FileNotFoundError as error:
            reasons.append(error)
    if reasons and (args.phase or not phases):
        raise reasons[0]
    with drafted(args.out, f"--out {args.out}") as draft:
        for phase, samples in phases.items():
            random.Random(f"{args.seed}/{phase}").shuffle(samples)
            with tqdm(total=len(samples), desc=phase, unit="sample", disable=None) as bar:
                for count in pack(samples, draft, phase, args.shard_size):
                    bar.update(count)
    for phase, samples in phases.items():
        shards = counted(-(-len(samples) // args.shard_size), "shard")
        held = counted(len(samples), "sample")
        logger.info("%s: %s in %s: %s", phase, held, shards, args.out / f"{phase}-*.tar")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
