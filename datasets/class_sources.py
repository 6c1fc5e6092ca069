"""The labelled photos that scripts/prepare_class_folder.py makes squares of: in class folders, or in tar files."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from data.class_layout import PHASES
from util.image_folder import describe, has_images, natural_key, subfolders

_JPEG, _PNG = (".jpg", ".jpeg"), (".png",)
_KINDS = {"keep": _JPEG + _PNG, "jpeg": _JPEG, "png": _PNG}
KINDS = tuple(_KINDS)
"""Of the squares: suffixes that stay as they are."""


@dataclass(frozen=True)
class Source:
    """One file of the input.

    Attributes:
        phase: that its square belongs to.
        class_name: name of the class folder.
        name: of the file below the class.
        target: of the square below the class.
        read: gives the bytes; None for a tar file of a class that is broken.
        other_targets: of the square in another format, where no square of this format has that name.
        other_phase: where the square belongs by another division; empty where IN or ``--phase`` names the phase.
    """

    phase: str
    class_name: str
    name: str
    target: str
    read: Callable[[], bytes] | None
    other_targets: tuple[str, ...] = ()
    other_phase: str = ""


@contextmanager
def open_sources(
    source: Path, *, phase: str, val_fraction: float, kind: str
) -> Iterator[tuple[Callable[[], Iterator[Source]], int | None]]:
    """What gives the files of a folder or a tar file, as often as it is called, and how many there are, if known.

    To be used inside ``with``.

    Args:
        source: IN.
        phase: ``--phase``; empty for ``train``, or those that ``source`` has.
        val_fraction: ``--val_fraction``.
        kind: of the squares, see ``target_names``.

    Raises:
        FileNotFoundError: nothing is there, or no class folders.
        ValueError: flags that contradict what is there, or a broken or compressed tar file.
    """
    if phase and val_fraction:
        raise ValueError(
            f"--val_fraction {val_fraction:g} divides into train and val, --phase {phase} does not: give one"
        )
    if source.is_file():
        try:
            with tarfile.open(source, "r:") as outer:

                def in_tar() -> Iterator[Source]:
                    found = _tar_sources(outer, phase or "train", kind)
                    return found if phase else _divided(found, val_fraction)

                yield in_tar, None
        except tarfile.TarError as error:
            raise ValueError(
                f"{source}: cannot be read as an uncompressed tar file ({error}): unpack it if it is compressed, "
                f"get it anew if it is broken"
            ) from None
    else:
        listing, has_phases = _listing(source, phase, val_fraction)

        def in_folders() -> Iterator[Source]:
            found = (
                each for folder in listing for each in _sources(*folder[:3], kind, functools.partial(_read, folder[3]))
            )
            return found if phase or has_phases else _divided(found, val_fraction)

        yield in_folders, sum(len(files) for _, _, files, _ in listing)


def _listing(source: Path, phase: str, val_fraction: float) -> tuple[list[tuple[str, str, list[str], Path]], bool]:
    """Phase, class, files and folder of every class; and whether the phases are those of the folder."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: there is no such folder or file")
    phases = [name for name in PHASES if subfolders(source / name)]
    if phases and (phase or val_fraction):
        flag = f"--phase {phase}" if phase else f"--val_fraction {val_fraction:g}"
        raise ValueError(
            f"{flag}: {source} has the phases {', '.join(phases)} already: leave the flag out, "
            f"or give one of these folders as IN"
        )
    roots = {name: source / name for name in phases} or {phase or "train": source}
    classes = [(phase, name, root / name) for phase, root in roots.items() for name in sorted(subfolders(root))]
    listing = [(phase, name, files_below(folder), folder) for phase, name, folder in classes]
    if not any(files for _, _, files, _ in listing):
        raise FileNotFoundError(f"{source}: no class folders with files; {describe(source)}")
    for root in roots.values():
        if has_images(root):
            print(f"warning: images in {root} itself have no class and are left out", file=sys.stderr)
    return listing, bool(phases)


def files_below(root: Path) -> list[str]:
    """Paths below a class folder, hidden ones left out, in natural order; none if it does not exist."""
    files = []
    for folder, inside, names in os.walk(root):
        inside[:] = [each for each in inside if not each.startswith(".")]
        below = Path(folder).relative_to(root)
        files += [(below / each).as_posix() for each in names if not each.startswith(".")]
    return sorted(files, key=natural_key)


def _read(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def _sources(phase: str, name: str, files: list[str], kind: str, read: Callable[[str], bytes]) -> list[Source]:
    targets = target_names(files, kind)
    own, others = set(targets.values()), [target_names(files, other) for other in KINDS if other != kind]
    return [
        Source(
            *(phase, name, file, targets[file], functools.partial(read, file)),
            other_targets=tuple(sorted({names[file] for names in others} - own)),
        )
        for file in files
    ]


def target_names(names: Iterable[str], kind: str) -> dict[str, str]:
    """File of a class -> its square: the same name, with the suffix of its kind.

    ``a.bmp`` becomes ``a.png``; beside an ``a.png`` it becomes ``a.bmp.png``.

    Args:
        names: of all files of the class.
        kind: ``jpeg``, ``png``, or ``keep`` for that of the file where it is one of them, else PNG.
    """
    fitting = _KINDS[kind]
    suffix = ".jpg" if kind == "jpeg" else ".png"
    found, others = {}, []
    for name in names:
        if PurePosixPath(name).suffix.lower() in fitting:
            found[name] = name
        else:
            others.append(name)
    taken = set(found)
    for name in others:
        wanted = str(PurePosixPath(name).with_suffix(suffix))
        found[name] = wanted if wanted not in taken else name + suffix
        taken.add(found[name])
    return found


def _tar_sources(outer: tarfile.TarFile, phase: str, kind: str) -> Iterator[Source]:
    """The files of a tar file whose members are tar files, one a class; nothing is unpacked to the disk.

    Names inside count by their last part only, hidden ones are left out, so that none leads out of its class. The files
    are read when their ``read`` is called, one at a time: ``outer`` stays open until then.

    Raises:
        ValueError: no tar files inside.
        tarfile.TarError: it is cut off.
    """
    members = [each for each in outer if each.name.endswith(".tar") and _is_shown(each)]
    if not members:
        raise ValueError(
            f"{os.fsdecode(outer.name or '')}: holds no .tar file a class: "
            f"unpack it, and give the folder of class folders"
        )
    lock = threading.Lock()
    for member in members:
        yield from _class_tar(outer, member, phase, kind, lock)


def _class_tar(
    outer: tarfile.TarFile, member: tarfile.TarInfo, phase: str, kind: str, lock: threading.Lock
) -> list[Source]:
    name = PurePosixPath(member.name).stem
    try:
        with lock:
            inner = tarfile.open(fileobj=outer.extractfile(member), mode="r:")  # noqa: SIM115 (read by the workers later)
            files = {PurePosixPath(each.name).name: each for each in inner if _is_shown(each)}
    except tarfile.TarError:
        return [Source(phase, name, f"{name}.tar", "", None)]

    def read(file: str) -> bytes:
        with lock:
            content = inner.extractfile(files[file])
            return b"" if content is None else content.read()

    return _sources(phase, name, sorted(files, key=natural_key), kind, read)


def _is_shown(member: tarfile.TarInfo) -> bool:
    return member.isfile() and not PurePosixPath(member.name).name.startswith(".")


def _divided(sources: Iterable[Source], fraction: float) -> Iterator[Source]:
    """Every source in ``train`` or ``val``: by a hash of class and name, so that more files move none of the others."""
    for source in sources:
        digest = hashlib.blake2b(f"{source.class_name}/{source.name}".encode("utf-8", "surrogateescape"), digest_size=8)
        held_out = int.from_bytes(digest.digest(), "big") < fraction * 2**64
        phase, other = ("val", "train") if held_out else ("train", "val")
        yield replace(source, phase=phase, other_phase=other)
