"""Published checkpoints of other frameworks into a run of this program.

    python scripts/import_official.py FILE --name RUN      writes checkpoints/RUN
    python test.py --name RUN --dataroot ...               translates with it

It recognises AU-GAN of its authors (TensorFlow: PREFIX.index, PREFIX, or the folder), U-GAT-IT of its authors
(TensorFlow), U-GAT-IT of PaddleGAN (.pdparams), and UGATIT-Paddle (.pickle, .pdparams). Neither framework is needed,
and nothing in a file is executed. What became of each tensor is written to the run's import_report.txt.

Exit code 0: done; 1: failed; 2: bad arguments, or a file that does not fit, and then nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
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

from models.augan import official as augan
from models.imported import REPORT_FILE, ImportedRun, ImportOptions, State, check_target, run_import, write_run
from models.official.entries import OfficialFile
from models.official.pickled_arrays import is_pickle, read_pickle
from models.official.stored import StoredTensor, map_file
from models.official.tensorflow_bundle import find_index, read_bundle
from models.ugatit import official as ugatit
from models.ugatit.official import NETWORKS, WITHOUT_SIZE
from options.schema import arg

PARAMETER_NAMES = "StructuredToParameterName@@"  # Paddle's table of names, beside the tensors
SLICES = "UnpackBigParamInfor@@"  # its table of tensors that are stored in slices
OTHERS = {  # first bytes -> whose files these are
    b"PK\x03\x04": "a file of PyTorch: for U-GAT-IT use scripts/convert_ugatit.py",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file: for SAGAN use scripts/import_sagan_h5.py",
}


@dataclass(frozen=True, kw_only=True)
class OfficialOptions(ImportOptions):
    """What is read, and which run is written."""

    file: Path = arg(
        Path(), positional=True, help="published checkpoint: a file, or the folder of a TensorFlow checkpoint"
    )
    network: str | None = arg(
        None, choices=tuple(NETWORKS), help="which network a file of a single one holds (default: by its name)"
    )
    crop_size: int = arg(WITHOUT_SIZE, help="image size where no weight tells it: of light U-GAT-IT; AU-GAN's height")


def main(argv: Sequence[str] | None = None) -> int:
    """Import as the command line says; returns the exit code."""
    return run_import("import_official.py", OfficialOptions, argv, __doc__, _import)


def _import(args: OfficialOptions, folder: Path) -> None:
    check_target(folder, overwrite=args.overwrite)
    official = recognise(args.file, network=args.network, crop_size=args.crop_size)
    official.check()
    ugatit.check_constants(official)
    states = {name: partial(_state, official, name) for name in official.own}
    write_run(folder, ImportedRun(official.options, states, list(official.report())), overwrite=args.overwrite)
    print(f"{folder}: {official.kind}, networks {', '.join(official.own)}")
    for note in official.notes:
        print(note)
    print(f"names of all tensors: {folder / REPORT_FILE}")


def _state(official: OfficialFile, network: str) -> State:
    return {
        key: torch.from_numpy(value if value.flags.writeable else value.copy())
        for key, value in official.state(network)
    }


def recognise(path: Path, *, network: str | None = None, crop_size: int = WITHOUT_SIZE) -> OfficialFile:
    """Which published program wrote a file, and what its tensors become here.

    Args:
        path: the file, or the folder of a TensorFlow checkpoint.
        network: which network a file of a single one holds; None to go by the file's name.
        crop_size: image size to note where the networks do not tell.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another program.
    """
    data = np.zeros(0, np.uint8) if path.is_dir() or not path.is_file() else map_file(path)
    found: OfficialFile | None
    if is_pickle(data):
        tensors = dict(flatten(read_pickle(path), path, network))
        found = ugatit.recognise_paddle(tensors, path, crop_size=crop_size)
        known = f"{ugatit.PADDLEGAN_KIND} nor {ugatit.PORT_KIND}"
    else:
        for start, whose in OTHERS.items():
            if data[: len(start)].tobytes() == start:
                raise ValueError(f"{path}: {whose}")
        index = find_index(path)
        tensors = read_bundle(index)
        found = augan.recognise(tensors, index, crop_size=crop_size)
        found = found or ugatit.recognise_tensorflow(tensors, index, crop_size=crop_size)
        known = f"{augan.KIND} nor {ugatit.TF_KIND}"
    if found is None:
        first = next(iter(tensors), "nothing")
        raise ValueError(f"{path}: neither {known}; its first tensor is {first}")
    return found


def flatten(tree: Mapping[str, Any], file: Path, network: str | None) -> Iterator[tuple[str, StoredTensor]]:
    """``<network>.<key>`` and tensor of what Paddle wrote: networks of keys, or the keys of one network.

    Raises:
        ValueError: it holds one network, and nothing says which.
    """
    joined = _joined(tree, file)
    if any(isinstance(value, StoredTensor) for value in joined.values()):
        named = [each for each in NETWORKS if each in file.name]
        if network is None and len(named) != 1:
            raise ValueError(f"{file}: it holds one network, and its name does not say which: give --network genA2B")
        yield from _below(f"{network or named[0]}.", joined, file)
    else:
        yield from _below("", joined, file)


def _below(prefix: str, tree: Mapping[str, Any], file: Path) -> Iterator[tuple[str, StoredTensor]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _below(f"{prefix}{key}.", _joined(value, file), file)
        elif isinstance(value, StoredTensor):
            yield f"{prefix}{key}", value


def _joined(tree: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """A dictionary without Paddle's tables, its slices joined, and without the names that go with some tensors."""
    parts = tree.get(SLICES)
    sliced = parts if isinstance(parts, Mapping) else {}
    pieces = {each for entry in sliced.values() for each in _slices(entry)}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in (PARAMETER_NAMES, SLICES) or key in pieces:
            continue
        is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], StoredTensor)
        found[key] = value[1] if is_pair else value
    for key, entry in sliced.items():
        names, shape = _slices(entry), entry.get("OriginShape") if isinstance(entry, Mapping) else None
        tensors = [tree.get(name) for name in names]
        whole = [each for each in tensors if isinstance(each, StoredTensor)]
        if not names or len(whole) != len(names) or not isinstance(shape, tuple):
            raise ValueError(f"{file}: damaged, slices of {key} are missing")
        found[key] = _concatenated(key, whole, shape, file)
    return found


def _slices(entry: Any) -> tuple[str, ...]:
    names = entry.get("slices") if isinstance(entry, Mapping) else None
    return tuple(str(each) for each in names) if isinstance(names, tuple) else ()


def _concatenated(key: str, parts: Sequence[StoredTensor], shape: tuple[Any, ...], file: Path) -> StoredTensor:
    sizes = [int(np.prod(each.shape, dtype=np.float64)) for each in parts]
    if not all(type(side) is int and side >= 0 for side in shape) or np.prod(shape, dtype=np.float64) != sum(sizes):
        raise ValueError(f"{file}: damaged, the slices of {key} do not make its shape {shape}")
    return StoredTensor(
        shape, parts[0].dtype, lambda: np.concatenate([each.load().ravel() for each in parts]).reshape(shape)
    )


if __name__ == "__main__":
    sys.exit(main())
