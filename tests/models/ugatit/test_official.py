"""U-GAT-IT's weights of TensorFlow and Paddle: networks and losses against what the published programs gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import train
from models.official.entries import OfficialFile
from models.ugatit.networks import VARIANTS, UGATITGenerator, layer_instance_norm
from models.ugatit.official import check_constants, empty_networks, recognise_paddle, recognise_tensorflow
from models.ugatit_model import UGATITOptions
from options.schema import OptionError
from tests.official_golden import FOLDER, distance, golden, image, loaded, nchw, nhwc, stored

TF = {"light": golden("ugatit_tf", "light_96.npz"), "full": golden("ugatit_tf", "full_64.npz")}
SIZES = {"light": 96, "full": 64}
FILE = FOLDER / "some.index"


def tensorflow(kind: str) -> OfficialFile:
    shapes = dict(TF[kind][0]["variables"][f"{kind}_{SIZES[kind]}"])
    slot = {"generator_B/conv/conv2d/kernel/Adam": [7, 7, 3, 8], "beta1_power_1": []}
    found = recognise_tensorflow(stored({**shapes, **slot}), FILE, crop_size=SIZES[kind])
    assert found is not None and list(found.ignored) == list(slot)
    found.check()
    return found


def built(official: OfficialFile) -> dict[str, Any]:
    nets = loaded(official, empty_networks(official.options, official.own))
    for net in nets.values():
        net.eval()  # the import has made the power step that belongs to a pass
    return nets


@pytest.fixture(scope="module")
def light() -> dict[str, Any]:
    return built(tensorflow("light"))


def domain(kind: str, side: str) -> torch.Tensor:
    size = SIZES[kind]
    return nchw(image(f"domain_{side}", [1, size, size, 3]))


def against(outputs: dict[str, np.ndarray], name: str, array: np.ndarray, limit: float) -> None:
    if name not in outputs:
        name, array = f"{name}_every3", array[:, ::3, ::3]
    assert distance(array.reshape(outputs[name].shape), outputs[name]) < limit, name


@pytest.mark.parametrize("kind", ["light", "full"])
def test_generators_of_tensorflow_give_the_published_numbers(kind) -> None:
    nets, outputs = built(tensorflow(kind)), TF[kind][1]
    for way, source, target in (("A2B", "A", "B"), ("B2A", "B", "A")):
        with torch.no_grad():
            found = nets[f"G_{way}"](domain(kind, source))
        against(outputs, f"fake_{target}", nhwc(found.out), 5e-5)
        against(outputs, f"cam_{way}", found.cam_logit.numpy(), 5e-5)
        against(outputs, f"heat_{way}", nhwc(found.heat), 5e-5)


def test_second_passes_give_the_published_numbers(light) -> None:
    outputs = TF["light"][1]
    A, B = domain("light", "A"), domain("light", "B")
    with torch.no_grad():
        there, back = light["G_A2B"], light["G_B2A"]
        found = {"rec_A": back(there(A).out), "rec_B": there(back(B).out), "idt_A": back(A), "idt_B": there(B)}
    for name, made in found.items():
        against(outputs, name, nhwc(made.out), 3e-4)
        if name.startswith("idt"):
            against(outputs, f"cam_{name}", made.cam_logit.numpy(), 3e-4)


@pytest.mark.parametrize("judge", ["LA", "GA", "LB", "GB"])
def test_discriminators_of_tensorflow_give_the_published_numbers(light, judge) -> None:
    outputs, side = TF["light"][1], judge[1]
    with torch.no_grad():
        fakes = {"A": light["G_B2A"](domain("light", "B")).out, "B": light["G_A2B"](domain("light", "A")).out}
        for what, picture in (("real", domain("light", side)), ("fake", fakes[side])):
            found = light[f"D_{judge}"](picture)
            against(outputs, f"D{judge}_{what}_logit", nhwc(found.out), 2e-5)
            against(outputs, f"D{judge}_{what}_cam", found.cam_logit.numpy(), 2e-5)
            against(outputs, f"D{judge}_{what}_heat", nhwc(found.heat), 2e-5)


def test_the_imported_vector_is_that_after_one_pass(light) -> None:
    after = TF["light"][1]["u_DLA_conv_0_after_one_pass"]
    assert distance(light["D_LA"].state_dict()["model.1.weight_u"].numpy(), after.ravel()) < 1e-6


def test_losses_of_tensorflow(light) -> None:
    flags = [f"--{key}={value}" for key, value in tensorflow("light").options.items()]
    model = train.build_model([*flags, "--gpu_ids=-1"], dataset_size=1)
    for name, net in light.items():
        model.networks[name].load_state_dict(net.state_dict())
    paths = {"A_paths": ["a.png"], "B_paths": ["b.png"]}
    model.set_input({"A": domain("light", "A"), "B": domain("light", "B"), **paths})
    model._made = {
        "fake_B": model.networks["G_A2B"](model.real["A"]),
        "fake_A": model.networks["G_B2A"](model.real["B"]),
    }
    _, losses = model.generator_losses()
    wanted = TF["light"][0]["losses"]
    for ours, theirs in (("G_cycle", "cycle"), ("G_idt", "idt_loss"), ("G_cam", "cam_loss")):
        total = wanted[f"{theirs}_A"] + wanted[f"{theirs}_B"]
        assert losses[ours].item() == pytest.approx(total, rel=1e-5), ours


# --- Paddle -----------------------------------------------------------------------------------------------------------


def paddle(program: str, *only: str) -> OfficialFile:
    index, _ = golden("ugatit_paddle", f"{program}_outputs.npz")
    networks = index["keys"][program]
    shapes = {f"{net}.{key}": shape for net in only for key, shape in networks[net].items()}
    fixed = {"scale": 1.0, "bias": 0.0} if program == "ppgan" else None
    found = recognise_paddle(stored(shapes, fixed), FILE, crop_size=64)
    assert found is not None
    found.check()
    check_constants(found)
    return found


@pytest.mark.parametrize(("program", "limit"), [("ppgan", 5e-5), ("port", 5e-4)])
@pytest.mark.parametrize(("network", "light"), [("genA2B", True), ("genB2A", False)])
def test_generators_of_paddle_give_the_published_numbers(program, limit, network, light) -> None:
    official = paddle(program, network)
    assert official.options["light"] is light and official.options["test_direction"] == f"{network[3]}to{network[5]}"
    assert official.options["ugatit_variant"] == ("pytorch" if program == "ppgan" else "paddle")
    _, outputs = golden("ugatit_paddle", f"{program}_outputs.npz")
    with torch.no_grad():
        found = built(official)[f"G_{network[3:]}"](torch.from_numpy(image("domain_A", [1, 3, 64, 64])))
    for name, tensor in (("out", found.out), ("cam", found.cam_logit), ("heat", found.heat)):
        against(outputs, f"{network}_{name}", tensor.numpy(), limit if name == "out" else 5e-5)


@pytest.mark.parametrize("program", ["ppgan", "port"])
@pytest.mark.parametrize("network", ["disGA", "disLA"])
def test_discriminators_of_paddle_give_the_published_numbers(program, network) -> None:
    _, outputs = golden("ugatit_paddle", f"{program}_outputs.npz")
    official = paddle(program, "genA2B", network)
    net = built(official)[f"D_{network[3:]}"]
    net.train(program == "ppgan")  # the port's step was made by the import
    with torch.no_grad():
        found = net(torch.from_numpy(image("domain_A", [1, 3, 96, 96])))
    for name, tensor in (("logit", found.out), ("cam", found.cam_logit), ("heat", found.heat)):
        against(outputs, f"{network}_train_{name}", tensor.numpy(), 2e-5)


def test_norms_that_paddlegan_would_not_have_are_refused() -> None:
    index, _ = golden("ugatit_paddle", "ppgan_outputs.npz")
    shapes = {f"genA2B.{key}": shape for key, shape in index["keys"]["ppgan"]["genA2B"].items()}
    found = recognise_paddle(stored(shapes, {"scale": 1.0, "bias": 0.5}), FILE)
    assert found is not None
    with pytest.raises(ValueError, match=r"genA2B.DownBlock.2.bias is not 0 everywhere"):
        check_constants(found)


# --- names and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("generator_A/CAM_logit/bias", [2], "generator_A/CAM_logit/bias is 2, where this network"),
        ("generator_A/MLP/linear_0/dense/kernel", [64, 32], "generator_A/MLP/linear_0/dense/kernel is 64x32"),
        ("generator_B/MLP/linear_0/dense/kernel", [96, 32], "FC.0.weight has 96 columns"),
        ("generator_B/conv/conv2d/kernel", [7, 7, 3, 0], "DownBlock.1.weight is 0x3x7x7"),
        ("discriminator_B/local/conv_last/u", [1, 3], "discriminator_B/local/conv_last/u is 1x3"),
        ("generator_B/style/kernel", [1, 1], "generator_B/style/kernel belongs to no network"),
    ],
)
def test_the_first_tensor_that_is_off_is_named(name, shape, message) -> None:
    shapes = {**dict(TF["light"][0]["variables"]["light_96"]), name: shape}
    with pytest.raises(ValueError) as caught:
        found = recognise_tensorflow(stored(shapes), FILE)
        assert found is not None
        found.check()
    assert message in str(caught.value)


def test_the_default_variant_has_the_published_keys_and_others_their_own() -> None:
    keys = {
        name: set(UGATITGenerator(ngf=2, n_res=1, variant=variant).state_dict()) for name, variant in VARIANTS.items()
    }
    assert {"gap_fc.weight", "gmp_fc.weight", "UpBlock2.3.rho"} <= keys["pytorch"]
    assert not any(key.endswith(".bias") and key != "conv1x1.bias" for key in keys["pytorch"])
    assert {"cam_fc.weight", "cam_fc.bias", "FC.0.bias", "DownBlock.2.weight"} <= keys["tensorflow"]
    assert {"gap_fc.weight", "UpBlock2.4.rho", "UpBlock2.9.rho", "DownBlock.2.bias"} <= keys["paddle"]


def test_biased_variances_are_those_of_layer_and_instance_norm() -> None:
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, nothing = torch.ones(1, 3, 1, 1, dtype=torch.float64), torch.zeros(1, 3, 1, 1, dtype=torch.float64)
    instance = layer_instance_norm(x, one, one, nothing, unbiased=False)
    layer = layer_instance_norm(x, nothing, one, nothing, unbiased=False)
    torch.testing.assert_close(instance, F.instance_norm(x))
    torch.testing.assert_close(layer, F.layer_norm(x, x.shape[1:]))


def test_biases_of_the_mlp_are_not_asked_for_twice() -> None:
    with pytest.raises(OptionError, match="leave --mlp_bias out"):
        UGATITOptions(ugatit_variant="tensorflow", mlp_bias=True)
