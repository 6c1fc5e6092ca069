"""The fast convolutions against torch's in float64, and when they are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks import fast_conv, products, winograd
from models.networks.fast_conv import Conv2d, ConvTranspose2d, conv2d, conv_transpose2d, direct
from models.networks.spectral import SpectralConv2d, SpectralLinear
from models.ugatit.networks import CAMDiscriminator

needs_onednn = pytest.mark.skipif(
    products.matmul_of_onednn() is None, reason="this torch has no oneDNN, every convolution is direct"
)
NAMES = ("WinogradBackward", "_PatchesBackward", "_TransposedPatchesBackward")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks take the fast ways too."""
    monkeypatch.setattr(fast_conv, "_least", lambda capability: (0, 0))
    monkeypatch.setattr(fast_conv, "SMALLEST_WEIGHT", 0)
    monkeypatch.setattr(fast_conv, "SMALLEST_PRODUCT", 0)
    monkeypatch.setattr(fast_conv, "SMALLEST_SPLIT", 0)


def how(y: Tensor) -> str:
    return type(y.grad_fn).__name__


def compare(fast: Callable[..., Tensor], plain: Callable[..., Tensor], tensors: list[Tensor], *geometry: Any) -> str:
    """Result and gradients of ``fast`` in float32 against ``plain`` in float64; returns what ``fast`` did."""
    single = [each.float().requires_grad_() for each in tensors]
    double = [each.clone().requires_grad_() for each in tensors]
    y, wanted = fast(*single, *geometry), plain(*double, *geometry)
    dy = torch.randn_like(wanted)
    y.backward(dy.float())
    wanted.backward(dy)
    for found, right in [(y, wanted), *((a.grad, b.grad) for a, b in zip(single, double))]:
        assert found is not None and right is not None and found.shape == right.shape
        assert float((found.detach().double() - right.detach()).abs().max()) < 5e-6 * float(right.detach().abs().max())
    return how(y)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@needs_onednn
@pytest.mark.usefixtures("always")
class TestEqualToDirect:
    @pytest.mark.parametrize("kernel", [3, 4])
    @pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1)])
    @pytest.mark.parametrize("size", [(1, 21, 30), (2, 16, 9), (3, 5, 6)])
    def test_winograd(self, kernel: int, padding: tuple[int, int], size: tuple[int, int, int]) -> None:
        images, *sides = size
        tensors = [random(images, 24, *sides), random(16, 24, kernel, kernel, seed=1), random(16, seed=2)]
        assert compare(conv2d, F.conv2d, tensors, (1, 1), padding) == "WinogradBackward"

    def test_pointwise(self) -> None:
        tensors = [random(1, 24, 9, 7), random(16, 24, 1, 1, seed=1), random(16, seed=2)]
        assert compare(conv2d, F.conv2d, tensors, (1, 1), (0, 0)) == "_PointwiseBackward"

    @pytest.mark.parametrize("most", [1, 12, 40])
    def test_a_large_picture_in_bands(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        """39 x 31 pixels, 10 x 8 tiles, in bands of 1 or 5 rows of tiles."""
        monkeypatch.setattr(winograd, "MOST_TILES", most)
        for images in (1, 2):
            tensors = [random(images, 8, 39, 31), random(8, 8, 3, 3, seed=1), random(8, seed=2)]
            assert compare(conv2d, F.conv2d, tensors, (1, 1), (1, 1)) == "WinogradBackward"

    @pytest.mark.parametrize("images", [1, 3])
    @pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 1, 1), (3, 2, 0), (1, 2, 0)])
    def test_patches(self, images: int, kernel: int, stride: int, padding: int) -> None:
        tensors = [random(images, 5, 8, 6), random(640, 5, kernel, kernel, seed=1), random(640, seed=2)]
        assert compare(conv2d, F.conv2d, tensors, (stride,) * 2, (padding,) * 2) == "_PatchesBackward"

    @pytest.mark.parametrize("images", [1, 3])
    @pytest.mark.parametrize(("kernel", "output_padding"), [(4, 0), (3, 1)])
    def test_transposed_patches(self, images: int, kernel: int, output_padding: int) -> None:
        tensors = [random(images, 160, 4, 3), random(160, 7, kernel, kernel, seed=1), random(7, seed=2)]
        geometry = ((2, 2), (1, 1), (output_padding,) * 2)
        assert compare(conv_transpose2d, F.conv_transpose2d, tensors, *geometry) == "_TransposedPatchesBackward"

    @pytest.mark.parametrize("images", [1, 2])
    def test_transposed_with_few_outputs(self, images: int) -> None:
        tensors = [random(images, 40, 9, 11), random(40, 1, 4, 4, seed=1), random(1, seed=2)]
        assert fast_conv._few_outputs(tensors[1])
        assert compare(conv_transpose2d, F.conv_transpose2d, tensors, (2, 2), (1, 1)) == "_TransposedPatchesBackward"

    @pytest.mark.parametrize("images", [1, 2])
    @pytest.mark.parametrize(("outputs", "kernel"), [(3, (7, 7)), (1, (5, 7)), (4, (5, 5))])
    def test_large_kernels_with_few_outputs_or_inputs(self, images: int, outputs: int, kernel: tuple[int, int]) -> None:
        x, bias = random(images, 20, 11, 13), random(outputs, seed=2)
        assert compare(conv2d, F.conv2d, [x, random(outputs, 20, *kernel, seed=1), bias]) == "_FewOutputsBackward"
        x, bias = random(images, outputs, 11, 13), random(20, seed=2)
        assert compare(conv2d, F.conv2d, [x, random(20, outputs, *kernel, seed=1), bias]) == "_FewInputsBackward"

    def test_without_bias_and_with_frozen_weights(self) -> None:
        x = random(1, 8, 12, 12).float().requires_grad_()
        weight = random(8, 8, 3, 3, seed=1).float()
        (found,) = torch.autograd.grad(conv2d(x, weight, None, (1, 1), (1, 1)).sum(), x)
        (right,) = torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), x)
        assert torch.allclose(found, right, atol=1e-4)

    @pytest.mark.parametrize("shape", [(8, 8, 3, 3), (256, 8, 4, 4), (8, 8, 1, 1), (2, 8, 7, 7)])
    def test_second_derivatives(self, shape: tuple[int, ...]) -> None:
        """A gradient penalty differentiates the gradient of x."""
        stride, padding = ((2, 2) if shape[2] == 4 else (1, 1)), (shape[2] // 2,) * 2
        found = []
        for function in (conv2d, F.conv2d):
            x = random(1, 8, 12, 12).float().requires_grad_()
            weight = random(*shape, seed=1).float().requires_grad_()
            (slope,) = torch.autograd.grad(
                function(x, weight, None, stride, padding).pow(2).sum(), x, create_graph=True
            )
            found.append(torch.autograd.grad(slope.pow(2).sum(), weight)[0])
        assert torch.allclose(*found, rtol=1e-4, atol=1e-4 * float(found[1].abs().max()))

    def test_weights_prepared_for_inference_are_made_again_after_a_change(self) -> None:
        for layer, side in ((Conv2d(8, 8, 3, padding=1), 12), (ConvTranspose2d(160, 7, 4, stride=2, padding=1), 3)):
            x = random(1, layer.in_channels, side, side).float()
            alone = layer(x)
            fast_conv.keep_prepared_weights(layer)
            with torch.inference_mode():
                assert torch.allclose(layer(x), alone, atol=1e-5) and torch.equal(layer(x), layer(x))
            with torch.no_grad():
                layer.weight.mul_(2)
                if layer.bias is not None:
                    layer.bias.mul_(2)
            with torch.inference_mode():
                assert torch.allclose(layer(x), 2 * alone, atol=1e-5)

    def test_training_after_inference(self) -> None:
        winograd._plan.cache_clear()
        layer = Conv2d(8, 8, 3, padding=1)
        x = random(1, 8, 12, 12).float()
        with torch.inference_mode():
            fast_conv.keep_prepared_weights(layer)
            layer(x)
        assert not winograd._plan(3).A.is_inference()
        y = layer(x)
        assert how(y) == "WinogradBackward"
        y.sum().backward()

    def test_weights_that_were_made_in_inference_mode(self) -> None:
        """torch counts no changes of these."""
        with torch.inference_mode():
            layer = Conv2d(8, 8, 3, padding=1)
            fast_conv.keep_prepared_weights(layer)
            x = random(1, 8, 12, 12).float()
            assert torch.allclose(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1), atol=1e-5)

    def test_a_layer_behind_may_work_in_place(self) -> None:
        results = [
            conv2d(random(1, 8, 12, 12).float(), random(8, 8, 3, 3).float().requires_grad_(), None, (1, 1), (1, 1)),
            conv2d(random(1, 8, 8, 8).float(), random(256, 8, 4, 4).float().requires_grad_(), None, (2, 2), (1, 1)),
            conv_transpose2d(random(1, 256, 4, 4).float(), random(256, 4, 4, 4).float().requires_grad_(), None, (2, 2)),
        ]
        assert [how(y) for y in results] == list(NAMES)
        for y in results:
            F.leaky_relu(y, 0.2, inplace=True).sum().backward()


def test_the_matrices_of_winograd_give_a_correlation() -> None:
    """``A [(G g) * (B d)]`` for one tile and one kernel, by the definition of a correlation."""
    for kernel, plan in ((3, winograd._plan(3)), (4, winograd._plan(4))):
        d, g = random(6, 6), random(kernel, kernel, seed=1)
        found = plan.A.double() @ ((plan.G.double() @ g.flatten()) * (plan.B.double() @ d.flatten()))
        wanted = [(d[i : i + kernel, j : j + kernel] * g).sum() for i in range(plan.step) for j in range(plan.step)]
        assert torch.allclose(found, torch.stack(wanted), atol=1e-5)


@needs_onednn
def test_rounding_of_winograd_is_that_of_float32() -> None:
    x, weight = random(1, 256, 34, 34).relu(), random(256, 256, 3, 3, seed=1) * 0.02
    right = F.conv2d(x, weight)
    found = winograd.Winograd.apply(x.float(), weight.float(), None, (0, 0))
    assert isinstance(found, Tensor)
    assert float((found.double() - right).pow(2).mean().sqrt() / right.pow(2).mean().sqrt()) < 2e-6


def test_when_it_pays() -> None:
    """The layers that were measured, by their weight ``[out, in, k, k]`` and the size of the map."""
    pays = fast_conv._winograd_pays

    def weight(*shape: int) -> Tensor:
        return torch.empty(*shape, device="meta")

    before = torch.backends.cpu.get_cpu_capability
    try:
        for capability, wide, narrow in (("AVX512", True, False), ("AVX2", True, True), ("DEFAULT", False, False)):
            torch.backends.cpu.get_cpu_capability = lambda capability=capability: capability
            assert pays(weight(256, 256, 3, 3), 1, 64, 64) is wide  # a residual block at 256 pixels
            assert pays(weight(512, 256, 4, 4), 1, 31, 31) is wide  # the widest layer of a PatchGAN
            assert pays(weight(128, 128, 3, 3), 1, 64, 64) is narrow
            assert not pays(weight(64, 64, 3, 3), 1, 256, 256)  # few channels
            assert not pays(weight(512, 512, 3, 3), 1, 8, 8)  # a small map
            assert not pays(weight(256, 256, 5, 5), 1, 64, 64)  # another kernel
    finally:
        torch.backends.cpu.get_cpu_capability = before
    assert fast_conv._patches_pay(weight(512, 512, 4, 4), 64)
    assert not fast_conv._patches_pay(weight(512, 256, 4, 4), 256)
    assert not fast_conv._patches_pay(weight(64, 3, 4, 4), 1)

    def few(shape: tuple[int, ...], positions: int = 256 * 256, stride: int = 1, padding: int = 0) -> bool:
        return fast_conv._few_pay(weight(*shape), positions, (stride,) * 2, (padding,) * 2)

    assert few((3, 64, 7, 7)) and few((1, 64, 7, 7)) and few((4, 64, 5, 5))
    assert not few((3, 64, 7, 7), positions=100)
    assert not few((3, 64, 7, 7), stride=2) and not few((3, 64, 7, 7), padding=3)
    assert not few((1, 512, 4, 4)) and not few((16, 64, 7, 7))


@needs_onednn
@pytest.mark.usefixtures("always")
class TestLeftToTorch:
    x, weight = random(1, 8, 12, 12).float(), nn.Parameter(random(8, 8, 3, 3, seed=1).float())

    def taken(self, x: Tensor | None = None) -> bool:
        return how(conv2d(self.x if x is None else x, self.weight, None, (1, 1), (1, 1))) in NAMES

    def test_but_not_this(self) -> None:
        assert self.taken()

    def test_inside_direct(self) -> None:
        with direct():
            assert not self.taken()
        assert self.taken()

    def test_autocast(self) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not self.taken()

    def test_nhwc_memory(self) -> None:
        assert not self.taken(self.x.contiguous(memory_format=torch.channels_last))

    def test_an_exported_graph(self) -> None:
        layer = Conv2d(8, 8, 3, padding=1)
        names = {str(node.target) for node in torch.export.export(layer, (self.x,)).graph.nodes}
        assert any("aten.conv2d" in name for name in names) and not any("mkldnn" in name for name in names)

    def test_other_geometry(self) -> None:
        layers = [
            Conv2d(8, 8, 3, dilation=2, padding=2),
            Conv2d(8, 8, 3, groups=2, padding=1),
            Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
            Conv2d(8, 8, 3, padding="same"),
            ConvTranspose2d(8, 8, 4, groups=2),
        ]
        for layer in layers:
            plain: Any = nn.ConvTranspose2d if isinstance(layer, nn.ConvTranspose2d) else nn.Conv2d
            assert how(layer(self.x)) not in NAMES
            assert torch.equal(layer(self.x), plain.forward(layer, self.x))

    def test_other_channels_fail_as_ever(self) -> None:
        with pytest.raises(RuntimeError, match="to have 8 channels"):
            conv2d(torch.zeros(1, 7, 12, 12), self.weight)

    def test_too_small_an_image_fails_as_ever(self) -> None:
        with pytest.raises(RuntimeError, match="Kernel size"):
            conv2d(torch.zeros(1, 8, 2, 2), self.weight)


class TestSpectralCalls:
    """Several calls at once, of layers with spectral norm."""

    @pytest.mark.parametrize(
        ("layer", "size"), [(SpectralConv2d(3, 5, 4, stride=2), (3, 8, 8)), (SpectralLinear(6, 2), (6,))]
    )
    @pytest.mark.parametrize("training", [True, False])
    def test_equal_to_one_after_the_other(self, layer: Any, size: tuple[int, ...], training: bool) -> None:
        layer = layer.double().train(training)
        u = layer.weight_u.clone()
        parts = [random(2, *size, seed=seed) for seed in (0, 1)]
        alone = torch.cat([layer(part) for part in parts])
        (wanted,) = torch.autograd.grad(alone.pow(2).sum(), layer.weight_orig)
        after = layer.weight_u.clone()
        layer.weight_u.copy_(u)
        together = layer(torch.cat(parts), 2)
        (found,) = torch.autograd.grad(together.pow(2).sum(), layer.weight_orig)
        assert torch.allclose(together, alone, rtol=1e-9) and torch.allclose(found, wanted, rtol=1e-6)
        assert torch.allclose(layer.weight_u, after) and torch.equal(u, after) is not training

    @needs_onednn
    @pytest.mark.usefixtures("always")
    @pytest.mark.parametrize("calls", [1, 2])
    def test_by_patches(self, calls: int) -> None:
        torch.manual_seed(0)
        layer = SpectralConv2d(6, 512, 4, stride=2)
        state = {name: each.clone() for name, each in layer.state_dict().items()}
        x = random(2, 6, 10, 8).float().requires_grad_()
        results: list[list[Tensor]] = []
        for wrapped in (direct, lambda: torch.enable_grad()):
            layer.load_state_dict(state)
            with wrapped():
                y = layer(x, calls)
                gradients = torch.autograd.grad(y.pow(3).sum(), [x, *layer.parameters()])
            results.append([y, *gradients, layer.weight_u, layer.weight_v])
        for plain, fast in zip(*results):
            assert torch.allclose(plain, fast, rtol=1e-4, atol=2e-5 * float(plain.detach().abs().max()))

    def test_a_discriminator_judges_both_as_one_after_the_other(self) -> None:
        net = CAMDiscriminator(ndf=4, n_layers=4).double()
        state = {name: each.clone() for name, each in net.state_dict().items()}
        real, fake = random(1, 3, 32, 32), random(1, 3, 32, 32, seed=1)
        apart = [net(real), net(fake)]
        after = net.state_dict()
        after = {name: each.clone() for name, each in after.items()}
        net.load_state_dict(state)
        for found, wanted in zip(net.judge(real, fake), apart):
            for a, b in zip(found, wanted):
                assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
        for name, each in net.state_dict().items():
            assert torch.allclose(each, after[name], rtol=1e-12), name

    def test_images_of_two_sizes_are_judged_apart(self) -> None:
        net = CAMDiscriminator(ndf=4, n_layers=4)
        of_real, of_fake = net.judge(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 40))
        assert of_real.out.shape[-1] != of_fake.out.shape[-1]
