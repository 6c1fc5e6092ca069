"""ATME's U-Net equals the published one; its variants, precisions and messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.atme.unet import HEAD_NAMES, Block, ClampInward, DDMUNet, FourierEmbedding, SinusoidalEmbedding, WSConv
from models.atme.w_block import WBlock
from models.networks.factory import check_image_size
from models.networks.init import init_weights
from tests.golden_rules import fill, load_golden, structure, uniform_input

GOLDEN, ARRAYS = load_golden("atme/golden_atme")
UNETS = [name for name in GOLDEN["networks"] if name.startswith("atme_unet")]
SMALL = {"dim": 16, "init_dim": 16, "dim_mults": (1, 2, 4), "groups": 4}
TINY = {"dim": 8, "init_dim": 8, "dim_mults": (1, 2), "groups": 2}


def golden_unet(name: str) -> nn.Module:
    note = GOLDEN["networks"][name]["note"]
    if not note.startswith("{"):  # the pair with opposite conditioning is the small network
        note = GOLDEN["networks"]["atme_unet_small"]["note"]
    options = json.loads(note)
    return fill(DDMUNet(groups=options.pop("resnet_block_groups"), **options)).eval()


def golden_inputs(name: str) -> tuple[Tensor, Tensor]:
    image, w_map = (entry["shape"] for entry in GOLDEN["networks"][name]["inputs"])
    if "pm0.9" in name:
        return uniform_input(image), torch.tensor([-0.9, 0.9]).view(2, 1, 1, 1).expand(w_map)
    return uniform_input(image), uniform_input(w_map, seed=1235)


def assert_stored(y: Tensor, npz_key: str, stride: int, std: float) -> None:
    want = torch.from_numpy(ARRAYS[npz_key])
    assert (y[..., ::stride, ::stride] - want).abs().max() <= 2e-4 * std


def assert_statistics(y: Tensor, want: dict[str, Any]) -> None:
    std = want["std"]
    assert list(y.shape) == want["shape"]
    assert y.mean().item() == pytest.approx(want["mean"], abs=2e-4 * std)
    assert y.std(correction=0).item() == pytest.approx(std, rel=2e-4)
    assert y.flatten()[:6].tolist() == pytest.approx(want["first"], abs=2e-4 * std)


def tiny(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return DDMUNet(**{**TINY, **options})


def output_and_gradients(
    net: nn.Module, x: Tensor, w_map: Tensor, half: torch.dtype | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    net.zero_grad()
    with torch.autocast("cpu", dtype=half, enabled=half is not None):
        y = net(x, w_map)
    y.float().square().mean().backward()
    return y.detach(), {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


# --- the published network --------------------------------------------------------------------------------------------


def test_golden_networks() -> None:
    assert len(UNETS) == 5 and set(GOLDEN["networks"]) - set(UNETS) == {"atme_wblock", "atme_forward_small"}


@pytest.mark.parametrize("name", UNETS)
def test_equals_published_network(name: str) -> None:
    entry = GOLDEN["networks"][name]
    net = golden_unet(name)
    assert structure(net) == entry["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == entry["n_params"]

    seen: dict[str, Tensor] = {}
    for tap in entry["taps"]:
        net.get_submodule(tap).register_forward_hook(lambda _, inputs, out, tap=tap: seen.update({tap: out}))
    net.final_conv[-2].register_forward_hook(lambda _, inputs, out: seen.update(pretanh=out))
    with torch.no_grad():
        y = net(*golden_inputs(name))
    assert_stored(y, entry["npz_key"], entry["stored_stride_hw"], entry["std"])
    assert y.abs().max().item() == pytest.approx(entry["absmax"], abs=1e-4)
    for tap, want in {**entry["taps"], "pretanh": entry["pretanh"]}.items():
        assert_statistics(seen[tap], want)


def test_chain_of_both_networks() -> None:
    w_block, net = fill(WBlock()).eval(), golden_unet("atme_unet_small")
    entry = GOLDEN["networks"]["atme_forward_small"]
    real = uniform_input([1, 3, 256, 256])
    with torch.no_grad():
        w_map = w_block(uniform_input([1, 1, 30, 30], seed=1236), (256, 256))
        noisy = real * (1 + w_map)
        fake = net(noisy, w_map)
    for part, y, stride in (("W", w_map, 8), ("noisy", noisy, 8), ("fake", fake, 4)):
        assert_statistics(y, entry[part])
        assert_stored(y, f"atme_forward_small_{part}", stride, entry[part]["std"])


@pytest.mark.parametrize(("name", "effect"), [("atme_unet_small", 0.04), ("atme_unet_default", 0.28)])
def test_opposite_means_differ_as_published(name: str, effect: float) -> None:
    net = golden_unet(name)
    x = uniform_input([1, 3, 64, 64]).expand(2, -1, -1, -1)
    with torch.no_grad():
        low, high = net(x, torch.tensor([-0.9, 0.9]).view(2, 1, 1, 1))
    assert ((high - low).abs().max() / low.std()).item() == pytest.approx(effect, abs=0.005)


def test_parameters_of_each_part() -> None:
    with torch.device("meta"):
        net = DDMUNet()

    def counts(*names: str) -> list[int]:
        return [sum(p.numel() for p in net.get_submodule(name).parameters()) for name in names]

    assert counts("init_conv", "time_mlp") == [9_472, 82_432]
    assert counts(*(f"downs.{level}" for level in range(4))) == [263_424, 279_872, 920_192, 3_937_536]
    assert counts("mid_block1", "mid_attn", "mid_block2") == [4_984_832, 263_168, 4_984_832]
    assert counts(*(f"ups.{level}" for level in range(4))) == [14_560_000, 3_839_360, 1_059_520, 374_144]
    assert counts("final_res_block", "final_conv") == [152_128, 74_307]


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "multiple", "smallest"),
    [
        ({}, 2, 2),
        ({"init_dim": 12}, 2, 2),
        ({"init_dim": 4, "dim_mults": (3, 1, 2)}, 4, 4),
        ({"dim_mults": (2,)}, 1, 1),
        ({"groups": 8}, 2, 4),  # one channel a group: a single pixel has no variance
        ({"in_channels": 1, "out_channels": 5}, 2, 2),
        ({"learned_sinusoidal_cond": True, "dim": 2, "init_dim": 2}, 2, 4),
    ],
)
def test_trains_at_its_smallest_size_with_one_image(options: dict[str, Any], multiple: int, smallest: int) -> None:
    net = tiny(**options)
    assert (net.size_multiple, net.min_size) == (multiple, smallest)
    check_image_size(net, smallest, smallest)
    x = uniform_input([1, options.get("in_channels", 3), smallest, smallest + multiple])
    y, gradients = output_and_gradients(net, x, uniform_input([1, 1, 3, 2]))
    assert y.shape == (1, options.get("out_channels", 3), *x.shape[2:])
    assert set(gradients) == {name for name, _ in net.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    with pytest.raises(ValueError, match="--crop_size"):
        check_image_size(net, smallest - 1, smallest)


def test_tail_joins_the_first_convolution() -> None:
    net = tiny(init_dim=12)
    assert net.final_res_block.block1.proj.weight.shape == (8, 24, 3, 3)
    assert net.downs[0][0].block1.proj.weight.shape == (12, 12, 3, 3)


def test_default_size_rule() -> None:
    with torch.device("meta"):
        net = DDMUNet()
    assert (net.size_multiple, net.min_size) == (8, 8)
    with pytest.raises(ValueError, match=r"multiple of 8 .*height 36: nearest are 32 and 40"):
        check_image_size(net, 36, 64)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_images_of_a_batch_do_not_meet(memory_format: torch.memory_format) -> None:
    net = golden_unet("atme_unet_small").to(memory_format=memory_format)
    x, w_map = uniform_input([2, 3, 16, 24]).to(memory_format=memory_format), uniform_input([2, 1, 4, 4], seed=1)
    with torch.no_grad():
        both = net(x, w_map)
        alone = [golden_unet("atme_unet_small")(x[i : i + 1].contiguous(), w_map[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(alone), rtol=0, atol=3e-5)


# --- conditioning -----------------------------------------------------------------------------------------------------


def test_gradient_reaches_w_through_the_image_and_through_the_mean() -> None:
    w_block, net = fill(WBlock()).double(), golden_unet("atme_unet_small").double()
    real, maps = uniform_input([1, 3, 32, 32]).double(), uniform_input([1, 1, 3, 3], seed=1).double()

    def gradient(through_image: bool, through_mean: bool) -> Tensor:
        w_block.zero_grad()
        w_map = w_block(maps, (32, 32))
        image_map, mean_map = (w_map if on else w_map.detach() for on in (through_image, through_mean))
        (net(real * (1 + image_map), mean_map) - real).abs().mean().backward()
        return w_block.model[6].weight.grad.clone()

    image, mean, both = gradient(True, False), gradient(False, True), gradient(True, True)
    assert image.norm() > 1e-3 and mean.norm() > 1e-5
    torch.testing.assert_close(both - image, mean, rtol=1e-6, atol=0)


def test_time_scale_multiplies_the_mean() -> None:
    plain, scaled = (fill(DDMUNet(**SMALL, time_scale=scale)) for scale in (1.0, 1000.0))
    x, w_map = uniform_input([1, 3, 16, 16]), torch.full((1, 1, 4, 4), 0.3)
    with torch.no_grad():
        torch.testing.assert_close(scaled(x, w_map), plain(x, torch.full((1, 1, 4, 4), 300.0)), rtol=0, atol=1e-4)
        assert not torch.allclose(scaled(x, w_map), plain(x, w_map), atol=1e-3)


def test_sinusoids() -> None:
    got = SinusoidalEmbedding(6)(torch.tensor([0.5, -2.0]))
    angles = torch.tensor([[0.5], [-2.0]]) * torch.tensor([1.0, 0.01, 0.0001])  # 10000 ** (0, -1/2, -1)
    torch.testing.assert_close(got, torch.cat((angles.sin(), angles.cos()), dim=1))


def test_fourier_features() -> None:
    embedding = FourierEmbedding(4, trainable=True)
    with torch.no_grad():
        embedding.weights.copy_(torch.tensor([0.25, 1.0]))
    got = embedding(torch.tensor([1.0, 0.5]))
    root = 0.5**0.5
    want = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0], [0.5, root, 0.0, root, -1.0]])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("learned", [True, False])
def test_random_features_stay_frozen_whoever_thaws_them(learned: bool) -> None:
    net = tiny(random_fourier_features=True, learned_sinusoidal_cond=learned)
    assert not net.time_mlp[0].weights.requires_grad
    net.requires_grad_(True)
    _, gradients = output_and_gradients(net, uniform_input([1, 3, 8, 8]), torch.ones(1, 1, 2, 2))
    assert "time_mlp.0.weights" not in gradients and "time_mlp.1.weight" in gradients
    _, gradients = output_and_gradients(
        tiny(learned_sinusoidal_cond=True), uniform_input([1, 3, 8, 8]), torch.ones(1, 1, 2, 2)
    )
    assert gradients["time_mlp.0.weights"].any()


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEAD_NAMES)
def test_head(head: str) -> None:
    net = tiny(head=head)
    conv = net.final_conv[-2]
    nn.init.constant_(conv.bias, 3.0)
    x, w_map = uniform_input([1, 3, 8, 8]), torch.zeros(1, 1, 2, 2)
    inputs: list[Tensor] = []
    conv.register_forward_hook(lambda _, given, out: inputs.append(out))
    y, gradients = output_and_gradients(net, x, w_map)
    bounded = inputs[0].clamp(-1, 1) if head == "conv_clamp" else inputs[0].tanh()
    assert torch.equal(y, bounded) and inputs[0].max() > 1
    assert isinstance(net.final_conv[0], nn.Conv2d) == (head != "resnet")
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["init_conv.weight"].any()  # also where every pixel is outside the range


def test_clamp_keeps_gradients_that_lead_back() -> None:
    x = torch.tensor([-3.0, -3.0, -0.5, -0.5, 0.5, 2.0, 2.0], requires_grad=True)
    y = ClampInward()(x)
    y.backward(torch.tensor([1.0, -1.0, 1.0, -1.0, 7.0, 1.0, -1.0]))
    assert y.tolist() == [-1, -1, -0.5, -0.5, 0.5, 1, 1]
    assert x.grad is not None and x.grad.tolist() == [0, -1, 1, -1, 7, 1, 0]


# --- precision, memory, initialisation --------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "noise"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_half_precision_is_near_float32(dtype: torch.dtype, noise: float, memory_format: torch.memory_format) -> None:
    net = golden_unet("atme_unet_small").to(memory_format=memory_format)
    x, w_map = uniform_input([2, 3, 32, 48]).to(memory_format=memory_format), uniform_input([2, 1, 8, 8], seed=1235)
    want, want_gradients = output_and_gradients(net, x, w_map)
    got, gradients = output_and_gradients(net, x, w_map, half=dtype)
    assert (got.float() - want).std() < noise * want.std()
    if dtype == torch.bfloat16:  # float16 would need a loss scaler for its gradients
        for name in ("init_conv.weight", "downs.0.0.block1.proj.weight", "final_conv.1.weight"):
            assert (gradients[name] - want_gradients[name]).norm() < 2 * noise * want_gradients[name].norm()


@pytest.mark.parametrize("head", HEAD_NAMES)
def test_checkpointing_computes_twice_and_gives_the_same(head: str) -> None:
    plain, thrifty = tiny(head=head), tiny(head=head, checkpointing=True)
    x, w_map = uniform_input([2, 3, 8, 12]), uniform_input([2, 1, 3, 3], seed=1)
    calls: list[nn.Module] = []
    for net in (plain, thrifty):
        for block in (module for module in net.modules() if isinstance(module, Block)):
            block.register_forward_pre_hook(lambda module, inputs: calls.append(module))
    want, want_gradients = output_and_gradients(plain, x, w_map)
    once = len(calls)
    got, gradients = output_and_gradients(thrifty, x, w_map)
    assert len(calls) == 3 * once
    assert torch.equal(got, want) and list(gradients) == list(want_gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, want_gradients[name], rtol=1e-5, atol=1e-8)
    with torch.no_grad():
        thrifty(x, w_map)
    assert len(calls) == 4 * once


def test_initialisation_fills_convolutions_and_linear_layers_only() -> None:
    torch.manual_seed(0)
    net = fill(DDMUNet(**SMALL, learned_sinusoidal_cond=True))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    init_weights(net, "normal", 0.02)
    filled = 0
    for name, module in net.named_modules():
        for key, value in module.named_parameters(recurse=False):
            if not isinstance(module, nn.Conv2d | nn.Linear):
                assert torch.equal(value, before[f"{name}.{key}"])
            elif key == "bias":
                assert not value.any()
            else:
                filled += isinstance(module, WSConv)
                assert value.std().item() == pytest.approx(0.02, rel=0.3)
    assert filled == 32  # 6 residual blocks down, 6 up, 2 in the middle, 2 at the end; two convolutions each


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 7, "init_dim": 14, "groups": 7}, "^--dim 7: .*even .*choose 8, or .*--learned_sinusoidal_cond"),
        ({"dim": 2, "init_dim": 2}, "^--dim 2: .*at least 4; choose 4"),
        ({"dim": 0}, "^--dim 0: "),
        ({"dim": 12, "groups": 8}, "^--dim 12: .*--groups 8 .*such as 8, or --groups 4$"),
        (
            {"init_dim": 36, "dim": 32, "groups": 8},
            "^--init_dim 36: .*such as 32, or --groups 4$",
        ),
        ({"init_dim": 0}, "^--init_dim 0: "),
        ({"dim_mults": ()}, "^--dim_mults '': .*e.g. 1,2,4,8"),
        ({"dim_mults": (1, 0)}, "^--dim_mults '1,0': "),
        ({"groups": 0}, "^--groups 0: "),
        ({"time_dim_mult": 0}, "^--time_dim_mult 0: "),
        ({"learned_sinusoidal_cond": True, "learned_sinusoidal_dim": 15}, "^--learned_sinusoidal_dim 15: .*choose 16$"),
        ({"random_fourier_features": True, "learned_sinusoidal_dim": 0}, "^--learned_sinusoidal_dim 0: .*choose 2$"),
        ({"head": "resnt"}, "--atme_head 'resnt': did you mean 'resnet'"),
    ],
)
def test_messages(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tiny(**options)
    assert "\n" not in str(caught.value)


def test_options_that_are_not_used_are_not_judged() -> None:
    assert tiny(learned_sinusoidal_dim=15).time_mlp[1].in_features == 8
    assert tiny(dim=7, init_dim=7, groups=7, random_fourier_features=True).time_mlp[1].in_features == 17
