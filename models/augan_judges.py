"""Who judges which image of AU-GAN, and what the losses are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.augan_options import AUGANOptions

OTHER = {"A": "B", "B": "A"}
INST = "_inst"  # ending of what belongs to the instance level


@dataclass(frozen=True)
class Judged:
    """An image that a generator makes and a discriminator judges.

    Attributes:
        image: its name, e.g. ``fake_B``.
        source: the side whose real image it is made of.
        domain: the side whose real images it shall look like.
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


def judged_images(n_discriminators: int, lambda_GAN_rec: float) -> dict[str, list[Judged]]:
    """Discriminator -> what it judges. Names follow CycleGAN: D_A belongs to G_A and judges domain B.

    Args:
        n_discriminators: 3 for one for each kind of image, 1 for one a domain.
        lambda_GAN_rec: weight of reconstructions and refinements; with 0 nobody judges them.
    """
    found: list[Judged] = []
    for side, other in OTHER.items():
        found.append(Judged(f"fake_{other}", side, other, f"D_{side}", f"G_{side}", 1.0))
        if lambda_GAN_rec:
            rec, refined = (f"D_rec_{side}", f"D_rec_fake_{side}") if n_discriminators == 3 else (f"D_{other}",) * 2
            found.append(Judged(f"rec_{side}", side, side, rec, f"G_{side}_rec", lambda_GAN_rec))
            found.append(Judged(f"rec_fake_{side}", other, side, refined, f"G_{side}_fake_rec", lambda_GAN_rec))
    by_judge: dict[str, list[Judged]] = {}
    for each in found:
        by_judge.setdefault(each.judge, []).append(each)
    return by_judge


def loss_names(o: AUGANOptions, judged: Mapping[str, Sequence[Judged]], *, penalised: bool) -> tuple[str, ...]:
    """What a step reports, in the published order: side by side, what concerns both sides, and then the objects.

    Args:
        o: the model's options.
        judged: of ``judged_images``.
        penalised: with gradient penalties.
    """
    every = [each for images in judged.values() for each in images]
    names: list[str] = []
    for level in ("", INST) if o.instance_level else ("",):
        for side in OTHER:
            judges = [judge for judge in judged if judge.endswith(side)]
            names += [judge + level for judge in judges]
            names += [f"{judge}_gp" for judge in judges if penalised and not level]
            names += [each.loss + level for each in every if each.loss.startswith(f"G_{side}")]
            names += [f"cycle_{side}{level}"] if level or side == "B" or not o.conf_is_cycle else []
            names += [f"idt_{side}"] if o.lambda_identity and not level else []
            names += [f"{side}_rec{level}"]
        if not level:
            classified = o.chosen("lambda_dc") > 0
            names += ["G_DC"] if classified else []
            names += ["Perc"] if o.chosen("lambda_perc") else []
            names += ["DC"] if classified else []
            names += ["Conf"] if o.uncertain and o.lambda_conf else []
    return tuple(names)
