"""The checkpoints of AU-GAN's authors (TensorFlow, jgkwak95/AU-GAN), name by name beside our networks.

Their convolutions of stride 2 are padded as TensorFlow does it, hence ``--augan_padding tensorflow``. The file has no
states of its optimizers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.augan.networks import PaperGenerator
from models.networks.crossed import STAGES, CrossedDiscriminators
from models.official.entries import AS_IT_IS, HWIO, Form, OfficialFile, constant, entries_of
from models.official.stored import StoredTensor, by

KIND = "AU-GAN (TensorFlow)"
FIRST = "generatorA2B/g_e1_c/Conv/weights"
GENERATORS = {"G_A": "generatorA2B", "G_B": "generatorB2A"}
DISCRIMINATORS = {"D_A": "discriminatorB", "D_B": "discriminatorA"}  # ours belong to a generator, theirs to a domain
BLOCKS = 4
COUNT = 2  # discriminators a domain, of the published setting

Layers = dict[str, tuple[str, Form]]


def recognise(tensors: Mapping[str, StoredTensor], file: Path, *, crop_size: int = 256) -> OfficialFile | None:
    """A checkpoint of AU-GAN; None for other files.

    Args:
        tensors: name -> tensor.
        file: for messages.
        crop_size: height of the images, half their width, which no weight tells.

    Raises:
        ValueError: it is one, but not of networks that we have.
    """
    if FIRST not in tensors:
        return None
    options = infer_options(tensors, file) | {"load_size": crop_size, "crop_size": crop_size}
    has_D = any("discriminator" in name for name in tensors)
    networks = empty_networks(options, has_D=has_D)
    own = {name: {key: tuple(value.shape) for key, value in net.state_dict().items()} for name, net in networks.items()}
    entries = []
    for network, scope in GENERATORS.items():
        entries += entries_of(network, own[network], _generator(scope, adverse=network == "G_A"))
        for key, shape in own[network].items():
            if key in ("image.4.bias", "rec.10.bias", "conf.4.bias"):
                entries.append(constant(network, key, shape, 0.0, "0: their last convolutions have no bias"))
    if has_D:
        for network, scope in DISCRIMINATORS.items():
            entries += entries_of(network, own[network], _discriminator(scope))
    notes = [] if has_D else ["the file has no discriminators: the run is for test.py, not for --continue_train"]
    return OfficialFile(file, KIND, options, own, entries, tensors, notes=notes)


def infer_options(tensors: Mapping[str, StoredTensor], file: Path) -> dict[str, Any]:
    """Flags of the networks, from the shapes of their weights.

    Raises:
        ValueError: a tensor that decides is missing, or has not four axes; or not two discriminators a domain.
    """

    def shape(name: str) -> tuple[int, ...]:
        found = tensors[name].shape if name in tensors else None
        if found is None or len(found) != 4:
            has = f"{name} is {by(found)}" if found is not None else f"there is no {name}"
            raise ValueError(f"{file}: no checkpoint of {KIND}, {has}")
        return found

    first, last = shape(FIRST), shape("generatorA2B/g_pred_c/Conv/weights")
    judges = {match[1] for name in tensors if (match := re.match(r"(\d+)_discriminator[AB]/", name))}
    options = {
        "model": "augan",
        "augan_variant": "paper",
        "augan_padding": "tensorflow",
        "input_nc": first[2],
        "output_nc": last[3],
        "ngf": first[3],
        # the published training
        "netD": "augan_official",
        "lambda_adv": 2.0,
        "preprocess": "resize_2to1",
    }
    if judges:
        if judges != {str(number) for number in range(COUNT)}:
            raise ValueError(f"{file}: {len(judges)} discriminators a domain; there are networks for {COUNT}")
        options["ndf"] = COUNT * shape("0_discriminatorA/d_h0_conv_scale_0_first_c/filter")[3]
    return options


def empty_networks(options: Mapping[str, Any], *, has_D: bool) -> dict[str, nn.Module]:
    """The networks of these options, without memory for their weights."""
    A, B = options["input_nc"], options["output_nc"]
    shape = {"ngf": options["ngf"], "num_blocks": BLOCKS, "padding": options["augan_padding"]}
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            "G_A": PaperGenerator(A, B, transfer=True, uncertainty=True, **shape),
            "G_B": PaperGenerator(B, A, **shape),
        }
        if has_D:
            networks |= {
                name: CrossedDiscriminators(channels, ndf=options["ndf"], count=COUNT)
                for name, channels in (("D_A", B), ("D_B", A))
            }
    return networks


def _norm(ours: str, theirs: str) -> Layers:
    return {f"{ours}.weight": (f"{theirs}/scale", AS_IT_IS), f"{ours}.bias": (f"{theirs}/offset", AS_IT_IS)}


def _block(ours: str, convs: tuple[str, str], norms: tuple[str, str]) -> Layers:
    layers: Layers = {}
    for place, conv, norm in zip((0, 3), convs, norms):
        layers[f"{ours}.conv_block.{place}.weight"] = (conv, HWIO)
        layers |= _norm(f"{ours}.conv_block.{place + 1}", norm)
    return layers


def _residual(ours: str, theirs: str) -> Layers:
    return _block(ours, (f"{theirs}_c1/filter", f"{theirs}_c2/filter"), (f"{theirs}_bn1", f"{theirs}_bn2"))


def _generator(scope: str, *, adverse: bool) -> Layers:
    layers: Layers = {}
    for number, place in enumerate((1, 4, 7), start=1):
        layers[f"encoder.{place}.weight"] = (f"g_e{number}_c/Conv/weights", HWIO)
        layers |= _norm(f"encoder.{place + 1}", f"g_e{number}_bn")
    for number in range(BLOCKS):
        layers |= _residual(f"encoder.{10 + number}", f"g_r{number + 1}")
        layers |= _residual(f"decoder.{number}", f"g_r{number + 6}")
        layers |= _residual(f"rec.{number - 1}" if number else "rec_first", f"g_r{number + 6}_rec")
        if adverse:
            t = f"g_t{number + 1}"
            convs = (f"{t}/res1/{t}_c1/Conv/weights", f"{t}/res2/{t}_c2/Conv/weights")
            layers |= _block(f"tnet.{number}", convs, (f"{t}/res1/{t}_in1", f"{t}/res2/{t}_in2"))
    doublings = {"decoder.4": ("d1_dc", "d1_bn"), "image.0": ("d2_dc", "d2_bn")}
    doublings |= {"rec.3": ("d1_dc_rec", "d1_bn_rec"), "rec.6": ("d2_dc_rec", "d2_bn_rec")}
    last = {"image.4": "pred_c", "rec.10": "pred_c_rec"}
    if adverse:
        doublings["conf.0"] = ("d_dc_conf", "d_bn_conf")
        last["conf.4"] = "pred_c_conf"
    for ours, (conv, norm) in doublings.items():
        part, index = ours.split(".")
        layers[f"{ours}.weight"] = (f"g_{conv}/Conv2d_transpose/weights", HWIO)
        layers |= _norm(f"{part}.{int(index) + 1}", f"g_{norm}")
    layers |= {f"{ours}.weight": (f"g_{conv}/Conv/weights", HWIO) for ours, conv in last.items()}
    return {key: (f"{scope}/{name}", form) for key, (name, form) in layers.items()}


def _discriminator(scope: str) -> Layers:
    layers: Layers = {}
    for judge in range(COUNT):
        own, theirs = f"judges.{judge}", f"{judge}_{scope}"
        for stage in range(STAGES):
            start = f"{theirs}/d_h{stage}_conv_scale"
            layers[f"{own}.first.{stage}.0.weight"] = (f"{start}_0_first_c/filter", HWIO)
            layers |= _norm(f"{own}.first.{stage}.1", f"{start}_0_first_bn")
            for step, index in enumerate((0, 3)):
                layers[f"{own}.second.{stage}.{index}.weight"] = (f"{start}_1_c_{step}/Conv/weights", HWIO)
                layers |= _norm(f"{own}.second.{stage}.{index + 1}", f"{start}_1_bn_{step}")
        for scale in range(2):
            layers[f"{own}.logits.{scale}.weight"] = (f"{theirs}/d_pred_scale_{scale}/Conv/weights", HWIO)
    return layers
