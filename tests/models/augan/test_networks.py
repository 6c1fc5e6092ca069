"""The forked generators: those of the port equal the published ones, those of the paper have its topology."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.augan.networks import DomainClassifier, PaperGenerator, PortGenerator, pad_to_multiple
from models.networks.factory import build_discriminator, check_image_size
from models.networks.init import init_weights
from tests.golden_rules import fill_value, load_golden, uniform_input
from util.run.checkpoint import adapt_state

GOLDEN, ARRAYS = load_golden("augan/golden")
NETS = GOLDEN["nets"]
STRIDE = GOLDEN["stride_of_generators"]
GENERATORS = [name for name in NETS if name.startswith("G_")]
DISCRIMINATORS = [name for name in NETS if name.startswith("D_")]
TINY = {"ngf": 4, "num_blocks": 1}


def published_state(entry: dict[str, Any]) -> dict[str, Tensor]:
    """The published state dict by rule, in the published shapes."""
    state = {}
    for key, shape, dtype in entry["keys"]:
        value = fill_value(key, tuple(shape)) if dtype == "float32" else np.zeros(shape, dtype)
        state[key] = torch.from_numpy(np.asarray(value))
    return state


def load(net: nn.Module, entry: dict[str, Any]) -> nn.Module:
    """Load the published state as a checkpoint is loaded, all keys and shapes being equal."""
    state = adapt_state(published_state(entry), net)
    assert {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    return net.eval()


def port(c: dict[str, Any]) -> nn.Module:
    return PortGenerator(
        c["input_nc"],
        c["output_nc"],
        ngf=c["ngf"],
        num_blocks=int(c["netG"][len("resnet_")]),
        norm=c["norm"],
        dropout=0.5 if c["dropout"] else 0.0,
        transfer=c["transfer"],
        uncertainty=c["transfer"],
    )


def paper(*, adverse: bool = True, **options: Any) -> PaperGenerator:
    torch.manual_seed(0)
    net = PaperGenerator(3, 3, **{**TINY, "transfer": adverse, "uncertainty": adverse, **options})
    init_weights(net, "normal", 0.1)
    return net


# --- the published networks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_the_port_equal_the_published_ones(name: str) -> None:
    entry = NETS[name]
    net = load(port(entry["ctor"]), entry)
    assert sum(p.numel() for p in net.parameters()) == entry["n_params"]
    with torch.no_grad():
        found = net(uniform_input(entry["input_shape"]))
    for output, want in entry["outputs"].items():
        y = getattr(found, output)
        if want is None:
            assert not y.numel()
            continue
        assert list(y.shape) == want["shape"]
        assert y.double().abs().sum().item() == pytest.approx(want["abs_sum"], rel=1e-4)
        assert y.double().sum().item() == pytest.approx(want["sum"], abs=1e-4 * want["abs_sum"])
        if f"{name}/{output}" in ARRAYS:
            assert np.abs(y[..., ::STRIDE, ::STRIDE].numpy() - ARRAYS[f"{name}/{output}"]).max() <= 2e-5


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_equal_the_published_ones(name: str) -> None:
    entry = NETS[name]
    net = load(build_discriminator(**entry["ctor"]), entry)
    assert sum(p.numel() for p in net.parameters()) == entry["n_params"]
    with torch.no_grad():
        found = net(uniform_input(entry["input_shape"]))
    maps = {"out": found} if isinstance(found, Tensor) else {f"scale{i}": y for i, y in enumerate(found)}
    assert set(maps) == set(entry["outputs"])
    for output, y in maps.items():
        assert y.double().abs().sum().item() == pytest.approx(entry["outputs"][output]["abs_sum"], rel=1e-4)
        if f"{name}/{output}" in ARRAYS:
            assert np.abs(y.numpy() - ARRAYS[f"{name}/{output}"]).max() <= 1e-5


@pytest.mark.parametrize("name", ["DC_24x24", "DC_32x48"])
def test_domain_classifier_equals_the_published_one_up_to_its_mean(name: str) -> None:
    """The published code averages channel and height and leaves the width; here the mean is over all space."""
    entry = NETS[name]
    net = load(DomainClassifier(4 * entry["ctor"]["ngf"]), entry)
    maps = ARRAYS[f"{name}/map_before_mean"]
    with torch.no_grad():
        found = net(uniform_input(entry["input_shape"]))
    assert found.shape == (len(maps),)
    assert np.abs(found.numpy() - maps.mean((1, 2, 3))).max() <= 1e-5


@pytest.mark.parametrize("setting", [name for name in GOLDEN["misc"]["param_counts_ngf64"] if name.startswith("nc")])
def test_parameters_at_the_published_width(setting: str) -> None:
    channels, norm = int(setting[2]), setting.partition("_")[2]
    want = GOLDEN["misc"]["param_counts_ngf64"][setting]
    with torch.device("meta"):
        nets = {
            "G_A": PortGenerator(channels, channels, norm=norm, transfer=True, uncertainty=True),
            "G_B": PortGenerator(channels, channels, norm=norm),
            "D_ms3": build_discriminator("ms3", channels, norm=norm),
            "D_basic": build_discriminator("basic", channels, norm=norm),
        }
        classifier = DomainClassifier(256)
    assert {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()} == want
    assert sum(p.numel() for p in classifier.parameters()) == GOLDEN["misc"]["param_counts_ngf64"]["DC"]


# --- the paper's ------------------------------------------------------------------------------------------------------


def test_the_other_generator_lacks_t_net_and_the_head_and_nothing_else() -> None:
    adverse, normal = (set(paper(adverse=each).state_dict()) for each in (True, False))
    assert normal == {key for key in adverse if not key.startswith(("tnet.", "conf."))} != adverse


@pytest.mark.parametrize(
    ("norm", "upsample"), [("instance", "transposed"), ("none", "bilinear"), ("batch", "bilinear")]
)
def test_outputs_of_the_paper(norm: str, upsample: str) -> None:
    net = paper(norm=norm, upsample=upsample)
    found = net(uniform_input([2, 3, 16, 24]))
    assert found.enc.shape == found.feat.shape == (2, 16, 4, 6) and not torch.equal(found.enc, found.feat)
    assert found.fake.shape == found.rec.shape == (2, 3, 16, 24) and found.fake.abs().max() < 1
    assert found.conf.shape == (2, 1, 16, 24) and found.conf.min() >= 0 and found.conf.std() > 1e-3


def test_the_reconstruction_sees_neither_t_net_nor_the_head() -> None:
    net, x = paper(), uniform_input([1, 3, 16, 16])
    net(x).rec.sum().backward()
    owners = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert owners == {"encoder", "rec_first", "rec"}
    with torch.no_grad():
        before = net(x)
        for name, parameter in net.named_parameters():
            if name.startswith(("tnet", "conf")):
                parameter.add_(1.0)
        after = net(x)
    assert torch.equal(before.rec, after.rec) and not torch.equal(before.conf, after.conf)


def test_the_uncertainty_belongs_to_the_translation() -> None:
    net = paper()
    net(uniform_input([1, 3, 16, 16])).conf.sum().backward()
    owners = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert owners == {"encoder", "tnet", "decoder", "conf"}


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PaperGenerator, PortGenerator])
def test_branches_are_made_when_asked_for(kind: type[nn.Module]) -> None:
    net = kind(3, 3, ngf=4, num_blocks=2, transfer=True, uncertainty=True)
    x = uniform_input([1, 3, 16, 16])
    everything, little = net(x), net(x, rec=False, conf=False)
    assert torch.equal(everything.fake, little.fake) and everything.rec.numel() and everything.conf.numel()
    assert not little.rec.numel() and not little.conf.numel()


@pytest.mark.parametrize("kind", [PaperGenerator, PortGenerator])
def test_noise_reaches_the_reconstruction_only_and_in_no_mode_by_itself(kind: type[nn.Module]) -> None:
    net, x = kind(3, 3, ngf=4, num_blocks=2), uniform_input([1, 3, 16, 16])
    for mode in (True, False):
        net.train(mode)
        assert torch.equal(net(x).rec, net(x).rec)
        noisy, other = net(x, noise=0.02), net(x, noise=0.02)
        assert not torch.equal(noisy.rec, other.rec) and torch.equal(noisy.fake, net(x).fake)


@pytest.mark.parametrize(
    ("kind", "dilation"), [(PaperGenerator, 1), (PaperGenerator, 3), (PortGenerator, 2), (PortGenerator, 3)]
)
def test_trains_at_its_smallest_size(kind: type[nn.Module], dilation: int) -> None:
    net = kind(3, 3, ngf=4, num_blocks=2, dilation=dilation)
    size = net.min_size
    check_image_size(net, size, size)
    assert net(uniform_input([1, 3, size, size + 4])).rec.shape == (1, 3, size, size + 4)
    with pytest.raises((ValueError, RuntimeError)):
        net(uniform_input([1, 3, size - 4, size - 4]))


def test_the_classifier_works_from_89_pixels_on() -> None:
    net = DomainClassifier(8)
    assert net(uniform_input([1, 8, 23, 23])).shape == (1,)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        net(uniform_input([1, 8, 22, 22]))
    with pytest.raises(ValueError, match=r"at least 92 pixels"):
        check_image_size(net, 88, 88)


def test_padding_reflects_below_and_on_the_right() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    with pytest.raises(RuntimeError):
        pad_to_multiple(x, 8)
    y = pad_to_multiple(torch.arange(15.0).view(1, 1, 3, 5), 4)
    assert y[0, 0].tolist() == [
        [0, 1, 2, 3, 4, 3, 2, 1],
        [5, 6, 7, 8, 9, 8, 7, 6],
        [10, 11, 12, 13, 14, 13, 12, 11],
        [5, 6, 7, 8, 9, 8, 7, 6],
    ]
    assert pad_to_multiple(y, 4) is y
