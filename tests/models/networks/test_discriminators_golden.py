"""Discriminators of several scales: keys, shapes, parameter counts and outputs equal the published networks'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.networks.factory import build_discriminator
from tests.golden_rules import fill, load_golden, structure, uniform_input

INDEX, ARRAYS = load_golden("dlim/golden_discriminators")
NETS = INDEX["nets"]

SMALL: dict[str, Any] = {"ndf": 16}
RGB = {"input_nc": 6, "condition_nc": 3}
BUILDS: dict[str, dict[str, Any]] = {
    "multiscale_D2_batch": {"netD": "multiscale", "norm": "batch", **RGB, **SMALL},
    "multiscale_D3_batch": {"netD": "multiscale", "norm": "batch", "num_D": 3, **RGB, **SMALL},
    "multiscale_D2_instance": {"netD": "multiscale", "norm": "instance", **RGB, **SMALL},
    "multiscale_D3_instance": {"netD": "ms3", "norm": "instance", **RGB, **SMALL},
    "multiscale_interm_D2_instance": {"netD": "pix2pixhd", "norm": "instance", **RGB, **SMALL},
    "sesam_dlim_n3": {"netD": "sesam", **RGB, **SMALL},
    "sesam_dlim_n4": {"netD": "sesam", "n_layers_D": 4, **RGB, **SMALL},
    "sesame_paper_instance": {
        "netD": "sesame",
        "norm_D": "instance",
        "input_nc": 8,
        "condition_nc": 5,
        **SMALL,
    },
    "sesame_paper_rgb_instance": {"netD": "sesame", "norm_D": "instance", **RGB, **SMALL},
}
STRUCTURES: dict[str, dict[str, Any]] = {
    "multiscale_default_structure": {"netD": "multiscale", **RGB},
    "multiscale_D3_structure": {"netD": "multiscale", "num_D": 3, **RGB},
    "sesam_dlim_default_structure": {"netD": "sesam", **RGB},
    "sesame_paper_default_structure": {"netD": "sesame", "norm_D": "instance", **RGB},
}


def compare(name: str, outputs: Any) -> None:
    """Every scale (and layer) of ``outputs`` with the golden ones, which are called ``out.SCALE[.LAYER]``."""
    wanted = NETS[name]["outputs"]
    found: dict[str, Tensor] = {}
    for scale, entry in enumerate(outputs):
        if isinstance(entry, Tensor):
            found[f"out.{scale}" if f"out.{scale}" in wanted else f"out.{scale}.0"] = entry
        else:
            found |= {f"out.{scale}.{layer}": y for layer, y in enumerate(entry)}
    assert set(found) == set(wanted)
    for key, want in wanted.items():
        assert list(found[key].shape) == want["shape"], key
        ours = found[key].flatten().numpy()[:: want["stride"]]
        theirs = ARRAYS[f"{name}__{key}"]
        assert np.abs(ours - theirs).max() <= 1e-4 * want["absmax"], key


def test_every_golden_is_tested() -> None:
    assert set(NETS) == {*BUILDS, *STRUCTURES, "sesame_paper_rgb_spectralinstance"}


@pytest.mark.parametrize("name", BUILDS)
def test_keys_and_outputs(name: str) -> None:
    net = fill(build_discriminator(**BUILDS[name])).eval()
    entry = NETS[name]
    assert structure(net) == entry["keys"]
    assert sum(p.numel() for p in net.parameters()) == entry["num_params"]
    with torch.no_grad():
        compare(name, net(uniform_input(entry["input_shape"])))


@pytest.mark.parametrize("name", STRUCTURES)
def test_published_sizes(name: str) -> None:
    with torch.device("meta"):
        net = build_discriminator(**STRUCTURES[name])
    entry = NETS[name]
    assert sum(p.numel() for p in net.parameters()) == entry["num_params"]
    assert sum(v.numel() for v in net.state_dict().values()) == entry["num_state_values"]
    assert (
        len(net.state_dict()) == entry["keys_omitted"] if "keys_omitted" in entry else structure(net) == entry["keys"]
    )


def test_sesame_with_exact_spectral_norm() -> None:
    """The golden divides by the largest singular value, which the power iteration has when u and v are its vectors."""
    name = "sesame_paper_rgb_spectralinstance"
    net = build_discriminator("sesame", 6, condition_nc=3, ndf=16).eval()
    plain = fill(build_discriminator("sesame", 6, condition_nc=3, ndf=16, norm_D="instance")).state_dict()
    state = net.state_dict()
    for key, value in plain.items():
        owner = key.removesuffix(".weight")
        if f"{owner}.weight_orig" not in state:
            state[key].copy_(value)
            continue
        u, sigma, v = torch.linalg.svd(value.flatten(1), full_matrices=False)
        assert sigma[0].item() == pytest.approx(NETS[name]["sigma"][key], rel=1e-5)
        state[f"{owner}.weight_orig"].copy_(value)
        state[f"{owner}.weight_u"].copy_(u[:, 0])
        state[f"{owner}.weight_v"].copy_(v[0])
    net.load_state_dict(state)
    assert len([key for key in state if key.endswith("weight_orig")]) == len(NETS[name]["sigma"])
    with torch.no_grad():
        compare(name, net(uniform_input(NETS[name]["input_shape"])))


@pytest.mark.parametrize(
    ("netD", "layers"), [("basic", 5), ("n_layers", 4), ("multiscale", 4), ("sesam", 4), ("sesame", 5)]
)
def test_features_change_neither_keys_nor_logits(netD: str, layers: int) -> None:
    options: dict[str, Any] = {"condition_nc": 3, "ndf": 4, "n_layers_D": 2 if netD != "sesam" else 3}
    plain, featured = (fill(build_discriminator(netD, 6, features=on, **options)).eval() for on in (False, True))
    assert structure(plain) == structure(featured)
    x = uniform_input([1, 6, 64, 64])
    with torch.no_grad():
        logits, outputs = plain(x), featured(x)
    logits = [logits] if isinstance(logits, Tensor) else logits
    assert len(logits) == len(outputs) == (1 if netD in ("basic", "n_layers") else 2)
    for one, scale in zip(logits, outputs):
        assert len(scale) == layers
        assert torch.equal(one if isinstance(one, Tensor) else one[-1], scale[-1])


def test_the_condition_steers_the_image() -> None:
    """Where the condition's features are 0, SESAME is the image's stream alone; here that is a condition of 0."""
    net = build_discriminator("sesam", 5, condition_nc=2, ndf=4).eval()
    for key, value in net.state_dict().items():
        if "sem_sequence" in key and key.endswith("bias"):
            value.zero_()
    image = uniform_input([1, 3, 32, 32])
    scale = net.get_submodule("discriminator_0")
    with torch.no_grad():
        y = image
        for group in scale.img_sequence:
            y = group(y)
        torch.testing.assert_close(net(torch.cat([torch.zeros(1, 2, 32, 32), image], 1))[0], y)
        steered = net(torch.cat([uniform_input([1, 2, 32, 32], 7), image], 1))[0]
    assert (steered - y).abs().max() > 1e-4


def test_a_scale_is_the_mean_of_the_pixels_inside() -> None:
    from models.networks.multiscale import half_size

    x = torch.arange(9.0).view(1, 1, 3, 3)
    # windows of 3x3 around the corners hold the 4 pixels of each corner
    assert half_size(x)[0, 0].tolist() == [[2.0, 3.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    ("netD", "options", "smallest"),
    [
        ("multiscale", {}, 47),
        ("multiscale", {"num_D": 3}, 93),
        ("multiscale", {"num_D": 1}, 24),
        ("ms3", {"n_layers_D": 2}, 45),
        ("pix2pixhd", {}, 3),
        ("sesame", {}, 3),
        ("sesam", {}, 23),
        ("sesam", {"n_layers_D": 4}, 31),
    ],
)
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_smallest_sizes(netD: str, options: dict[str, Any], smallest: int, norm: str) -> None:
    net: nn.Module = build_discriminator(netD, 6, condition_nc=3, ndf=2, norm=norm, **options)
    assert net.min_size == smallest
    outputs = net(uniform_input([1, 6, smallest, smallest]))
    sum((y if isinstance(y, Tensor) else y[-1]).square().mean() for y in outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    with pytest.raises((RuntimeError, ValueError)):
        net(uniform_input([1, 6, smallest - 1, smallest - 1]))


@pytest.mark.parametrize(
    ("netD", "options", "words"),
    [
        ("sesame", {"condition_nc": 0}, "--netD sesame: it needs the condition"),
        ("sesam", {"condition_nc": 0}, "--netD sesam: it needs the condition"),
        ("sesame", {"norm_D": "batch"}, "--norm_D batch of --netD sesame.*spectralinstance"),
        ("sesam", {"norm_D": "batch"}, "--norm_D batch: --netD sesam always"),
        ("basic", {"norm_D": "spectralinstance"}, "--norm_D spectralinstance: only --netD sesame"),
        ("multiscale", {"num_D": 0}, "--num_D 0"),
        ("pix2pixhd", {"n_layers_D": 0}, "--n_layers_D 0"),
        ("pixel", {"features": True}, "--netD pixel: it has no features"),
        ("ms", {}, "--netD 'ms': did you mean 'ms"),
        ("multscale", {}, "did you mean 'multiscale'"),
    ],
)
def test_what_cannot_be_built(netD: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        build_discriminator(netD, 6, **{"condition_nc": 3, **options})
    assert "\n" not in str(caught.value)


def test_norm_D_is_the_discriminators_own() -> None:
    net = build_discriminator("basic", 6, ndf=2, norm="batch", norm_D="instance")
    kinds = {kind for module in net.modules() for kind in type(module).__mro__}
    assert nn.InstanceNorm2d in kinds and nn.BatchNorm2d not in kinds
