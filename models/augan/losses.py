"""The losses of AU-GAN and ForkGAN beside the adversarial ones (Kwak et al. 2021, BMVC, and its code), and the
square crops around boxes on which its instance level judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.masked import masked_mean


def uncertain_l1(x: Tensor, y: Tensor, s: Tensor, mask: Tensor | None = None, present: Tensor | None = None) -> Tensor:
    """``mean(5 exp(-s) |x - y| + s / 2)``: L1 that counts less where ``s`` says that the pixel is uncertain.

    For an error e it is least at ``s = log(10 |e|)``, or at 0 for errors below 0.1.

    Args:
        x: ``[N, C, H, W]``.
        y: the same shape.
        s: uncertainty, at least 0, ``[N, 1, H, W]`` or ``[N, C, H, W]``.
        mask: ``[N, 1, H, W]``, where pixels of x are there, see ``models.losses.masked``.
        present: see ``masked_mean``.

    Returns:
        A 0-dim float32 tensor.
    """
    s = s.float()
    values = 5 * torch.exp(-s) * (x.float() - y.float()).abs() + s / 2
    return values.mean() if mask is None else masked_mean(values, mask, present)


def mean_feature_distance(x: Tensor, y: Tensor) -> Tensor:
    """``mean |mean_c(x) - mean_c(y)|``: L1 of the channel means of two encodings ``[N, C, h, w]``; 0-dim float32."""
    return F.l1_loss(x.float().mean(1), y.float().mean(1))


def domain_loss(logits: Tensor, is_B: bool) -> Tensor:
    """Binary cross entropy of a domain classifier's logits of any shape; domain A is 0, B is 1. 0-dim float32."""
    logits = logits.float()
    return F.softplus(-logits if is_B else logits).mean()


SMALLEST = 32  # pixels, of a crop's side


def crop_side(box: Tensor, height: int, width: int) -> int:
    """The side of the square for a box: its longer side, at least ``SMALLEST``, at most what the image has."""
    x0, y0, x1, y1 = box.tolist()
    return min(max(SMALLEST, round(max(x1 - x0, y1 - y0))), height, width)


def crop_square(image: Tensor, box: Tensor, side: int) -> Tensor:
    """A square around the middle of a box, moved inside the image.

    Args:
        image: ``[C, H, W]``.
        box: ``[4]``, (x0, y0, x1, y1) in pixels.
        side: of the square, at most H and W.

    Returns:
        ``[C, side, side]``, a view.
    """
    x0, y0, x1, y1 = box.tolist()
    corner = []
    for low, high, size in ((x0, x1, image.shape[-1]), (y0, y1, image.shape[-2])):
        middle = round(low + (high - low) / 2)
        corner.append(min(max(middle - side // 2, 0), size - side))
    left, top = corner
    return image[:, top : top + side, left : left + side]


def instance_crops(images: Tensor, boxes: Sequence[Tensor]) -> list[Tensor]:
    """The crop of the first box of each image that has one.

    Args:
        images: ``[N, C, H, W]``.
        boxes: N tensors ``[k, 4]``; k may be 0, and differ.

    Returns:
        At most N crops ``[1, C, s, s]`` of different sizes.
    """
    height, width = (int(size) for size in images.shape[-2:])
    found = []
    for image, each in zip(images, boxes, strict=True):
        if len(each):
            found.append(crop_square(image, each[0], crop_side(each[0], height, width))[None])
    return found


def mean_over_images(losses: Sequence[Tensor], num_images: int, device: torch.device) -> Tensor:
    """The sum of the losses of images that have a box, over the number of all images.

    Args:
        losses: 0-dim, one for each image with a box; without any the result is a 0 that backward accepts.
        num_images: of the batch.
        device: of the result.
    """
    if not losses:
        return torch.zeros((), device=device, requires_grad=True)
    return torch.stack(list(losses)).sum() / num_images


OTHER = {"A": "B", "B": "A"}


@dataclass(frozen=True)
class Judged:
    """An image that a generator makes and a discriminator judges.

    Attributes:
        image: its name, e.g. ``fake_B``.
        source: the side whose real image it is made of.
        domain: the side whose real images it should look like.
        judge: the discriminator's name.
        loss: the name of the generator's loss.
        weight: of that loss.
    """

    image: str
    source: str
    domain: str
    judge: str
    loss: str
    weight: float


def judged_images(n_discriminators: int, lambda_GAN_rec: float, lambda_adv: float = 1.0) -> dict[str, list[Judged]]:
    """Discriminator -> what it judges. Names follow CycleGAN: D_A belongs to G_A and judges domain B.

    Args:
        n_discriminators: 3 for one for each kind of image, 1 for one a domain.
        lambda_GAN_rec: weight of reconstructions and refinements; with 0 nobody judges them.
        lambda_adv: weight of translations.
    """
    found: list[Judged] = []
    for side, other in OTHER.items():
        found.append(Judged(f"fake_{other}", side, other, f"D_{side}", f"G_{side}", lambda_adv))
        if lambda_GAN_rec:
            rec, refined = (f"D_rec_{side}", f"D_rec_fake_{side}") if n_discriminators == 3 else (f"D_{other}",) * 2
            found.append(Judged(f"rec_{side}", side, side, rec, f"G_{side}_rec", lambda_GAN_rec))
            found.append(Judged(f"rec_fake_{side}", other, side, refined, f"G_{side}_fake_rec", lambda_GAN_rec))
    by_judge: dict[str, list[Judged]] = {}
    for each in found:
        by_judge.setdefault(each.judge, []).append(each)
    return by_judge
