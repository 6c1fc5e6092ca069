"""Weights of the VGG: every layout of a file, the folder of torch.hub, one download, and what is told when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import VGG16_Weights, VGG19_Weights

from models.losses.perceptual import URLS, load_vgg
from models.networks.vgg import VGGFeatures, convolution_places
from util.run import distributed
from util.run.distributed import World
from util.run.engine import Engine

TAPS = (1, 2)


def source(name="vgg19", taps=TAPS):
    net = VGGFeatures(name, taps)
    net.draw_weights(11)
    return net


def numbered(name="vgg19", taps=TAPS):
    """``N.weight``, ``N.bias`` of the layers that ``taps`` need."""
    return {key.split(".", 1)[1]: value for key, value in source(name, taps).state_dict().items()}


def whole(name="vgg19"):
    """The same and all deeper layers, which nobody reads here: they stand in for their 80 MB."""
    deeper = {f"{place}.{kind}": torch.zeros(1) for place in convolution_places(name) for kind in ("weight", "bias")}
    return {**deeper, **numbered(name)}


def prefixed(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def load(file, name="vgg19", taps=TAPS, engine=None):
    net = VGGFeatures(name, taps)
    load_vgg(net, str(file), engine or Engine())
    return net


def equal(net, other):
    return all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


LAYOUTS = {
    "the whole network": lambda: {
        **prefixed("features.", whole()),
        "classifier.0.weight": torch.zeros(2),
        "classifier.0.bias": torch.zeros(2),
    },
    "features": lambda: prefixed("features.", whole()),
    "bare numbers": whole,
    "bare numbers, cut": numbered,
    "our own": lambda: source().state_dict(),
    "our own, whole": lambda: source(taps=(1, 2, 4)).state_dict(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path, caplog):
    caplog.set_level("INFO")
    torch.save(LAYOUTS[layout](), tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth"), source())
    assert f"VGG19 from {tmp_path / 'w.pth'}" in caplog.text, "a run says what it was trained with"


def test_vgg16_from_its_features(tmp_path):
    torch.save(whole("vgg16"), tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth", "vgg16"), source("vgg16"))


def test_half_precision_files_become_float32(tmp_path):
    torch.save({key: value.half() for key, value in numbered().items()}, tmp_path / "w.pth")
    found = load(tmp_path / "w.pth").state_dict()["slice2.5.weight"]
    assert found.dtype == torch.float32 and torch.equal(found, numbered()["5.weight"].half().float())


class Harmful:
    def __reduce__(self):
        return print, ("this file ran code",)


BAD_FILES = {
    "text": (b"no weights", "damaged or no file of weights"),
    "empty": (b"", "damaged or no file of weights"),
    "code": ({"0.weight": Harmful()}, "damaged or no file of weights"),
    "wrapped": ({"state_dict": {}}, "not a state_dict"),
    "another network": ({"conv1.weight": torch.zeros(1)}, "not torchvision's vgg19; it holds something else"),
    "VGG16": (whole("vgg16"), "not torchvision's vgg19; it holds vgg16: give --vgg vgg16"),
    "with batch norm": ({**numbered(), "1.weight": torch.ones(64)}, "it holds something else"),
    "batch norm alone": ({"0.running_mean": torch.ones(64)}, "it holds something else"),
    "another width": ({**whole(), "2.weight": torch.zeros(32, 64, 3, 3)}, "not torchvision's vgg19 (layer 2 differs)"),
    "too short": (numbered(taps=(1,)), "lacks layer 2 of vgg19, which tap 2 of --vgg_layers needs"),
    "without a bias": (
        {key: value for key, value in numbered().items() if key != "5.bias"},
        "lacks layer 5 of vgg19",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_of_something_else_is_refused_by_name(case, tmp_path, capsys):
    content, part = BAD_FILES[case]
    file = tmp_path / "w.pth"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError) as error:
        load(file)
    assert str(error.value).startswith(f"--vgg_weights {file}: ") and part in str(error.value)
    assert "ran code" not in capsys.readouterr().out


def test_a_file_of_vgg19_is_not_taken_for_vgg16(tmp_path):
    torch.save(whole("vgg19"), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="not torchvision's vgg16; it holds vgg19: give --vgg vgg19, or give a file"):
        load(tmp_path / "w.pth", "vgg16")


def test_a_file_that_is_not_there(offline):
    with pytest.raises(FileNotFoundError, match=r"^--vgg_weights nowhere\.pth: there is no such file; give a file"):
        load("nowhere.pth")


# --- torchvision's own ------------------------------------------------------------------------------------------------


def test_the_urls_are_torchvisions():
    theirs = {"vgg16": VGG16_Weights.IMAGENET1K_V1.url, "vgg19": VGG19_Weights.IMAGENET1K_V1.url}
    assert theirs == URLS


def hub(caches: Path, name="vgg19-dcbb9e9d.pth"):
    return caches / "TORCH_HOME" / "hub" / "checkpoints" / name


@pytest.mark.parametrize("name", ["vgg19", "vgg16"])
def test_without_network_and_cache_the_message_says_all(name, offline):
    with pytest.raises(ValueError) as error:
        load("", name)
    file = hub(offline, {"vgg19": "vgg19-dcbb9e9d.pth", "vgg16": "vgg16-397923af.pth"}[name])
    message = str(error.value)
    assert "\n" not in message and "no network in tests" in message
    for part in (f"--vgg {name}", file.name, str(file.parent), "--vgg_weights FILE", "--vgg_weights random"):
        assert part in message


def test_another_checksum_or_a_full_disk_is_told_too(offline, monkeypatch):
    for error in (RuntimeError("invalid hash value"), OSError(28, "No space left on device")):

        def download(*_, error=error, **__):
            raise error

        monkeypatch.setattr(torch.hub, "download_url_to_file", download)
        with pytest.raises(
            ValueError, match=r"cannot be downloaded from .*(invalid hash|No space).*--vgg_weights FILE"
        ):
            load("")


def test_it_is_downloaded_once_and_checked(offline, monkeypatch):
    asked = []

    def download(url, file, hash_prefix=None, progress=True):
        asked.append((url, hash_prefix))
        torch.save(prefixed("features.", whole()), file)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert equal(load(""), source())
    assert asked == [("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d")]


def test_a_damaged_download_is_told(offline):
    hub(offline).parent.mkdir(parents=True)
    hub(offline).write_bytes(b"PK\x03\x04 the first part")
    with pytest.raises(ValueError, match=r"vgg19-dcbb9e9d\.pth is damaged: delete it"):
        load("")


# --- random -----------------------------------------------------------------------------------------------------------


def test_random_weights_come_with_a_warning(offline, caplog):
    net = load("random")
    expected = VGGFeatures("vgg19", TAPS)
    expected.draw_weights(0)
    assert equal(net, expected)
    (record,) = caplog.records
    assert (
        record.levelname == "WARNING" and "--vgg_weights random" in record.message and "another loss" in record.message
    )


# --- several processes ------------------------------------------------------------------------------------------------

SECOND = Engine(world=World(rank=1, size=2))


def test_only_the_main_process_reads_and_downloads(offline, monkeypatch, tmp_path):
    """The others get the weights when the engine prepares the network."""

    def never(*_, **__):
        raise AssertionError("this process must not")

    torch.save(numbered(), tmp_path / "w.pth")
    monkeypatch.setattr(distributed, "gather", lambda value: [None, value])
    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(torch.hub, "download_url_to_file", never)
    load(tmp_path / "w.pth", engine=SECOND)
    load("", engine=SECOND)


def test_what_failed_in_the_main_process_fails_in_all(monkeypatch):
    monkeypatch.setattr(distributed, "gather", lambda value: [ValueError("--vgg_weights w.pth: damaged"), value])
    with pytest.raises(ValueError, match="damaged"):
        load("w.pth", engine=SECOND)
