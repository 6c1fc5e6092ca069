"""SAGAN's matching-aware discriminator (``--matching_aware``): real images with wrong classes count as fakes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.sagan.networks import SAGANDiscriminator
from options.schema import OptionError
from tests.models.test_sagan import batch, build, draws, weights


@pytest.mark.parametrize("num_classes", [3, 1])
def test_several_labels_of_an_image_give_the_scores_of_each(num_classes):
    torch.manual_seed(0)
    D = SAGANDiscriminator(image_size=32, ndf=4, num_classes=num_classes, attn_res=8).eval()
    x = torch.randn(4, 3, 32, 32)
    labels = torch.tensor([[0, 2], [1, 0], [2, 1], [0, 1]]) % num_classes
    with torch.no_grad():
        scores = D(x, labels)
        each = torch.cat([D(x, labels[:, 0]), D(x, labels[:, 1])], 1)
    torch.testing.assert_close(scores.expand(4, 2), each, rtol=1e-5, atol=1e-5)
    if num_classes > 1:
        assert float((scores[:, 0] - scores[:, 1]).abs().min()) > 1e-4


def test_wrong_labels_are_all_the_others_equally_often():
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(1000)
    wrong = build("--matching_aware")._wrong(labels)
    counts = torch.bincount(labels * 3 + wrong, minlength=9).view(3, 3)
    assert counts.diagonal().tolist() == [0, 0, 0]
    assert int(counts[~torch.eye(3, dtype=torch.bool)].min()) > 430  # 500 expected, 4 standard deviations are 63


def test_the_step_of_D_is_that_of_the_publication(monkeypatch):
    """Reed et al. 2016, Algorithm 1: the real pair counts as much as fake and wrong pair together."""
    how = ["--matching_aware", "--no_sn", "--lr_D", "0.01"]
    model, plain = build(*how), build(*how)
    data = batch(4)
    z, y = draws(model, 4)
    wrong = torch.tensor([2, 0, 1, 1])
    monkeypatch.setattr(model, "_wrong", lambda labels: wrong)
    found = model.update_D([(data["image"], data["label"], z, y)])
    G, D = plain.networks["G"], plain.networks["D"]
    with torch.no_grad():
        fake = G(z, y)
    real = F.relu(1 - D(data["image"], data["label"])).mean()
    fakes, wrongs = F.relu(1 + D(fake, y)).mean(), F.relu(1 + D(data["image"], wrong)).mean()
    (real + 0.5 * fakes + 0.5 * wrongs).backward()
    torch.optim.Adam(D.parameters(), lr=0.01, betas=(0.0, 0.999)).step()
    expected = {"D_real": real.item(), "D_fake": fakes.item(), "D_wrong": wrongs.item()}
    assert {key: float(value) for key, value in found.items()} == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(weights(model.networks["D"]), weights(D), rtol=1e-4, atol=1e-5)


def test_the_loss_is_logged_and_without_classes_it_is_refused():
    model = build("--matching_aware")
    model.set_input(batch(4))
    assert list(model.optimize_parameters()) == ["G", "D_real", "D_fake", "D_wrong"]
    with pytest.raises(OptionError, match="--matching_aware: there are no classes"):
        build("--matching_aware", "--num_classes", "1")
