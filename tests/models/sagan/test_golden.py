"""SAGAN's networks, losses and gradients equal those of the reference program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.losses.gan import GANLoss
from models.sagan.h5 import layout
from models.sagan.networks import SAGANDiscriminator, SAGANGenerator
from models.sagan.spectral import SNConv2d, SNEmbedding, SNLinear
from tests.sagan_golden import ARRAYS, INDEX, differs, golden_inputs, golden_networks, h5_values

HINGE = GANLoss("hinge")
X = golden_inputs()
NAMES_G = {f"block-{number}": f"block{number}" for number in range(1, 6)} | {"attn": "attn", "conv": "conv"}
NAMES_D = {f"block-{number}": f"block{number}" for number in range(1, 7)} | {"attn": "attn", "affine": "affine"}


def trace(net: nn.Module, names: Mapping[str, str], *inputs: Tensor) -> dict[str, Tensor]:
    """Outputs of some modules by their golden name, ``in:`` that of the last two layers' input, and ``out``."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, out: found.update({name: out, f"in:{name}": args[0]})

    hooks = [net.get_submodule(module).register_forward_hook(keep(name)) for name, module in names.items()]
    try:
        with torch.no_grad():
            found["out"] = net(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def trace_G(G: nn.Module) -> dict[str, Tensor]:
    found = trace(G, NAMES_G, X["z"], X["y_fake"])
    return found | {"affine": found["in:block-1"], "bn_relu": found["in:conv"]}


def trace_D(D: nn.Module) -> dict[str, Tensor]:
    found = trace(D, {**NAMES_D, "embedding": "projection"}, X["x_real"], X["y_real"])
    phi = found["in:affine"]
    return found | {"pooled": phi, "projection": (phi * found["embedding"]).sum(1, keepdim=True)}


def all_close(found: Mapping[str, Tensor], stats: Mapping[str, Any], tolerance: float) -> None:
    off = {name: differs(found[name], entry) for name, entry in stats.items()}
    assert off and max(off.values()) < tolerance, off


def equal_array(found: Tensor, name: str, tolerance: float) -> None:
    want = torch.from_numpy(ARRAYS[name])
    assert found.shape == want.shape
    assert (found - want).abs().max() < tolerance * want.abs().max()


def equal_scores(found: Tensor, name: str) -> None:
    assert found.shape == (2, 1)
    assert found[:, 0].tolist() == pytest.approx(INDEX[name], rel=1e-4)


def by_published_name(networks: Mapping[str, nn.Module], of: str) -> dict[str, Tensor]:
    """The tensors of ``buffers`` or ``grads``, as the file names and shapes them."""
    found = {}
    for entry in layout(networks):
        net = networks[entry.network]
        if entry.trained and of == "grads":
            gradient = net.get_parameter(entry.key).grad
            assert gradient is not None
            found[entry.name] = torch.from_numpy(entry.write(gradient))
        elif not entry.trained and of == "buffers":
            found[entry.name] = torch.from_numpy(entry.write(net.get_buffer(entry.key)))
    return found


def equal_gradients(networks: Mapping[str, nn.Module], key: str, tolerance: float) -> None:
    """But for what is rounding noise, and attention's gamma in G, where large terms cancel."""
    found, stats = by_published_name(networks, "grads"), INDEX[key]
    assert found.keys() == stats.keys()
    gamma = {name: stats[name] for name in stats if name == "generator/attn/gamma"}
    noise = {name for name in stats if stats[name]["l2"] < 1e-4}
    all_close(found, {name: stats[name] for name in stats if name not in noise | gamma.keys()}, tolerance)
    for name in gamma:
        assert found[name].item() == pytest.approx(gamma[name]["sum"], rel=5e-2)
    assert all(found[name].norm() < 1e-4 for name in noise)


def test_the_rule_that_fills_the_weights() -> None:
    values = {name: torch.from_numpy(value) for name, value in h5_values().items()}
    all_close(values, INDEX["weights"], 1e-6)
    equal_array(X["z"], "z", 1e-7)


# --- test mode --------------------------------------------------------------------------------------------------------


def test_generator_in_test_mode() -> None:
    G, _ = golden_networks()
    found = trace_G(G.eval())
    all_close(found, {**INDEX["g_test_trace"], "out": INDEX["g_test"]}, 1e-4)
    for name, key in (("affine", "affine"), ("block-1", "block1")):
        equal_array(found[name], f"g_test_{key}", 1e-4)
    for name, key in (("block-3", "block3"), ("attn", "attn")):
        equal_array(found[name][:1], f"g_test_{key}", 1e-4)
    equal_array(found["out"][0], "g_test_sample0", 1e-4)


def test_discriminator_in_test_mode() -> None:
    _, D = golden_networks()
    found = trace_D(D.eval())
    all_close(found, INDEX["d_test_trace"], 1e-4)
    equal_scores(found["out"], "d_test")
    for name, key in (("pooled", "pooled"), ("embedding", "embedding"), ("block-6", "block6")):
        equal_array(found[name], f"d_test_{key}", 1e-4)


def test_test_mode_leaves_the_buffers_alone() -> None:
    networks = golden_networks()
    before = [{key: value.clone() for key, value in net.named_buffers()} for net in networks]
    trace_G(networks[0].eval())
    trace_D(networks[1].eval())
    for net, kept in zip(networks, before):
        assert kept and all(torch.equal(value, kept[key]) for key, value in net.named_buffers())


def test_classes_and_their_mixtures() -> None:
    """The reference's frames go from class ``to`` towards ``from``: frame i has weight i/4 of ``from``."""
    G, morph = golden_networks()[0].eval(), INDEX["morph"]
    with torch.no_grad():
        for number, frame in enumerate(morph["frames"]):
            weights = torch.zeros(2, 5)
            weights[:, morph["from"]], weights[:, morph["to"]] = frame["weight_from"], frame["weight_to"]
            images = G(X["z"], weights)
            assert differs(images, frame) < 1e-4
            want = torch.from_numpy(ARRAYS["morph_sample0_stride4"][number])
            assert (images[0, :, ::4, ::4] - want).abs().max() < 1e-4
        for label in (1, 3):
            pure = G(X["z"], torch.tensor([label, label]))
            assert differs(pure, morph[f"pure_class_{label}"]) < 1e-4


# --- train mode -------------------------------------------------------------------------------------------------------


def test_generator_in_train_mode() -> None:
    G, _ = golden_networks()
    found = trace_G(G)
    all_close(found, {**INDEX["g_train_trace"], "out": INDEX["g_train"]}, 5e-4)
    equal_array(found["out"][0], "g_train_sample0", 5e-4)
    all_close(by_published_name({"G": G}, "buffers"), INDEX["g_buffers_after_train"], 1e-4)


def test_discriminator_in_train_mode_twice() -> None:
    _, D = golden_networks()
    with torch.no_grad():
        equal_scores(D(X["x_real"], X["y_real"]), "d_train")
        all_close(by_published_name({"D": D}, "buffers"), INDEX["d_buffers_after_train"], 1e-4)
        equal_scores(D(X["x_real"], X["y_real"]), "d_train_second_forward")


def test_loss_of_the_generator_and_its_gradients() -> None:
    G, D = golden_networks()
    scores = D(G(X["z"], X["y_fake"]), X["y_fake"])
    loss = HINGE(scores, True, for_discriminator=False)
    equal_scores(scores, "p_fake_in_loss_gen")
    assert loss.item() == pytest.approx(INDEX["loss_gen"], rel=1e-4)
    loss.backward()
    equal_gradients({"G": G}, "grad_gen", 5e-3)


def test_loss_of_the_discriminator_and_its_gradients() -> None:
    """The real images go first, and move the power iterations that the fakes then meet."""
    G, D = golden_networks()
    with torch.no_grad():
        fake = G(X["z"], X["y_fake"])
    real_scores = D(X["x_real"], X["y_real"])
    fake_scores = D(fake, X["y_fake"])
    equal_scores(real_scores, "p_real_in_loss_dis")
    equal_scores(fake_scores, "p_fake_in_loss_dis")
    loss = HINGE(real_scores, True) + HINGE(fake_scores, False)
    assert loss.item() == pytest.approx(INDEX["loss_dis"], rel=1e-4)
    loss.backward()
    equal_gradients({"D": D}, "grad_dis", 1e-3)


# --- pieces -----------------------------------------------------------------------------------------------------------


def test_hinge_losses() -> None:
    golden = INDEX["hinge"]
    real, fake = (torch.tensor(golden[key]) for key in ("p_real", "p_fake"))
    assert (HINGE(real, True) + HINGE(fake, False)).item() == pytest.approx(golden["loss_dis"], abs=1e-6)
    assert HINGE(fake, True, for_discriminator=False).item() == pytest.approx(golden["loss_gen"], abs=1e-6)


def fills(weight: Tensor, half_width: float) -> None:
    """Uniform between -a and a: with this many numbers the largest is near a, and the variance near a^2 / 3."""
    assert 0.998 * half_width < weight.abs().max().item() <= half_width * (1 + 1e-6)
    assert weight.var().item() == pytest.approx(half_width**2 / 3, rel=0.03)


def test_initial_half_widths() -> None:
    torch.manual_seed(0)
    golden = INDEX["glorot"]
    fills(SNConv2d(64, 32, 3).weight, golden["conv3x3 64->32"])
    fills(SNLinear(128, 16384).weight, golden["affine 128->16384"])
    fills(SNEmbedding(1000, 1024).weight, golden["embedding 1000x1024"])


def test_initial_weights_of_the_networks() -> None:
    """The 3x3 convolutions of blocks have the gain sqrt(2), what else there is the gain 1; u is not normalised."""
    torch.manual_seed(0)
    G, D = SAGANGenerator(ngf=16, nz=32, num_classes=10), SAGANDiscriminator(ndf=16, num_classes=10)
    for net in (G, D):
        for name, module in net.named_modules():
            if isinstance(module, (SNConv2d, SNLinear)) and module.weight.numel() > 4000:
                gain = math.sqrt(2) if name.startswith("block") and module.weight.shape[-1] == 3 else 1.0
                fan = module.weight[0].numel() + module.weight[:, 0].numel()
                fills(module.weight, gain * math.sqrt(6 / fan))
    u = torch.cat([value for net in (G, D) for key, value in net.named_buffers() if key.endswith("u")])
    assert u.std().item() == pytest.approx(1, abs=0.05)
    assert G.block1.ccbn1.gamma.eq(1).all() and G.block1.ccbn1.beta.eq(0).all()
    assert all(value.eq(0).all() for net in (G, D) for key, value in net.named_parameters() if key.endswith("bias"))
    assert G.attn.gamma.item() == D.attn.gamma.item() == 0
