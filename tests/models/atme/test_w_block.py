"""ATME's network W equals the published one at 256 pixels, works at other sizes, and has substitutes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.atme.w_block import W_BLOCK_NAMES, W_BLOCKS, WBlock, build_w_block
from models.networks.init import init_weights
from tests.golden_rules import fill, load_golden, structure, uniform_input

GOLDEN, ARRAYS = load_golden("atme/golden_atme")
ENTRY = GOLDEN["networks"]["atme_wblock"]
MAPS = uniform_input(ENTRY["inputs"][0]["shape"])


def test_equals_published_network() -> None:
    net = fill(build_w_block("block")).eval()
    assert structure(net) == ENTRY["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == ENTRY["n_params"] == 37_569
    seen: dict[str, Tensor] = {}
    for tap in ENTRY["taps"]:
        net.get_submodule(tap).register_forward_hook(lambda _, inputs, out, tap=tap: seen.update({tap: out}))
    with torch.no_grad():
        y = net(MAPS, (256, 256))
    step, std = ENTRY["stored_stride_hw"], ENTRY["std"]
    want = torch.from_numpy(ARRAYS[ENTRY["npz_key"]])
    assert (y[..., ::step, ::step] - want).abs().max() <= 2e-4 * std
    assert y.abs().max().item() == pytest.approx(ENTRY["absmax"], abs=1e-4)
    for tap, expected in ENTRY["taps"].items():
        assert list(seen[tap].shape) == expected["shape"]
        assert seen[tap].mean().item() == pytest.approx(expected["mean"], abs=2e-4 * expected["std"])
        assert seen[tap].std(correction=0).item() == pytest.approx(expected["std"], rel=2e-4)
        assert seen[tap].flatten()[:6].tolist() == pytest.approx(expected["first"], abs=2e-4 * expected["std"])


@pytest.mark.parametrize(
    ("size", "quarter", "half"),
    [((128, 128), (32, 32), (64, 64)), ((64, 160), (16, 40), (32, 80)), ((6, 1), (2, 1), (3, 1))],
)
def test_inner_sizes_follow_the_image(size: tuple[int, int], quarter: tuple[int, int], half: tuple[int, int]) -> None:
    net = build_w_block("block")
    sizes: list[tuple[int, ...]] = []
    for index in (0, 2, 4):
        net.model[index].register_forward_hook(lambda _, inputs, out: sizes.append(tuple(out.shape[2:])))
    y = net(MAPS[:, :, :14, :30], size)
    assert sizes == [quarter, half, size] and y.shape == (2, 1, *size)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_bfloat16_is_near_float32() -> None:
    net = fill(build_w_block("block"))
    with torch.no_grad():
        want = net(MAPS, (64, 96))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = net(MAPS, (64, 96))
    assert (got.float() - want).std() < 0.02 * want.std()


def test_initialisation() -> None:
    torch.manual_seed(0)
    net = fill(WBlock())
    norms = {key: value.clone() for key, value in net.state_dict().items() if ".norm." in key}
    init_weights(net, "normal", 0.02)
    assert len(norms) == 6 and all(torch.equal(net.state_dict()[key], value) for key, value in norms.items())
    for conv in (net.model[1].proj, net.model[3].proj, net.model[5].proj, net.model[6]):
        assert conv.weight.std().item() == pytest.approx(0.02, rel=0.4) and not conv.bias.any()


@pytest.mark.parametrize("name", W_BLOCK_NAMES)
def test_every_name_maps_to_the_size_of_the_image(name: str) -> None:
    net = build_w_block(name)
    for size in ((16, 24), (31, 8)):
        y = net(3 * MAPS, size)
        assert y.shape == (2, 1, *size) and y.dtype == torch.float32
        assert y.abs().max() <= 1
    assert (name == "block") == bool(list(net.parameters()))
    init_weights(net)
    assert bool(net.state_dict()) == (name == "block")


@pytest.mark.parametrize("name", ["bilinear", "identity"])
def test_judgement_is_twice_the_probability_minus_one(name: str) -> None:
    net = build_w_block(name)
    torch.testing.assert_close(net(MAPS, (30, 30)), 2 * MAPS.sigmoid() - 1, rtol=1e-5, atol=1e-6)
    constant = torch.full((1, 1, 3, 3), 2.0)
    torch.testing.assert_close(net(constant, (7, 5)), torch.full((1, 1, 7, 5), 2 / (1 + 2.718281828**-2) - 1))


def test_identity_keeps_patches_and_bilinear_blends_them() -> None:
    step = torch.tensor([[[[-50.0, 50.0]]]])  # certainly fake, certainly real
    assert build_w_block("identity")(step, (1, 4)).flatten().tolist() == [-1, -1, 1, 1]
    assert build_w_block("bilinear")(step, (1, 4)).flatten().tolist() == [-1, -0.5, 0.5, 1]


def test_none_is_zero() -> None:
    assert not build_w_block("none")(MAPS, (8, 8)).any()


def test_noise_is_a_clipped_normal_distribution_that_ignores_the_maps() -> None:
    net = build_w_block("noise").eval()
    torch.manual_seed(3)
    first, second = net(MAPS, (256, 256)), net(MAPS, (256, 256))
    torch.manual_seed(3)
    assert torch.equal(net(-MAPS, (256, 256)), first) and not torch.equal(first, second)
    assert first.abs().max() == 1
    # N(0, 1/4) beyond 1: two standard deviations on either side, 4.55 %
    assert (first.abs() == 1).float().mean().item() == pytest.approx(0.0455, abs=0.003)
    assert first.abs().median().item() == pytest.approx(0.6745 * 0.5, abs=0.01)
    assert abs(first.mean().item()) < 0.01


def test_unknown_name() -> None:
    assert W_BLOCK_NAMES == ("block", "bilinear", "identity", "none", "noise") == tuple(W_BLOCKS)
    with pytest.raises(ValueError, match="--atme_w 'bilinaer': did you mean 'bilinear'"):
        build_w_block("bilinaer")
