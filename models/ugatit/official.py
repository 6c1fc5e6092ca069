"""Published checkpoints of U-GAT-IT, name by name beside our networks.

* PyTorch: keys and shapes are ours.
* PaddleGAN: the same networks; linear weights lie transposed, and norms have a scale of 1 and an offset of 0.
* UGATIT-Paddle (``--ugatit_variant paddle``) and TensorFlow (``--ugatit_variant tensorflow``): networks of their own.

The TensorFlow programs clip rho of AdaLIN after taking 0.1 off, which is folded into it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.official.entries import (
    AS_IT_IS,
    HWIO,
    PER_CHANNEL,
    TRANSPOSED,
    Entry,
    Form,
    Names,
    OfficialFile,
    Shape,
    entries_of,
    spectral_entries,
)
from models.official.stored import Array, StoredTensor, by
from models.ugatit.networks import VARIANTS, CAMDiscriminator, UGATITGenerator

NETWORKS = {
    "genA2B": "G_A2B",
    "genB2A": "G_B2A",
    "disGA": "D_GA",
    "disGB": "D_GB",
    "disLA": "D_LA",
    "disLB": "D_LB",
}
"""Name in the files of PyTorch and Paddle -> our network."""

TF_SCOPES = {
    "G_A2B": "generator_B",  # it makes images of B
    "G_B2A": "generator_A",
    "D_GA": "discriminator_A/global",
    "D_GB": "discriminator_B/global",
    "D_LA": "discriminator_A/local",
    "D_LB": "discriminator_B/local",
}
TF_KIND, PADDLEGAN_KIND, PORT_KIND = "U-GAT-IT (TensorFlow)", "U-GAT-IT (PaddleGAN)", "U-GAT-IT (UGATIT-Paddle)"
WITHOUT_SIZE = 256  # pixels, where light generators do not tell

Shapes = Mapping[str, Shape]


# --- what all of them share -------------------------------------------------------------------------------------------


def flags(networks: Mapping[str, Shapes], file: Path, *, crop_size: int = WITHOUT_SIZE) -> dict[str, Any]:
    """Flags of the networks, from the shapes of their weights.

    Args:
        networks: our network -> key -> shape as in our state_dicts; at least one generator.
        file: for messages.
        crop_size: to note where the networks do not tell.

    Raises:
        ValueError: a network is not one of U-GAT-IT.
    """
    way = "A2B" if "G_A2B" in networks else "B2A"
    G = networks[f"G_{way}"]
    wanted = {"DownBlock.1.weight": 4, "FC.0.weight": 2, "UpBlock2.11.weight": 4}
    for key, axes in wanted.items():
        if len(G.get(key, ())) != axes:
            has = f"{key} is {by(G[key])}" if key in G else f"there is no {key}"
            raise ValueError(f"{file}: no networks of U-GAT-IT, {has}")
    first, mlp, last = (G[key] for key in wanted)
    ngf, features = first[0], mlp[1]
    if not ngf:
        raise ValueError(f"{file}: no networks of U-GAT-IT, DownBlock.1.weight is {by(first)}")
    side = math.isqrt(features // (4 * ngf))
    if side * side * 4 * ngf != features:
        raise ValueError(f"{file}: FC.0.weight has {features} columns, which fit no square image at width {ngf}")
    light = side == 1
    size = crop_size if light else 4 * side
    channels = (first[1], last[0]) if way == "A2B" else (last[0], first[1])
    found = {
        "model": "ugatit",
        "light": light,
        "ngf": ngf,
        "n_res": sum(re.fullmatch(r"UpBlock1_\d+\.conv1\.weight", key) is not None for key in G),
        "input_nc": channels[0],
        "output_nc": channels[1],
        "img_size": size,
        "crop_size": size,
        "load_size": size + 30,
    }
    for name, flag in (("G", "n_layers_global"), ("L", "n_layers_local")):
        D = networks.get(f"D_{name}A") or networks.get(f"D_{name}B")
        if D is None:
            continue
        if len(D.get("model.1.weight_orig", ())) != 4:
            raise ValueError(f"{file}: no discriminators of U-GAT-IT, there is no model.1.weight_orig")
        found["ndf"] = D["model.1.weight_orig"][0]
        found[flag] = 1 + sum(re.fullmatch(r"model\.\d+\.weight_orig", key) is not None for key in D)
    if not {"G_A2B", "G_B2A"} <= networks.keys():
        found |= {"test_direction": f"{way[0]}to{way[2]}", "dataset_mode": "single"}
    return found


def empty_networks(options: Mapping[str, Any], names: Iterable[str]) -> dict[str, nn.Module]:
    """The networks of these options that have one of the names, without memory for their weights."""
    channels = {"A": options["input_nc"], "B": options["output_nc"]}
    variant = VARIANTS[options.get("ugatit_variant", "pytorch")]
    shape = {"n_res": options["n_res"], "pool": int(options["light"]), "img_size": options["img_size"]}
    networks: dict[str, nn.Module] = {}
    with torch.device("meta"):
        for name in names:
            if name.startswith("G_"):
                sides = channels[name[2]], channels[name[4]]
                networks[name] = UGATITGenerator(*sides, ngf=options["ngf"], variant=variant, **shape)
            else:
                layers = options["n_layers_global" if name[2] == "G" else "n_layers_local"]
                networks[name] = CAMDiscriminator(
                    channels[name[3]], ndf=options["ndf"], n_layers=layers, variant=variant
                )
    return networks


def own_shapes(networks: Mapping[str, nn.Module]) -> dict[str, dict[str, Shape]]:
    """Network -> key -> shape."""
    return {name: {key: tuple(v.shape) for key, v in net.state_dict().items()} for name, net in networks.items()}


def _notes(present: Iterable[str], options: Mapping[str, Any]) -> list[str]:
    missing = [name for name in NETWORKS.values() if name not in present]
    notes = [f"the file has no {', '.join(missing)}: the run is for test.py, not for --continue_train"] * bool(missing)
    if options["light"]:
        notes.append(
            f"light generators do not tell the size of their images: --crop_size {options['crop_size']} is noted"
        )
    return notes


# --- TensorFlow -------------------------------------------------------------------------------------------------------

_SLOTS = re.compile(r".*/Adam(_1)?|beta[12]_power(_\d+)?")


def _less_a_tenth(array: Array) -> Array:
    return np.clip(array - np.float32(0.1), 0, 1).reshape(1, -1, 1, 1)


_RHO = Form(PER_CHANNEL.stored, _less_a_tenth, "rho, less 0.1, clipped to 0 and 1")
_U = Form(lambda shape: (1, *shape), lambda array: array[0])


def _flattened(ngf: int, side: int) -> Form:
    """The first weight of a full MLP ``[h w c, out]``, whose input is flattened in another order than ours."""

    def convert(array: Array) -> Array:
        return array.reshape(side, side, 4 * ngf, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)

    return Form(TRANSPOSED.stored, convert)


def recognise_tensorflow(
    tensors: Mapping[str, StoredTensor], file: Path, *, crop_size: int = WITHOUT_SIZE
) -> OfficialFile | None:
    """A checkpoint of the TensorFlow code; None for other files.

    Raises:
        ValueError: it is one, but not of networks that we have.
    """
    needed = {name: tensor for name, tensor in tensors.items() if not _SLOTS.fullmatch(name)}
    if "generator_B/conv/conv2d/kernel" not in needed:
        return None
    present = [name for name, scope in TF_SCOPES.items() if any(each.startswith(f"{scope}/") for each in needed)]
    translated = {name: _tf_shapes(needed, TF_SCOPES[name]) for name in present}
    options = {**flags(translated, file, crop_size=crop_size), "ugatit_variant": "tensorflow"}
    own = own_shapes(empty_networks(options, present))
    side = 1 if options["light"] else options["img_size"] // 4
    entries: list[Entry] = []
    for name in present:
        if name.startswith("G_"):
            entries += entries_of(
                name, own[name], _tf_generator(TF_SCOPES[name], options, _flattened(options["ngf"], side))
            )
        else:
            entries += _tf_discriminator(name, own[name], TF_SCOPES[name])
    ignored = {name: "a moment of Adam" for name in tensors if name not in needed}
    return OfficialFile(file, TF_KIND, options, own, entries, tensors, ignored, _notes(present, options))


def _tf_shapes(tensors: Mapping[str, StoredTensor], scope: str) -> Shapes:
    """Keys and shapes of ours that decide the options."""
    layers = {"conv/conv2d": "DownBlock.1", "MLP/linear_0/dense": "FC.0", "G_logit/conv2d": "UpBlock2.11"}
    found: dict[str, Shape] = {}
    for name, tensor in tensors.items():
        if not name.startswith(f"{scope}/") or not name.endswith("/kernel"):
            continue
        layer, shape = name.removeprefix(f"{scope}/").removesuffix("/kernel"), tensor.shape[::-1]
        if layer in layers:
            found[f"{layers[layer]}.weight"] = shape
        elif match := re.fullmatch(r"adaptive_resblock(\d+)/res1/conv_0/conv2d", layer):
            found[f"UpBlock1_{int(match[1]) + 1}.conv1.weight"] = shape
        elif match := re.fullmatch(r"conv_(\d+)", layer):
            found[f"model.{3 * int(match[1]) + 1}.weight_orig"] = shape
        elif layer == "conv_last":
            found["model.99.weight_orig"] = shape
    return found


def _tf_generator(scope: str, options: Mapping[str, Any], flattened: Form) -> Names:
    names: dict[str, tuple[str, Form]] = {}

    def layer(ours: str, theirs: str, form: Form) -> None:
        names[f"{ours}.weight"] = (f"{theirs}/kernel", form)
        names[f"{ours}.bias"] = (f"{theirs}/bias", AS_IT_IS)

    def norm(ours: str, theirs: str) -> None:
        names[f"{ours}.weight"] = (f"{theirs}/gamma", AS_IT_IS)
        names[f"{ours}.bias"] = (f"{theirs}/beta", AS_IT_IS)

    for place, ending in ((1, ""), (5, "_0"), (9, "_1")):
        layer(f"DownBlock.{place}", f"conv{ending}/conv2d", HWIO)
        norm(f"DownBlock.{place + 1}", f"ins_norm{ending}")
    for number in range(options["n_res"]):
        for half, place in ((1, 1), (2, 5)):
            theirs = f"resblock_{number}/res{half}"
            layer(f"DownBlock.{12 + number}.conv_block.{place}", f"{theirs}/conv_0/conv2d", HWIO)
            norm(f"DownBlock.{12 + number}.conv_block.{place + 1}", f"{theirs}/instance_norm")
            ours, theirs = f"UpBlock1_{number + 1}", f"adaptive_resblock{number}/res{half}"
            layer(f"{ours}.conv{half}", f"{theirs}/conv_0/conv2d", HWIO)
            names[f"{ours}.norm{half}.rho"] = (f"{theirs}/instance_layer_norm/rho", _RHO)
    layer("cam_fc", "CAM_logit", TRANSPOSED)
    layer("conv1x1", "conv_1x1/conv2d", HWIO)
    layer("FC.0", "MLP/linear_0/dense", TRANSPOSED if options["light"] else flattened)
    layer("FC.2", "MLP/linear_1/dense", TRANSPOSED)
    layer("gamma", "MLP/gamma/dense", TRANSPOSED)
    layer("beta", "MLP/beta/dense", TRANSPOSED)
    for number, place in enumerate((2, 7)):
        layer(f"UpBlock2.{place}", f"up_conv_{number}/conv2d", HWIO)
        for leaf in ("rho", "gamma", "beta"):
            names[f"UpBlock2.{place + 1}.{leaf}"] = (f"layer_ins_norm_{number}/{leaf}", PER_CHANNEL)
    layer("UpBlock2.11", "G_logit/conv2d", HWIO)
    return {key: (f"{scope}/{name}", form) for key, (name, form) in names.items()}


def _tf_discriminator(network: str, own: Shapes, scope: str) -> list[Entry]:
    last = max(int(key.split(".")[1]) for key in own if key.startswith("model."))
    layers = {"cam_fc": "CAM_logit", "conv": "D_logit", f"model.{last}": "conv_last"}
    layers |= {f"model.{place}": f"conv_{place // 3}" for place in range(1, last, 3)}
    plain = {
        "conv1x1.weight": (f"{scope}/conv_1x1/conv2d/kernel", HWIO),
        "conv1x1.bias": (f"{scope}/conv_1x1/conv2d/bias", AS_IT_IS),
    }
    entries: list[Entry] = []
    for ours, theirs in layers.items():
        weight = (f"{scope}/{theirs}/kernel", TRANSPOSED if ours == "cam_fc" else HWIO)
        plain[f"{ours}.weight_orig"] = weight
        plain[f"{ours}.bias"] = (f"{scope}/{theirs}/bias", AS_IT_IS)
        entries += spectral_entries(network, ours, own[f"{ours}.weight_orig"], weight, (f"{scope}/{theirs}/u", _U))
    return [*entries_of(network, own, plain), *entries]


# --- Paddle -----------------------------------------------------------------------------------------------------------

_LINEAR = re.compile(r"(gap_fc|gmp_fc|gamma|beta|FC\.\d+)\.weight(_orig)?")
_PORT_LAYERS = {
    "FC.2": "FC.1",
    "UpBlock2.4": "UpBlock2.3",
    "UpBlock2.7": "UpBlock2.6",
    "UpBlock2.9": "UpBlock2.7",
    "UpBlock2.11": "UpBlock2.9",
}
"""Our layers that UGATIT-Paddle counts differently, because its ReLU is no layer -> theirs."""


def recognise_paddle(
    tensors: Mapping[str, StoredTensor], file: Path, *, crop_size: int = WITHOUT_SIZE
) -> OfficialFile | None:
    """A checkpoint of PaddleGAN or of UGATIT-Paddle; None for other files.

    Args:
        tensors: ``<network>.<key>`` -> tensor.
        file: for messages.
        crop_size: to note where light generators do not tell.

    Raises:
        ValueError: it is one, but not of networks that we have.
    """
    networks: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        network, _, key = name.partition(".")
        if network in NETWORKS:
            networks.setdefault(network, {})[key] = tensor
    generators = [each for each in ("genA2B", "genB2A") if each in networks]
    if not generators:
        return None
    port = "FC.1.weight" in networks[generators[0]]
    last = "UpBlock2.9.weight" if port else "UpBlock2.11.weight"
    found = {
        NETWORKS[network]: {
            "UpBlock2.11.weight" if key == last else key: _ours(key, tensor.shape) for key, tensor in stored.items()
        }
        for network, stored in networks.items()
    }
    options = {**flags(found, file, crop_size=crop_size), "ugatit_variant": "paddle" if port else "pytorch"}
    own = own_shapes(empty_networks(options, found))
    entries: list[Entry] = []
    for network in networks:
        entries += (_port_entries if port else _paddlegan_entries)(network, own[NETWORKS[network]])
    used = {name for entry in entries for name in entry.names}
    ignored = {}
    for name in tensors:
        network, _, key = name.partition(".")
        if network not in NETWORKS:
            ignored[name] = "not of a network"
        elif not port and _CONSTANT_NORM.fullmatch(key):
            ignored[name] = "a norm's constant, always 1 or 0"
        elif port and re.fullmatch(r".*\.spectral_norm\.weight_[uv]", key) and name not in used:
            ignored[name] = "computed from the other vector"
    kind = PORT_KIND if port else PADDLEGAN_KIND
    return OfficialFile(file, kind, options, own, entries, tensors, ignored, _notes(found, options))


_CONSTANT_NORM = re.compile(r"DownBlock\.(?:\d+|\d+\.conv_block\.\d+)\.(scale|bias)")


def check_constants(official: OfficialFile) -> None:
    """PaddleGAN's norms have a scale and an offset in the file, which it never trains and our networks do not have.

    Raises:
        ValueError: one is not 1, or 0.
    """
    if official.kind != PADDLEGAN_KIND:
        return
    for name in official.ignored:
        match = _CONSTANT_NORM.fullmatch(name.partition(".")[2])
        if match and not (official.tensors[name].load() == (match[1] == "scale")).all():
            wanted = 1 if match[1] == "scale" else 0
            raise ValueError(f"{official.file}: {name} is not {wanted} everywhere, so that it is no file of PaddleGAN")


def _ours(key: str, shape: Shape) -> Shape:
    return shape[::-1] if _LINEAR.fullmatch(key) else shape


def _linear_form(key: str) -> Form:
    return TRANSPOSED if _LINEAR.fullmatch(key) else AS_IT_IS


def _paddlegan_entries(network: str, own: Shapes) -> list[Entry]:
    return entries_of(NETWORKS[network], own, {key: (f"{network}.{key}", _linear_form(key)) for key in own})


def _port_entries(network: str, own: Shapes) -> list[Entry]:
    """There the vectors of spectral norm never move, and each pass takes one step from them."""
    plain: dict[str, tuple[str, Form]] = {}
    entries: list[Entry] = []
    for key, shape in own.items():
        if key.endswith((".weight_u", ".weight_v")):
            continue
        layer, _, leaf = key.rpartition(".")
        theirs = _PORT_LAYERS.get(layer, layer)
        if layer.startswith("DownBlock") and leaf == "weight" and len(shape) == 1:
            leaf = "scale"
        elif layer.startswith("model.") and leaf == "bias":
            leaf = "layer.bias"
        plain[key] = (f"{network}.{theirs}.{leaf}", _linear_form(key))
        if leaf == "weight_orig":
            u = "weight_v" if layer in ("gap_fc", "gmp_fc") else "weight_u"  # theirs are [in, 1], u and v swapped
            vector = (f"{network}.{layer}.spectral_norm.{u}", AS_IT_IS)
            entries += spectral_entries(NETWORKS[network], layer, shape, plain[key], vector)
    return [*entries_of(NETWORKS[network], own, plain), *entries]
