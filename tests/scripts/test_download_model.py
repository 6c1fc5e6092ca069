"""scripts/download_*_model.sh against a server on this machine, with checkpoints of the kind that was published."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.networks.factory import build_generator
from models.networks.resnet import ResnetGenerator
from models.trained import load
from scripts import import_generator
from tests.file_server import serve
from tests.runs import REPO

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def published(path, netG, *, norm, dropout, ngf=4):
    """A checkpoint as torch 0.3 wrote it: not zipped, and with statistics of instance norm; returns the network."""
    net = build_generator(netG, 3, 3, ngf=ngf, norm=norm, dropout=dropout)
    state = dict(net.state_dict())
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            state |= {f"{name}.running_mean": torch.zeros(ngf), f"{name}.running_var": torch.ones(ngf)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return net


def download(script: str, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy") and key != "MODEL_URL"}
    bin_folder = Path(sys.executable).parent
    env |= {"PATH": f"{bin_folder}:{env['PATH']}", "VIRTUAL_ENV": str(bin_folder.parent), "OMP_NUM_THREADS": "1"}
    command = ["bash", str(REPO / "scripts" / f"download_{script}_model.sh"), *words]
    return subprocess.run(command, cwd=cwd, env=env | variables, capture_output=True, text=True, timeout=120)


def test_cyclegan_goes_on_with_a_part(tmp_path):
    mirror, part = tmp_path / "mirror", tmp_path / "checkpoints" / ".download" / "cyclegan-horse2zebra.pth.part"
    mirror.mkdir()
    net = published(mirror / "horse2zebra.pth", "resnet_9blocks", norm="instance", dropout=0.0)
    part.parent.mkdir(parents=True)
    part.write_bytes((mirror / "horse2zebra.pth").read_bytes()[:5000])
    with serve(mirror) as (address, ranges):
        done = download("cyclegan", "horse2zebra", "--url", address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ranges == ["bytes=5000-"]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["horse2zebra_pretrained"]
    assert "translate.py --name horse2zebra_pretrained" in done.stderr

    run = load("horse2zebra_pretrained", checkpoints_dir=tmp_path / "checkpoints")
    assert run.options.run.dataset_mode == "single"
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(run.generator().module(image)[0], net(image))


def test_a_connection_that_breaks_off_leaves_a_part_for_the_next_start(tmp_path):
    mirror, runs = tmp_path / "mirror", tmp_path / "checkpoints"
    mirror.mkdir()
    published(mirror / "monet2photo.pth", "resnet_9blocks", norm="instance", dropout=0.0)
    with serve(mirror, most=7000) as (address, _):
        cut = download("cyclegan", "monet2photo", "--url", address, cwd=tmp_path)
    assert cut.returncode == 1
    assert "the connection broke off" in cut.stderr and "run the same command again to go on" in cut.stderr
    assert [file.relative_to(runs).as_posix() for file in runs.rglob("*.*") if file.is_file()] == [
        ".download/cyclegan-monet2photo.pth.part"
    ]
    with serve(mirror) as (address, ranges):
        done = download("cyclegan", "monet2photo", "--url", address, cwd=tmp_path)
    assert (done.returncode, ranges) == (0, ["bytes=7000-"]), done.stderr
    assert load("monet2photo_pretrained", checkpoints_dir=runs).generator().outputs == ("fake",)


def test_pix2pix_knows_the_direction(tmp_path):
    (tmp_path / "mirror").mkdir()
    net = published(tmp_path / "mirror" / "facades_label2photo.pth", "unet_128", norm="batch", dropout=0.5)
    done = download("pix2pix", "facades_label2photo", "runs", cwd=tmp_path, MODEL_URL=str(tmp_path / "mirror"))
    assert done.returncode == 0, done.stderr
    run = load("facades_label2photo_pretrained", checkpoints_dir=tmp_path / "runs", flags=["--eval"])
    assert (run.options.run.model, run.options.data.direction) == ("pix2pix", "BtoA")
    image = torch.rand(1, 3, 128, 128) * 2 - 1
    torch.testing.assert_close(run.generator().module(image)[0], net.eval()(image))
    again = download("pix2pix", "facades_label2photo", "runs", cwd=tmp_path, MODEL_URL=str(tmp_path / "mirror"))
    assert (again.returncode, "exists" in again.stderr) == (2, True)


def test_a_web_page_is_refused(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "sat2map.pth").write_text("<!DOCTYPE html><p>Moved")
    with serve(tmp_path / "mirror") as (address, _):
        done = download("pix2pix", "sat2map", "--url", f"{address}/sat2map.pth", cwd=tmp_path)
    assert done.returncode == 1
    assert "a web page, not a checkpoint" in done.stderr and "run the same command again" in done.stderr
    assert not (tmp_path / "checkpoints").exists()


def test_absent_file_absent_server_and_bad_words(tmp_path):
    with serve(tmp_path) as (address, _):
        absent = download("pix2pix", "sat2map", "--url", address, cwd=tmp_path)
    silent = download("cyclegan", "sat2map", "--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert (absent.returncode, silent.returncode) == (1, 1)
    assert "the server does not have it" in absent.stderr
    assert "no connection to the server" in silent.stderr
    for words in (["sat2mop"], [], ["sat2map", "--nonsense"], ["sat2map", "a", "b"]):
        bad = download("pix2pix", *words, cwd=tmp_path)
        assert (bad.returncode, bad.stderr.count("\n")) == (2, 1), bad.stderr
    assert "choose one of day2night" in download("pix2pix", "sat2mop", cwd=tmp_path).stderr
    assert "style_vangogh" in download("cyclegan", "--help", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []


def imported(*words):
    return import_generator.main([*map(str, words), "--name", "run"])


def test_import_refuses_what_is_no_generator(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    published(tmp_path / "good.pth", "resnet_6blocks", norm="instance", dropout=0.0)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:9000])
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    state = torch.load(tmp_path / "good.pth", weights_only=True)
    torch.save(ResnetGenerator(3, 3, num_blocks=5, ngf=4).state_dict(), tmp_path / "five.pth")
    del state["model.4.weight"]
    torch.save(state, tmp_path / "lacks.pth")
    for file, reason in (
        ("cut.pth", "damaged"),
        ("other.pth", "neither a U-Net nor a residual one"),
        ("list.pth", "not a state_dict"),
        ("lacks.pth", "model.4.weight"),
        ("five.pth", "a generator that there is not here, resnet_5blocks"),
        ("absent.pth", "no such file"),
    ):
        assert imported(file) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and file in error and reason in error, error
        assert not (tmp_path / "checkpoints").exists()
    assert imported("good.pth") == 0
    assert "left out: " in (tmp_path / "checkpoints" / "run" / "import_report.txt").read_text()
    assert imported("good.pth") == 2
    assert imported("good.pth", "--overwrite") == 0
