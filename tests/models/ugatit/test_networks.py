"""U-GAT-IT's networks equal the published ones, in every precision and form; their sizes and messages."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from benchmarks.ugatit_plain import PlainDiscriminator, PlainGenerator
from models.networks.factory import check_image_size
from models.networks.init import init_weights
from models.networks.spectral import SpectralConv2d, SpectralLinear
from models.ugatit.networks import ILN, AdaLIN, CAMDiscriminator, UGATITGenerator, layer_instance_norm
from tests.golden_rules import load_golden, uniform_input

INDEX, ARRAYS = load_golden("ugatit/golden_ugatit")
GENERATORS = [name for name in INDEX["cases"] if name.startswith("gen_")]
DISCRIMINATORS = [name for name in INDEX["cases"] if name.startswith("dis_")]
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


def draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The golden data's rule: standard normal numbers times 0.05 from the key alone."""
    rng = np.random.default_rng(zlib.crc32(key.encode("utf-8")))
    return rng.standard_normal(shape).astype("float32") * np.float32(0.05)


def fill(net: nn.Module, *, refine: bool = False) -> nn.Module:
    """Every entry by rule: rho in [0, 1], u and v of length 1; with ``refine`` after 15 power iterations in float64."""
    state = net.state_dict()
    for key, entry in state.items():
        value = draw(key, tuple(entry.shape))
        if key.endswith("rho"):
            value = np.clip(0.5 + value, 0, 1)
        if key.endswith(("weight_u", "weight_v")):
            value = value / np.linalg.norm(value.astype("float64"))
        entry.copy_(torch.from_numpy(value.astype("float32")))
    for key in [key for key in state if refine and key.endswith("weight_orig")]:
        W, u = state[key].double().flatten(1), state[key.replace("orig", "u")].double()
        for _ in range(15):
            v = W.T @ u
            u = W @ (v / v.norm())
            v, u = v / v.norm(), u / u.norm()
        state[key.replace("orig", "u")].copy_(u)
        state[key.replace("orig", "v")].copy_(v)
    return net


def golden_generator(name: str, **options: Any) -> nn.Module:
    ch, n_res, size, light = (INDEX["cases"][name]["kwargs"][key] for key in ("ch", "n_res", "img_size", "light"))
    return fill(UGATITGenerator(ngf=ch, n_res=n_res, pool=int(light), img_size=size, **options)).eval()


def golden_discriminator(name: str) -> nn.Module:
    kwargs = INDEX["cases"][name]["kwargs"] or {"ch": 16, "n_layers": 5}
    net = CAMDiscriminator(ndf=kwargs["ch"], n_layers=kwargs["n_layers"])
    return fill(net, refine="rawuv" not in name and "train1" not in name).train("train1" in name)


def golden_input(name: str) -> Tensor:
    return uniform_input(INDEX["cases"][name]["input"])


# --- the published networks -------------------------------------------------------------------------------------------


def test_the_rule_that_fills_the_weights() -> None:
    for key, first in INDEX["rule_probe_first_of_4"].items():
        assert float(draw(key, (4,))[0]) == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("name", INDEX["default_shapes"])
def test_keys_shapes_and_order_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        if "gen" in name:
            net: nn.Module = UGATITGenerator(pool=int("light" in name))
        else:
            net = CAMDiscriminator(n_layers=int(name[-1]))
    known = INDEX["default_shapes"][name]
    assert [[key, list(value.shape)] for key, value in net.state_dict().items()] == known["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == known["n_parameters"]
    assert sum(b.numel() for b in net.buffers()) == known["n_buffer_elements"]


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_equal_the_published(name: str) -> None:
    net = golden_generator(name)
    made = net(golden_input(name))
    assert sum(p.numel() for p in net.parameters()) == INDEX["cases"][name]["n_parameters"]
    for got, key in ((made.out[..., ::2, ::2], "image"), (made.cam_logit, "cam_logit"), (made.heat, "heatmap")):
        torch.testing.assert_close(got, torch.from_numpy(ARRAYS[f"{name}/{key}"]), **TOLERANCE)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_equal_the_published(name: str) -> None:
    net, x = golden_discriminator(name), golden_input(name).requires_grad_()
    judged = net(x)
    (dx,) = torch.autograd.grad(judged.out.mean() + judged.cam_logit.sum(), x)
    found = {"patch_logit": judged.out, "cam_logit": judged.cam_logit, "heatmap": judged.heat, "dx": dx[..., ::2, ::2]}
    found |= net.state_dict()  # u and v after a step of the power iteration
    stored = {key.split("/")[1]: torch.from_numpy(ARRAYS[key]) for key in ARRAYS if key.startswith(f"{name}/")}
    assert stored
    for key, want in stored.items():
        if "rawuv" in name:  # sigma is near 0 there
            assert (found[key] - want).abs().max() < 1e-2 * want.abs().max()
        else:
            torch.testing.assert_close(found[key], want, rtol=1e-4, atol=2e-7 if key == "dx" else 2e-5)


def test_normalisations_equal_the_published() -> None:
    gamma, beta = (torch.from_numpy(20 * draw(f"unit.{key}", (2, 6))) for key in ("gamma", "beta"))
    adalin, iln = fill(AdaLIN(6)), fill(ILN(6))
    got = {"norm_adaILN": adalin(golden_input("norm_adaILN"), gamma, beta), "norm_ILN": iln(golden_input("norm_ILN"))}
    for name, y in got.items():
        torch.testing.assert_close(y, torch.from_numpy(ARRAYS[f"{name}/y"]), **TOLERANCE)


# --- the plain form of the same mathematics ---------------------------------------------------------------------------


def plain_norm(x: Tensor, rho: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Eq. (1) of the paper as it stands, with unbiased variances."""
    a_I = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
    a_L = (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), keepdim=True) + 1e-5).sqrt()
    return (rho * a_I + (1 - rho) * a_L) * gamma + beta


def test_the_single_affine_form_is_the_same_function() -> None:
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(2, 5, 4, 6, dtype=torch.float64)).requires_grad_()
    rho = torch.rand(1, 5, 1, 1, dtype=torch.float64, requires_grad=True)
    gamma, beta = (torch.randn(2, 5, 1, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    given = (x, rho, gamma, beta)
    one, other = layer_instance_norm(*given), plain_norm(*given)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(one)
    grads = [torch.autograd.grad((y * direction).sum(), given) for y in (one, other)]
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_spectral_norm_is_torchs(training: bool) -> None:
    """Three passes as in a step: outputs, gradients, u and v, for a convolution with bias and a linear layer."""
    torch.manual_seed(0)
    pairs = [
        (SpectralConv2d(3, 5, 4, stride=2), spectral_norm(nn.Conv2d(3, 5, 4, stride=2)), (2, 3, 8, 8)),
        (SpectralLinear(6, 1), spectral_norm(nn.Linear(6, 1, bias=False)), (2, 6)),
    ]
    for own, torchs, shape in pairs:
        torchs(torch.zeros(shape))
        assert list(own.state_dict()) == list(torchs.state_dict())
        own.load_state_dict(torchs.state_dict())
        for net in (own, torchs):
            net.train(training)
            for number in range(3):
                net(torch.randn(shape, generator=torch.Generator().manual_seed(number))).square().sum().backward()
        for key, value in torchs.state_dict().items():
            torch.testing.assert_close(own.state_dict()[key], value, rtol=1e-5, atol=1e-6)
        for a, b in zip(own.parameters(), torchs.parameters()):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def output_and_gradients(net: nn.Module, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    net.zero_grad()
    made = net(x)
    sum(((each * each).mean() for each in made), torch.zeros(())).backward()
    return [each.detach() for each in made], {key: p.grad for key, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("light", [True, False])
def test_generator_and_its_gradients_equal_the_plain_form(light: bool) -> None:
    torch.manual_seed(0)
    plain = PlainGenerator(4, 2, light, 16).double()
    own = UGATITGenerator(ngf=4, n_res=2, pool=int(light), img_size=16).double()
    own.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    (one, grads), (other, wanted) = output_and_gradients(own, x), output_and_gradients(plain, x)
    for a, b in zip(one, other):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    assert grads.keys() == wanted.keys() == dict(own.named_parameters()).keys()
    for key, grad in grads.items():
        torch.testing.assert_close(grad, wanted[key], rtol=1e-8, atol=1e-11, msg=key)


def test_discriminator_and_its_gradients_equal_the_plain_form() -> None:
    torch.manual_seed(0)
    plain, own = PlainDiscriminator(4, 4).double(), CAMDiscriminator(ndf=4, n_layers=4).double()
    own.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    (one, grads), (other, wanted) = output_and_gradients(own, x), output_and_gradients(plain, x)
    for a, b in zip(one, other):
        torch.testing.assert_close(a, b)
    for key, grad in grads.items():
        torch.testing.assert_close(grad, wanted[key], rtol=1e-8, atol=1e-10, msg=key)


# --- variants ---------------------------------------------------------------------------------------------------------


def test_checkpointing_changes_no_number() -> None:
    name = "gen_full_ch16_r2_s64"
    runs = [output_and_gradients(golden_generator(name, checkpointing=on), golden_input(name)) for on in (False, True)]
    for a, b in zip(runs[0][0], runs[1][0]):
        assert torch.equal(a, b)
    assert all(torch.equal(grad, runs[1][1][key]) for key, grad in runs[0][1].items())


def test_a_pooled_mlp_lies_between_light_and_full() -> None:
    """Pooling to 1 is the light form, to the features' own size the full form; between them FC.0 grows as K^2."""
    torch.manual_seed(0)
    nets = {k: UGATITGenerator(ngf=2, n_res=1, pool=k, img_size=16) for k in (0, 1, 2, 4)}
    assert [nets[k].FC[0].in_features for k in (1, 2, 4, 0)] == [8, 32, 128, 128]
    nets[4].load_state_dict(nets[0].state_dict())
    x = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(nets[4](x).out, nets[0](x).out)
    assert nets[2](torch.randn(1, 3, 24, 20)).out.shape == (1, 3, 24, 20)


def test_biases_keep_a_generator_with_a_dead_mlp_alive() -> None:
    """Where the MLP's first ReLU has died, gamma is 0 and the decoder's blocks learn nothing more; not with biases."""
    torch.manual_seed(0)
    for mlp_bias in (False, True):
        net = UGATITGenerator(ngf=4, n_res=1, mlp_bias=mlp_bias)
        net.FC[0].weight.data.abs_().neg_()  # its input is nowhere negative
        _, grads = output_and_gradients(net, torch.randn(2, 3, 16, 16))
        assert ("FC.0.bias" in net.state_dict()) == mlp_bias
        assert bool(grads["UpBlock1_1.conv1.weight"].any()) == mlp_bias


def test_a_dead_attention_is_seen_in_its_map() -> None:
    torch.manual_seed(0)
    net = UGATITGenerator(ngf=4, n_res=1)
    nn.init.constant_(net.conv1x1.bias, -1e3)
    made = net(torch.randn(2, 3, 16, 16))
    assert not made.heat.any() and float(made.out.detach().std(dim=(2, 3)).max()) < 1e-6


def test_half_precision_stays_near() -> None:
    name = "gen_light_ch16_r2_s64"
    net, x = golden_generator(name), golden_input(name)
    exact = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(x)
    assert rough.cam_logit.dtype == torch.float32
    assert (rough.out.float() - exact.out).abs().max() < 0.05 * exact.out.abs().max()


def test_other_channels() -> None:
    assert UGATITGenerator(1, 2, ngf=2, n_res=1)(torch.zeros(1, 1, 16, 16)).out.shape == (1, 2, 16, 16)
    assert CAMDiscriminator(5, ndf=2, n_layers=3)(torch.zeros(1, 5, 8, 8)).cam_logit.shape == (1, 2)


def test_initialisation_reaches_the_raw_weight_of_spectral_norm() -> None:
    torch.manual_seed(0)
    net = CAMDiscriminator(ndf=16, n_layers=4)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    init_weights(net, "default")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    init_weights(net, "normal", 0.02)
    assert float(net.state_dict()["model.4.weight_orig"].std()) == pytest.approx(0.02, rel=0.05)
    assert not net.state_dict()["model.4.bias"].any()


@pytest.mark.parametrize(("n_layers", "smallest"), [(7, 96), (5, 24), (3, 6)])
def test_the_smallest_size_is_the_one_that_still_works(n_layers: int, smallest: int) -> None:
    net = CAMDiscriminator(ndf=1, n_layers=n_layers)
    assert net.min_size == smallest and net(torch.zeros(1, 3, smallest, smallest)).out.shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 3, smallest - 1, smallest - 1))
    with pytest.raises(ValueError, match=f"at least {smallest} pixels"):
        check_image_size(net, smallest - 1, smallest)


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"--img_size 66.*multiple of 4.*64 and 68"):
        UGATITGenerator(pool=0, img_size=66)
    with pytest.raises(ValueError, match="multiple of 4"):
        check_image_size(UGATITGenerator(ngf=1, n_res=1), 64, 66)
    with pytest.raises(ValueError, match="at least 3 layers"):
        CAMDiscriminator(n_layers=2)
