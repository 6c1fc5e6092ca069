"""A run made of weights from elsewhere: what the importing commands of ``scripts/`` share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from data import DATASETS
from models import MODELS
from options.files import write_options
from options.parse import parse_record, parse_train
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import replace_text
from util.run.folder import check_name, check_run_folder, make_folder, open_run_folder

State = Mapping[str, Tensor]
REPORT_FILE = "import_report.txt"


@dataclass(frozen=True)
class ImportedRun:
    """What a run's folder will hold.

    Attributes:
        options: the flags that the run was trained with, as far as they are known.
        states: network -> state_dict; each is made when it is its turn to be written.
        report: lines of ``import_report.txt``.
        tags: of the checkpoint.
        aliases: network -> other names under which it is saved too.
        prepare: writes more files into the folder that it is given.
    """

    options: Mapping[str, Any]
    states: Mapping[str, Callable[[], State]]
    report: Sequence[str]
    tags: Sequence[str] = ("latest",)
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda draft: None


@dataclass(frozen=True, kw_only=True)
class ImportOptions(OptionRecord):
    """Which run is written. A command adds what it reads."""

    name: str = arg("", required=True, help="name of the run that is written, or read for --export")
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    overwrite: bool = arg(False, help="delete what an earlier run of this --name wrote")


Own = TypeVar("Own", bound=ImportOptions)


def run_import(
    program: str, record: type[Own], argv: Sequence[str] | None, doc: str | None, run: Callable[[Own, Path], object]
) -> int:
    """The frame of such a command.

    Args:
        program: its file in ``scripts/``, for messages.
        record: its options.
        argv: words of the command line; None for those of the process.
        doc: of the command, for ``--help``.
        run: the command; gets the options and the folder of the run.

    Returns:
        the exit code: 0, 1 for a failure, 2 for bad words or a file that does not fit.
    """

    def command(words: list[str]) -> int:
        args = parse_record(f"scripts/{program}", record, words, doc)
        check_name(args.name)
        run(args, args.checkpoints_dir / args.name)
        return EXIT_DONE

    return run_command(program, argv, command)


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a run already, or cannot be written; nothing is made. Raises ValueError."""
    check_run_folder(folder, continue_train=False, overwrite=overwrite)


def write_run(folder: Path, imported: ImportedRun, *, overwrite: bool) -> None:
    """Write a run as ``train.py`` would, for ``test.py`` and ``train.py --continue_train``.

    Everything is made in a hidden folder beside it and moved at the end, so that an error leaves nothing behind.

    Raises:
        ValueError: the options contradict each other, or the folder holds a run.
    """
    words = [f"--{key}={value}" for key, value in imported.options.items()]
    parsed = parse_train([*words, f"--name={folder.name}", f"--checkpoints_dir={folder.parent}"], MODELS, DATASETS)
    check_target(folder, overwrite=overwrite)
    parents = [each for each in (folder.parent, *folder.parent.parents) if not each.exists()]
    make_folder(folder.parent, f"--checkpoints_dir {folder.parent}")
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for network, make in imported.states.items():
            _save(make(), draft, network, imported)
        imported.prepare(draft)
        replace_text(draft / REPORT_FILE, (f"{line}\n" for line in imported.report))
        write_options(parsed.lasting, parsed.defaults, draft, "train")
        with open_run_folder(folder, overwrite=overwrite):
            for file in sorted(draft.iterdir()):
                os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in parents:  # from the innermost; those that are empty were made for nothing
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()


def _save(state: State, draft: Path, network: str, imported: ImportedRun) -> None:
    """``<tag>_net_<network>.pth``; the same file by a link under its other tags and names."""
    names = [network, *imported.aliases.get(network, ())]
    first, *others = [draft / f"{tag}_net_{name}.pth" for tag in imported.tags for name in names]
    torch.save(dict(state), first)
    for other in others:
        try:
            os.link(first, other)
        except OSError:  # a file system without links
            shutil.copyfile(first, other)


def check_state(state: State, net: nn.Module, where: str) -> None:
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
