"""Pictures in tar files (shards, as WebDataset lays them out), read in any order without unpacking them."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from data.disk_cache import default_folder
from util.fetch import fetch
from util.images.folder import is_image
from util.images.io import Header, Picture, picture_of, read_header
from util.wording import counted

SIDES = ("A", "B", "AB")
"""What a member's name says before its suffix: ``000017.A.png``; AB is a pair in one picture."""

_WEB = ("http://", "https://")


class Member(NamedTuple):
    """A picture in a shard: its name there, and where its bytes lie."""

    shard: int
    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Sample:
    """The pictures of one key: side -> member."""

    key: str
    members: Mapping[str, Member]


def expanded(pattern: str) -> list[str]:
    """``a-{000..002}.tar`` and ``{a,b}.tar`` as the shell would write them out.

    Raises:
        ValueError: a range that ends before it begins.
    """
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    choices: list[list[str]] = []
    for number, piece in enumerate(pieces):
        borders = re.fullmatch(r"(\d+)\.\.(\d+)", piece) if number % 2 else None
        if borders:
            first, last = borders.groups()
            if int(first) > int(last):
                raise ValueError(f"--dataroot {pattern}: the range {piece} ends before it begins")
            choices.append([f"{value:0{len(first)}d}" for value in range(int(first), int(last) + 1)])
        else:
            choices.append(piece.split(",") if number % 2 else [piece])
    return ["".join(parts) for parts in itertools.product(*choices)]


def refuse_compressed(dataroot: str) -> None:
    """Say of a compressed tar file what to do.

    Raises:
        ValueError: it is one.
    """
    if dataroot.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise ValueError(
            f"--dataroot {dataroot}: a compressed tar file cannot be read in any order: decompress it to .tar, "
            "which costs little with images"
        )


def find_shards(dataroot: str, phase: str, cache_dir: str = "") -> list[Path]:
    """The tar files of a phase, those from the web downloaded.

    ``--dataroot`` is a pattern such as ``shards/{phase}-{000..099}.tar`` or its address on the web (``{phase}`` may be
    missing), one tar file, or a folder with ``<phase>-*.tar``, ``<phase>/*.tar`` or ``*.tar``.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a download fails.
    """
    flags = f"--dataroot {dataroot} --phase {phase}"
    refuse_compressed(dataroot)
    if dataroot.endswith(".tar"):
        names = expanded(dataroot.replace("{phase}", phase))
        if dataroot.startswith(_WEB):
            folder = Path(cache_dir) if cache_dir else default_folder().with_name("shards")
            return [fetch(name, folder / _place_of(name)) for name in names]
        missing = [name for name in names if not os.path.isfile(name)]
        if missing:
            raise FileNotFoundError(
                f"{flags}: {missing[0]} does not exist ({len(missing)} of {len(names)} are missing)"
            )
        return [Path(name) for name in names]
    root = Path(dataroot)
    for pattern in (f"{phase}-*.tar", f"{phase}/*.tar", "*.tar"):
        found = sorted(root.glob(pattern))
        if found:
            return found
    raise FileNotFoundError(
        f"{flags}: has no {phase}-*.tar; scripts/make_shards.py makes such files, or name them: "
        "--dataroot 'shards/{000..099}.tar'"
    )


def _place_of(url: str) -> str:
    """Name of a downloaded file: its own, behind a digest of the address before it."""
    before, _, name = urlsplit(url).path.rpartition("/")
    return f"{hashlib.sha256((urlsplit(url).netloc + before).encode()).hexdigest()[:12]}/{name}"


def members(shards: Sequence[Path]) -> Iterator[Member]:
    """The pictures of all shards in their order; other files in them are skipped.

    Raises:
        ValueError: a file is no tar, or cut off.
    """
    for number, shard in enumerate(shards):
        size = shard.stat().st_size
        try:
            with tarfile.open(shard, "r:") as tar:  # without compression, whose content cannot be read in any order
                for info in tar:
                    if info.isfile() and is_image(info.name):
                        if info.offset_data + info.size > size:
                            raise tarfile.ReadError("unexpected end of data")
                        yield Member(number, info.name, info.offset_data, info.size)
        except (tarfile.TarError, OSError) as error:
            raise ValueError(
                f"{shard}: cannot be read as a tar file without compression ({error}): make or download it again"
            ) from error


def cut_off(shards: Sequence[Path]) -> list[str]:
    """A warning for each shard without an empty block at its end: cut between two members, it looks like a whole."""
    found = []
    for shard in shards:
        with open(shard, "rb") as file:
            file.seek(max(0, shard.stat().st_size - tarfile.BLOCKSIZE))
            if any(file.read()):
                found.append(
                    f"{shard}: has no mark at its end: if it was cut off, samples are missing; the rest is used"
                )
    return found


def samples(shards: Sequence[Path]) -> list[Sample]:
    """The pictures of each key, in the order of the first of them.

    A name is ``<key>.<side>.<suffix>``; without a side it is A.

    Raises:
        ValueError: a shard cannot be read, or two pictures have one name.
    """
    found: dict[tuple[int, str], dict[str, Member]] = {}
    for member in members(shards):
        folder, _, name = member.name.rpartition("/")
        key, *words = name.split(".")
        side = words[-2].upper() if len(words) > 1 and words[-2].upper() in SIDES else "A"
        own = found.setdefault((member.shard, f"{folder}/{key}" if folder else key), {})
        if side in own:
            raise ValueError(
                f"{shards[member.shard]}: {own[side].name} and {member.name} are both side {side} of {key}; "
                "the key of a sample ends at the first dot of the name"
            )
        own[side] = member
    if not found:
        raise ValueError(f"{shards[0]}: no pictures in it, nor in {counted(len(shards) - 1, 'other file')}")
    return [Sample(key, sides) for (_, key), sides in found.items()]


class Shards:
    """The bytes of the members, by the path ``<shard>/<name>`` under which messages and results name them.

    Args:
        paths: of the tar files.
        found: their samples.
    """

    def __init__(self, paths: Sequence[Path], found: Sequence[Sample]) -> None:
        self.paths = list(paths)
        self._members = {self.path_of(member): member for sample in found for member in sample.members.values()}
        self._files: dict[int, int] = {}
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def path_of(self, member: Member) -> str:
        return os.path.join(self.paths[member.shard], member.name)

    def read(self, path: str) -> bytes:
        """All bytes of a member.

        Raises:
            ValueError: the shard has become shorter.
        """
        member = self._members[path]
        data = self._read(member)
        if len(data) < member.size:
            raise ValueError(f"{path}: the shard has changed since the start")
        return data

    def _read(self, member: Member) -> bytes:
        if not hasattr(os, "pread"):  # Windows: threads would move each other's place in a file that stays open
            with open(self.paths[member.shard], "rb") as shard:
                shard.seek(member.offset)
                return shard.read(member.size)
        if member.shard not in self._files:
            self._files[member.shard] = os.open(self.paths[member.shard], os.O_RDONLY)
        return os.pread(self._files[member.shard], member.size, member.offset)

    def picture(self, path: str, **how: Any) -> Picture:
        return picture_of(path, self.read(path), **how)

    def header(self, path: str) -> Header:
        """Of a copy in a file of its own, as the formats' libraries want one."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(path).name
            copy.write_bytes(self.read(path))
            try:
                return read_header(copy)
            except ValueError as error:
                raise ValueError(str(error).replace(str(copy), path)) from None

    def identity(self, path: str) -> str:
        """What tells this member from every other without reading it: its shard's name, size and time, its place."""
        member = self._members[path]
        status = self.paths[member.shard].stat()
        name = self.paths[member.shard].name
        return f"{name}:{status.st_size}:{status.st_mtime_ns}:{member.offset}:{member.size}"

    def __del__(self) -> None:
        for file in self._files.values() if self._owner == os.getpid() else ():
            os.close(file)
