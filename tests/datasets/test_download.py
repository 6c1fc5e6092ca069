"""The download scripts, against archives made here: a folder, and a server on this machine."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.file_server import serve

FOLDER = Path(__file__).resolve().parents[2] / "datasets"
NOISE = os.urandom(20_000)  # does not compress, so that an archive has a middle
FILES = {"facades/train/1.jpg": NOISE, "facades/val/1.jpg": b"two"}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    with tarfile.open(folder / "facades.tar.gz", "w:gz") as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(folder / "mini.zip", "w") as archive:
        archive.writestr("mini/trainA/1.jpg", b"one")
    return folder


def download(tmp_path: Path, *arguments: str, script: str = "pix2pix", **variables: str) -> subprocess.CompletedProcess:
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    env = {key: value for key, value in env.items() if not key.startswith("DATASET_")} | variables
    command = ["bash", str(FOLDER / f"download_{script}_dataset.sh"), *arguments]
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_unpacks_from_a_folder(tmp_path: Path, mirror: Path) -> None:
    done = download(tmp_path, "facades", "data", DATASET_URL=f"file://{mirror}")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "data") == FILES
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["facades"]
    assert "train: 1 file\n" in done.stderr
    assert "--phase val" in done.stderr
    digest = hashlib.sha256((mirror / "facades.tar.gz").read_bytes()).hexdigest()
    assert f"sha256 {digest} (not checked" in done.stderr


def test_unpacks_zip(tmp_path: Path, mirror: Path) -> None:
    done = download(tmp_path, "mini", "data", "--url", "mirror", script="cyclegan")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "data") == {"mini/trainA/1.jpg": b"one"}


def test_existing_set_is_kept(tmp_path: Path, mirror: Path) -> None:
    (tmp_path / "data" / "facades").mkdir(parents=True)
    done = download(tmp_path, "facades", "data", "--url", str(mirror))
    assert done.returncode == 2
    assert "exists" in done.stderr
    assert contents(tmp_path / "data") == {}


@pytest.mark.parametrize("damage", ["cut", "sum", "missing"])
def test_failure_leaves_nothing(damage: str, tmp_path: Path, mirror: Path) -> None:
    archive, variables = mirror / "facades.tar.gz", {}
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:10_000])
    elif damage == "missing":
        archive.unlink()
    else:
        variables = {"DATASET_SHA256": "0" * 64}
    done = download(tmp_path, "facades", "data", "--url", "mirror", **variables)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "data").exists()


def test_right_checksum_passes(tmp_path: Path, mirror: Path) -> None:
    digest = hashlib.sha256((mirror / "facades.tar.gz").read_bytes()).hexdigest()
    done = download(tmp_path, "facades", "data", "--url", "mirror/facades.tar.gz", DATASET_SHA256=digest)
    assert done.returncode == 0, done.stderr
    assert "as expected" in done.stderr


@pytest.mark.parametrize("script", ["pix2pix", "cyclegan"])
def test_names(script: str, tmp_path: Path) -> None:
    unknown = download(tmp_path, "facade", script=script)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "choose one of" in unknown.stderr
    assert " maps" in unknown.stderr
    licence = download(tmp_path, "cityscapes", script=script)
    assert licence.returncode == 1
    assert "prepare_cityscapes_dataset.py" in licence.stderr
    assert download(tmp_path, script=script).returncode == 2
    assert download(tmp_path, "maps", "--nonsense", script=script).returncode == 2
    assert "--url BASE" in download(tmp_path, "--help", script=script).stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def server(mirror: Path) -> Iterator[tuple[str, list[str]]]:
    """See ``serve``."""
    with serve(mirror) as running:
        yield running


def test_goes_on_with_a_part(tmp_path: Path, mirror: Path, server: tuple[str, list[str]]) -> None:
    address, ranges = server
    part = tmp_path / "data" / ".download" / "pix2pix-facades.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes((mirror / "facades.tar.gz").read_bytes()[:7000])
    done = download(tmp_path, "facades", "data", "--url", address)
    assert done.returncode == 0, done.stderr
    assert ranges == ["bytes=7000-"]
    assert contents(tmp_path / "data") == FILES


def test_part_outlives_a_server_that_refuses(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, ranges = server
    part = tmp_path / "data" / ".download" / "pix2pix-maps.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(NOISE)
    done = download(tmp_path, "maps", "data", "--url", address)  # maps is not there: 404
    assert done.returncode == 1
    assert ranges == ["bytes=20000-", ""]
    assert contents(part.parent) == {part.name: NOISE}


def test_absent_file_and_absent_server(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, _ = server
    absent = download(tmp_path, "maps", "data", "--url", address)
    assert absent.returncode == 1
    assert "the server does not have it" in absent.stderr
    silent = download(tmp_path, "maps", "data", "--url", "http://127.0.0.1:1")
    assert silent.returncode == 1
    assert "no connection to the server" in silent.stderr
    assert not (tmp_path / "data").exists()
