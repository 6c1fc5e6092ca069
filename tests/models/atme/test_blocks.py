"""The building blocks of ATME's networks against their formulas, written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.atme.unet import (
    Attention,
    AttentionResidual,
    Block,
    ChannelNorm,
    Downsample,
    LinearAttention,
    ResnetBlock,
    Upsample,
    WSConv,
)
from tests.golden_rules import fill, uniform_input

EPS = 1e-5


def standardised(weight: Tensor) -> Tensor:
    mean = weight.mean((1, 2, 3), keepdim=True)
    variance = (weight - mean).square().mean((1, 2, 3), keepdim=True)
    return (weight - mean) / (variance + EPS).sqrt()


def channel_norm(x: Tensor, g: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(1, keepdim=True) + EPS).sqrt() * g


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weight_standardisation(dtype: torch.dtype) -> None:
    conv = fill(WSConv(3, 4)).to(dtype)
    with torch.no_grad():
        conv.weight[0] *= 1e-3  # a variance below eps
    x = uniform_input([2, 3, 5, 6]).to(dtype)
    torch.testing.assert_close(conv(x), F.conv2d(x, standardised(conv.weight), conv.bias, padding=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_standardised_in_float32_with_the_same_eps(dtype: torch.dtype) -> None:
    conv = fill(WSConv(3, 4))
    with torch.no_grad():
        conv.weight.mul_(4e-3).add_(1)  # in half precision nearly all weights of a filter would be 1
    x = uniform_input([1, 3, 5, 6])
    with torch.autocast("cpu", dtype=dtype):
        got = conv(x)
    want = F.conv2d(x, standardised(conv.weight.double()).float(), conv.bias, padding=1)
    assert got.dtype == dtype and want.std() > 0.05
    assert (got - want).abs().max() < 0.02 * want.std()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 3])
def test_residual_block(batch: int, memory_format: torch.memory_format) -> None:
    block = fill(ResnetBlock(6, 8, time_dim=5, groups=4))
    x, time = uniform_input([batch, 6, 4, 6]), uniform_input([batch, 5], seed=1)
    scale, shift = F.linear(F.silu(time), block.mlp[1].weight, block.mlp[1].bias)[:, :, None, None].chunk(2, dim=1)
    first, second = block.block1, block.block2
    assert not torch.allclose(scale[:1], scale[-1:]) or batch == 1
    h = F.conv2d(x, standardised(first.proj.weight), first.proj.bias, padding=1)
    h = F.silu(F.group_norm(h, 4, first.norm.weight, first.norm.bias) * (scale + 1) + shift)
    h = F.conv2d(h, standardised(second.proj.weight), second.proj.bias, padding=1)
    h = F.silu(F.group_norm(h, 4, second.norm.weight, second.norm.bias))
    want = h + F.conv2d(x, block.res_conv.weight, block.res_conv.bias)
    block.to(memory_format=memory_format)
    got = block(x.to(memory_format=memory_format), time)
    assert got.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_residual_block_without_time_and_without_a_change_of_width() -> None:
    block = fill(ResnetBlock(8, 8, groups=2))
    assert not [key for key in block.state_dict() if key.startswith(("mlp", "res_conv"))]
    x = uniform_input([2, 8, 4, 4])
    torch.testing.assert_close(block(x), x + block.block2(block.block1(x)))


def test_gradients_of_a_block() -> None:
    block = fill(Block(2, 4, groups=2)).double()
    x, scale, shift = (uniform_input(shape).double().requires_grad_() for shape in ([2, 2, 3, 3], [2, 4], [2, 4]))
    for formatted in (x, x.detach().to(memory_format=torch.channels_last).requires_grad_()):
        assert torch.autograd.gradcheck(lambda *inputs: block(inputs[0], inputs[1:]), (formatted, scale, shift))


def test_downsample_orders_channels_by_channel_row_column() -> None:
    down = fill(Downsample(2, 3))
    x = uniform_input([1, 2, 4, 6])
    parts = [x[:, c, row::2, column::2] for c in range(2) for row in range(2) for column in range(2)]
    want = F.conv2d(torch.stack(parts, dim=1), down[1].weight, down[1].bias)
    torch.testing.assert_close(down(x), want)


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_upsample_is_nearest_neighbours_and_a_convolution(size: tuple[int, int]) -> None:
    up = fill(Upsample(3, 4)).double()
    x = uniform_input([2, 3, *size]).double().requires_grad_()
    want = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), up[1].weight, up[1].bias, padding=1)
    got = up(x)
    torch.testing.assert_close(got, want)
    direction = uniform_input(list(got.shape), seed=1).double()
    inputs = (x, up[1].weight, up[1].bias)
    for a, b in zip(torch.autograd.grad(got, inputs, direction), torch.autograd.grad(want, inputs, direction)):
        torch.testing.assert_close(a, b)


def test_channel_norm() -> None:
    norm = fill(ChannelNorm(5))
    x = uniform_input([2, 5, 3, 4]) * 1e-3  # a variance below eps
    torch.testing.assert_close(norm(tokens(x)), tokens(channel_norm(x, norm.g)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_channel_norm_in_half_precision_takes_float32_statistics(dtype: torch.dtype) -> None:
    norm = fill(ChannelNorm(8))
    x = (uniform_input([1, 8, 2, 2]) + 300).to(dtype)  # squares above what float16 holds
    with torch.autocast("cpu", dtype=dtype):
        got = norm(tokens(x))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), tokens(channel_norm(x.float(), norm.g)), rtol=0.01, atol=0.01)


def linear_attention(module: LinearAttention, x: Tensor) -> Tensor:
    n, _, height, width = x.shape
    qkv = F.conv2d(x, module.to_qkv.weight).view(n, 3, 4, 32, height * width)
    q, k, v = qkv[:, 0].softmax(-2) * 32**-0.5, qkv[:, 1].softmax(-1), qkv[:, 2] / (height * width)
    context = torch.einsum("nhdl,nhel->nhde", k, v)
    out = torch.einsum("nhde,nhdl->nhel", context, q).reshape(n, 128, height, width)
    conv, norm = module.to_out
    return channel_norm(F.conv2d(out, conv.weight, conv.bias), norm.g)


def full_attention(module: Attention, x: Tensor) -> Tensor:
    n, _, height, width = x.shape
    q, k, v = F.conv2d(x, module.to_qkv.weight).view(n, 3, 4, 32, height * width).unbind(1)
    weights = torch.einsum("nhdi,nhdj->nhij", q * 32**-0.5, k).softmax(-1)
    out = torch.einsum("nhij,nhdj->nhdi", weights, v).reshape(n, 128, height, width)
    return F.conv2d(out, module.to_out.weight, module.to_out.bias)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kind", "formula"), [(LinearAttention, linear_attention), (Attention, full_attention)])
def test_attention(kind: type, formula, memory_format: torch.memory_format) -> None:
    module = fill(AttentionResidual(kind(6), 6)).double()
    with torch.no_grad():  # large enough for the softmaxes to be uneven, and no bias to hide what is attended
        module.fn.fn.to_qkv.weight.mul_(40)
        (module.fn.fn.to_out[0] if kind is LinearAttention else module.fn.fn.to_out).bias.zero_()
    x = uniform_input([2, 6, 3, 5]).double().requires_grad_()
    want = x + formula(module.fn.fn, channel_norm(x, module.fn.norm.g))
    assert (want - x).std() > 0.1
    module.to(memory_format=memory_format)
    got = module(x.to(memory_format=memory_format))
    assert got.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(got, want)
    direction = uniform_input(list(x.shape), seed=1).double()
    inputs = (x, *module.parameters())
    for a, b in zip(torch.autograd.grad(got, inputs, direction), torch.autograd.grad(want, inputs, direction)):
        torch.testing.assert_close(a, b)


def test_linear_attention_keeps_its_tiny_gradients_in_float16() -> None:
    """With the published 1/L they are far below what float16 holds (6e-8)."""
    module = fill(LinearAttention(8))
    x = uniform_input([1, 64 * 64, 8])

    def gradient(*, enabled: bool) -> Tensor:
        module.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16, enabled=enabled):
            y = module(x)
        y.square().mean().backward()
        return module.to_qkv.weight.grad.clone()

    want = gradient(enabled=False)
    assert 0 < want.abs().max() < 6e-8
    torch.testing.assert_close(gradient(enabled=True), want, rtol=1e-3, atol=0)
