"""Pictures in tar files: equal samples, names, downloads, and what a shard may not be."""

# ruff: noqa: F811 (a fixture that is imported)

import contextlib
import functools
import http.server
import io
import os
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train
from data import DATASETS
from data.base_dataset import BaseDataset, fingerprint
from data.check import quick_check
from data.loader import create_loader
from data.shards import Shards, expanded, find_shards, samples
from scripts import make_shards
from tests.data.test_datasets import Draw, draw, make  # noqa: F401 (a fixture)
from tests.data.test_disk_cache import equal
from util.fetch import fetch


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (48, 40), (value, value, value)).save(file, "png")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: Any = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def without_names(sample: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sample.items() if not key.endswith("_paths") and "index" not in key}


@pytest.mark.parametrize("layout", ["side by side", "folders"])
def test_samples_are_those_of_the_files(layout: str, tmp_path: Path, draw: Draw) -> None:
    for number in range(7):
        if layout == "folders":
            draw(f"train/A/{number}.v2.png")
            draw(f"train/B/{number}.v2.png")
        else:
            draw(f"train/{number}.png", 80, 40)
    assert make_shards.main([str(tmp_path), "--out", str(tmp_path / "s"), "--shard_size", "3"]) == 0
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == [f"train-{n:06d}.tar" for n in range(3)]
    plain, packed = make("aligned", tmp_path), make("shards", tmp_path / "s")
    assert len(packed) == 7 and packed.counts() == {"pairs": 7, "shards": 3}

    def fixed(dataset: BaseDataset) -> list[dict[str, Any]]:
        prepared = [dataset.fetch(index) for index in range(7)]
        return sorted(
            ({side: each.array for side, each in sides.items()} for sides in prepared), key=lambda s: s["A"].sum()
        )

    for a, b in zip(fixed(plain), fixed(packed), strict=True):
        assert all(np.array_equal(a[side], b[side]) for side in "AB")
    name = packed[0]["A_paths"]
    assert Path(name).parent.name == "train-000000.tar" and Path(name).name.startswith("000000.A")
    assert fingerprint(packed) == fingerprint(make("shards", tmp_path / "s"))


def test_a_system_without_pread_reads_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {f"{number}.png": png(number) for number in range(3)}
    shard = write_tar(tmp_path / "train-000000.tar", contents)
    monkeypatch.delattr(os, "pread")  # Windows
    shards = Shards([shard], samples([shard]))
    for name in ("2.png", "0.png", "1.png", "2.png"):
        assert shards.read(str(shard / name)) == contents[name]


def test_unpaired_sides_and_ways_to_name_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tar(Path("s/x-00.tar"), {"0.A.png": png(10), "0.json": b"{}", "1.a.png": png(20), "2.B.png": png(110)})
    write_tar(Path("s/x-01.tar"), {"d/3.B.png": png(120), "d/4.A.png": png(30), "d/4.B.png": png(130)})
    kind = DATASETS.get("unaligned_shards")

    def build(dataroot: str, **more: Any) -> BaseDataset:
        return kind(kind.Options(dataroot=dataroot, load_size=40, crop_size=32, **more), input_nc=3, output_nc=3)

    for dataroot in ("s/x-{00..01}.tar", "s/{phase}-{00,01}.tar", "s"):
        dataset = build(dataroot, phase="x")
        assert dataset.counts() == {"A": 3, "B": 3}
        found = {(round((float(dataset[i][side].mean()) + 1) * 127.5)) for i in range(3) for side in "A"}
        assert found == {10, 20, 30}
    assert equal(pickle.loads(pickle.dumps(dataset))[1], dataset[1])
    assert expanded("a{08..11}b{x,y}") == [f"a{n}b{c}" for n in ("08", "09", "10", "11") for c in "xy"]


def test_inputs_alone(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", {"7.png": png(9)})
    sample = make("shards", tmp_path)[0]
    assert "B" not in sample and sample["A_paths"].endswith("train-0.tar/7.png")


@pytest.mark.parametrize("threads", [0, 2])
def test_the_loader_and_a_resume_read_the_same(threads: int, tmp_path: Path, draw: Draw) -> None:
    for number in range(7):
        draw(f"train/{number}.png", 80, 40)
    assert make_shards.main([str(tmp_path), "--out", str(tmp_path / "s"), "--shard_size", "2"]) == 0
    how: dict[str, Any] = {"batch_size": 2, "serial_batches": False, "direction": "AtoB", "seed": 5}
    loader = create_loader(make("shards", tmp_path / "s"), num_threads=threads, **how)
    whole = list(loader.batches(3))
    rest = list(loader.batches(3, done=4))
    assert [batch["A_paths"] for batch in rest] == [batch["A_paths"] for batch in whole[2:]]
    assert all(equal(a, b) for a, b in zip(rest, whole[2:], strict=True))
    loader.close()


def test_the_disk_cache_knows_members_without_reading_them(tmp_path: Path, draw: Draw) -> None:
    for number in range(4):
        draw(f"train/{number}.png", 80, 40)
    assert make_shards.main([str(tmp_path), "--out", str(tmp_path / "s")]) == 0
    plain = make("shards", tmp_path / "s")
    kept = make("shards", tmp_path / "s", cache="disk", cache_dir=str(tmp_path / "c"))
    kept.fill_cache()
    assert all(equal(kept[index], plain[index]) for index in range(4))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"0.A.png": png(1), "0.a.png": png(2)}, "are both side A of 0; the key of a sample ends at the first dot"),
        ({"0.A.png": png(1), "0.B.png": png(1), "1.A.png": png(1)}, "1 has A, but those before it A and B"),
        ({"0.B.png": png(1)}, "has pictures of side B alone"),
        ({"readme.txt": b"x"}, "no pictures in it"),
    ],
)
def test_wrong_members(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", members)
    with pytest.raises(ValueError, match=message):
        make("shards", tmp_path)


def test_files_that_are_no_shards(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no train-\*\.tar; scripts/make_shards\.py makes such files"):
        make("shards", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"0\.tar does not exist \(3 of 3 are missing\)"):
        make("shards", tmp_path / "{0..2}.tar")
    for kind in ("shards", "unaligned_shards"):
        with pytest.raises(ValueError, match=r"0\.tar\.gz: a compressed tar file .*: decompress it to \.tar"):
            make(kind, tmp_path / "0.tar.gz")
    with pytest.raises(ValueError, match=r"the range 5\.\.2 ends before it begins"):
        expanded("{5..2}.tar")
    file = write_tar(tmp_path / "train-0.tar", {"0.png": bytes(3000)})
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"train-0\.tar: cannot be read as a tar file"):
        make("shards", tmp_path)
    write_tar(file, {"0.png": png(1)}, "w:gz")
    with pytest.raises(ValueError, match="without compression"):
        make("shards", tmp_path)
    write_tar(file, {"0.png": b"no picture", "1.png": png(1)})
    with pytest.raises(ValueError, match=r"train-0\.tar/0\.png: cannot be read as an image"):
        make("shards", tmp_path)[0]


def test_a_shard_that_is_cut_between_two_members_is_warned_of(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "train-0.tar", {f"{n}.A.png": png(n) for n in range(3)})
    assert not make("shards", tmp_path).remarks
    with tarfile.open(whole) as tar:
        last = tar.getmembers()[-1]
    whole.write_bytes(whole.read_bytes()[: last.offset])
    dataset = make("shards", tmp_path)
    assert len(dataset) == 2
    assert [text for text in quick_check(dataset) if "train-0.tar: has no mark at its end" in text]
    whole.write_bytes(whole.read_bytes() + b"5.A.png")  # in the middle of a header, where tarfile stops without a word
    assert (
        len(make("shards", tmp_path)) == 2
        and "no mark at its end" in make("unaligned_shards", both(tmp_path)).remarks[0]
    )


def both(folder: Path) -> Path:
    """The shard with a picture of side B in another one, that has an end."""
    write_tar(folder / "train-1.tar", {"9.B.png": png(9)})
    return folder


# --- from the web ----------------------------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files with ranges; every second answer is cut short."""

    ranges: list[str]

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path))
        if not data.is_file():
            self.send_error(404)
            return
        wanted = self.headers.get("Range", "")
        self.ranges.append(wanted)
        first = int(wanted.removeprefix("bytes=").removesuffix("-") or 0) if wanted else 0
        body = data.read_bytes()[first:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if len(self.ranges) % 2 == 0 else body[: len(body) // 2])

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    ranges: list[str] = []
    handler = functools.partial(type("Own", (Handler,), {"ranges": ranges}), directory=str(tmp_path / "web"))
    with serving(handler) as address:
        yield address, ranges


def test_shards_from_the_web_are_downloaded_once_and_gone_on_with(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, ranges = server
    for number in range(2):
        write_tar(tmp_path / f"web/s/{number}.tar", {f"{number}.A.png": png(50), f"{number}.B.png": png(60)})
    how = {"dataroot": f"{address}/s/{{0..1}}.tar", "cache_dir": str(tmp_path / "c"), "load_size": 40, "crop_size": 32}
    kind = DATASETS.get("shards")
    dataset = kind(kind.Options(**how), input_nc=3, output_nc=3)
    assert len(dataset) == 2 and round((float(dataset[1]["B"].mean()) + 1) * 127.5) == 60
    assert len(ranges) == 4 and ranges[0] == "" and ranges[1].startswith("bytes=") and ranges[1] != "bytes=0-"
    copies = find_shards(str(how["dataroot"]), "train", str(tmp_path / "c"))
    assert [copy.read_bytes() for copy in copies] == [(tmp_path / f"web/s/{n}.tar").read_bytes() for n in range(2)]
    assert len(ranges) == 4, "downloaded again"


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_a_download_goes_on_as_long_as_it_gets_further(kind: str, tmp_path: Path) -> None:
    """A server that ends every connection after 100 bytes, far more often than a server may fail."""
    data = bytes(range(256)) * 4

    class Breaking(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            body = data[first:]
            self.send_response(206 if first else 200)
            if kind == "length":
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:100])
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % len(body) + body[:100])
            if len(body) <= 100:
                self.wfile.write(b"" if kind == "length" else b"\r\n0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    with serving(Breaking) as address:
        file = fetch(f"{address}/x.tar", tmp_path / "x.tar")
    assert file.read_bytes() == data


def test_a_download_that_begins_again_and_again_ends(tmp_path: Path) -> None:
    """A server that knows no ranges and sends 20 or 10 of 30 bytes: every second try has more than the one before."""
    calls: list[int] = []

    class Restarting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(10 if len(calls) % 2 else 20)
            whole = len(calls) == 40  # only to end a test that fails
            self.send_response(200)
            self.send_header("Content-Length", "30")
            self.end_headers()
            self.wfile.write(bytes(30 if whole else calls[-1]))

        def log_message(self, *_: object) -> None: ...

    with serving(Restarting) as address, pytest.raises(ValueError, match=r"after (10|20) of 30 bytes"):
        fetch(f"{address}/x.tar", tmp_path / "x.tar")
    assert len(calls) == 1 + 4


def test_what_a_server_does_not_give(server: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.tar: the server answers 404"):
        fetch(f"{server[0]}/gone.tar", tmp_path / "t/gone.tar")
    with pytest.raises(ValueError, match=r"cannot be downloaded .*goes on from where it stopped"):
        fetch("http://127.0.0.1:9/x.tar", tmp_path / "t/x.tar")
    assert not (tmp_path / "t/gone.tar").exists()


def test_training_from_shards(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        draw(f"train/{number}.png", 80, 40)
    monkeypatch.chdir(tmp_path)
    assert make_shards.main([".", "--out", "s"]) == 0
    small = "--netG unet_128 --ngf 2 --ndf 2 --load_size 128 --crop_size 128 --gpu_ids -1 --cache disk --cache_dir c"
    words = f"--dataroot s/train-{{000000..000000}}.tar --dataset_mode shards --name t --n_epochs 1 {small}".split()
    assert train.main([*words, "--n_epochs_decay", "0"]) == 0
    assert Path("checkpoints/t/latest_net_G.pth").is_file()


def test_wrong_words(tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]) -> None:
    draw("train/0.png", 80, 40)
    assert make_shards.main([str(tmp_path), "--out", str(tmp_path / "train")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert make_shards.main([str(tmp_path), "--out", str(tmp_path / "s"), "--phase", "val"]) == 2
    assert make_shards.main([str(tmp_path / "gone"), "--out", str(tmp_path / "s")]) == 2
    assert not (tmp_path / "s").exists()
