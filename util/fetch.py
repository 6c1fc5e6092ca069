"""Files from a web server: whole or not at all, and gone on with after an interruption."""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from util.files import locked

_BLOCK = 2**20
_TIMEOUT = 60.0
_TRIES = 4  # without a byte more


def fetch(url: str, target: Path) -> Path:
    """Download ``url`` to ``target`` unless it is there; a part that an earlier call left is completed.

    Raises:
        ValueError: the server does not give the file, or the connection fails again and again; naming the address.
        OSError: the folder cannot be written, or the disk is full.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f"{target.name}.lock"), f"another process is downloading {url}"):
        return target if target.is_file() else _fetched(url, target)


def _fetched(url: str, target: Path) -> Path:
    part = target.with_name(f"{target.name}.part")
    reason: object = ""
    tries, most = _TRIES, _size(part)
    while tries:
        try:
            _continue(url, part)
            os.replace(part, target)
            return target
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise ValueError(
                    f"{url}: the server answers {error.code} ({error.reason}); check the address"
                ) from error
            reason = f"the server answers {error.code}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, EOFError) as error:
            reason = getattr(error, "reason", error)
        there = _size(part)  # not always more: a server that knows no ranges begins again
        tries, most = (_TRIES, there) if there > most else (tries - 1, most)
    raise ValueError(f"{url}: cannot be downloaded ({reason}); the same command goes on from where it stopped")


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _continue(url: str, part: Path) -> None:
    """Append what ``part`` lacks.

    Raises:
        EOFError: the connection ended early.
    """
    there = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if there and error.code == 416:  # nothing is missing, or the file has become another one
            total = error.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(there):
                return
            part.unlink()
        raise
    with contextlib.closing(answer):
        going_on = there and answer.status == 206
        size = answer.headers.get("Content-Length")
        with open(part, "ab" if going_on else "wb") as file:
            before = file.tell()
            while block := answer.read1(_BLOCK):  # read would lose what came of a chunk before the end
                file.write(block)
            received = file.tell() - before
    if size is not None and received < int(size):
        raise EOFError(f"the connection ended after {received} of {size} bytes")
