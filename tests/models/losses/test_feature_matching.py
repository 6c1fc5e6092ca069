"""Feature matching against sums made by hand."""

from __future__ import annotations

import pytest
import torch

from models.losses.feature_matching import feature_matching


def test_by_hand() -> None:
    # scale 0: layers differ by 1 and 3; scale 1: by 2; the last entries, the logits, do not count
    fake = [[torch.ones(1, 2, 4, 4), torch.full((1, 4, 2, 2), 3.0), torch.full((1, 1, 1, 1), 99.0)]]
    fake += [[torch.full((1, 2, 2, 2), -2.0), torch.full((1, 1, 1, 1), 99.0)]]
    real = [[torch.zeros_like(layer) for layer in scale] for scale in fake]
    assert feature_matching(fake, real).item() == pytest.approx((1 + 3 + 2) / 2)
    assert feature_matching(fake[:1], real[:1]).item() == pytest.approx(4)


def test_gradients_reach_the_fake_features_only() -> None:
    fake, real = torch.ones(1, 1, 2, 2, requires_grad=True), torch.zeros(1, 1, 2, 2, requires_grad=True)
    logits = torch.zeros(1, requires_grad=True)
    feature_matching([[fake, logits]], [[real, logits]]).backward()
    assert fake.grad is not None and fake.grad.tolist() == [[[[0.25, 0.25], [0.25, 0.25]]]]
    assert real.grad is None and logits.grad is None


def test_half_precision_is_summed_in_float32() -> None:
    fake, real = torch.full((1, 4096), 1.0, dtype=torch.bfloat16), torch.zeros(1, 4096, dtype=torch.bfloat16)
    found = feature_matching([[fake, fake]], [[real, real]])
    assert found.dtype == torch.float32 and found.item() == 1.0


def test_a_discriminator_without_features_is_refused() -> None:
    for outputs in ([torch.zeros(1)], [[torch.zeros(1)]]):
        with pytest.raises(ValueError, match=r"--lambda_feat.*--netD multiscale"):
            feature_matching(outputs, outputs)
