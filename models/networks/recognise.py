"""Which published generator a state_dict belongs to, by the names and shapes of its tensors.

Runs of the original code may come without their options; the weights tell all of them but two: whether a U-Net has
dropout (its layers have no weights), and what the images mean.
"""

from __future__ import annotations

from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]
"""Key of a state_dict -> shape."""


def recognise_generator(shapes: Shapes) -> dict[str, object]:
    """The options of a U-Net or residual generator: ``netG``, ``ngf``, ``norm``, ``input_nc``, ``output_nc``, and of a
    residual one ``no_dropout``; empty for another network.

    Also of weights that DataParallel saved, with ``module.`` in front, and of those of torch before 0.4, where instance
    norm has running statistics.
    """
    own = {key.removeprefix("module."): shape for key, shape in shapes.items()}
    return _unet(own) or _resnet(own)


def _unet(shapes: Shapes) -> dict[str, object]:
    first, last = shapes.get("model.model.0.weight"), shapes.get("model.model.3.weight")
    if first is None or last is None or len(first) != 4 or len(last) != 4:
        return {}
    levels, prefix = 1, "model.model.1"
    while f"{prefix}.model.1.weight" in shapes:  # the halving convolution of each level
        levels, prefix = levels + 1, f"{prefix}.model.3"
    # The outermost level below has a convolution at 1 and a norm layer at 2.
    inner = "model.model.1.model"
    return {
        "netG": f"unet_{2**levels}",
        "ngf": first[0],
        "input_nc": first[1],
        "output_nc": last[1],
        "norm": _norm(shapes, f"{inner}.1", f"{inner}.2"),
    }


def _resnet(shapes: Shapes) -> dict[str, object]:
    first = shapes.get("model.1.weight")
    blocks = {key.split(".")[1] for key in shapes if key.startswith("model.") and ".conv_block.1.weight" in key}
    if first is None or len(first) != 4 or not blocks:
        return {}
    last = f"model.{max(map(int, blocks)) + 8}.weight"  # two doublings of 3 layers each, and padding, come between
    if last not in shapes:
        return {}
    block = f"model.{min(map(int, blocks))}.conv_block"
    return {
        "netG": f"resnet_{len(blocks)}blocks",
        "ngf": first[0],
        "input_nc": first[1],
        "output_nc": shapes[last][0],
        "norm": _norm(shapes, "model.1", "model.2"),
        "no_dropout": f"{block}.5.weight" in shapes and len(shapes[f"{block}.5.weight"]) == 4,
    }


def _norm(shapes: Shapes, conv: str, after: str) -> str:
    """Which norm layer follows a convolution: batch norm has weights, and before instance norm there is a bias."""
    if f"{after}.weight" in shapes:
        return "batch"
    return "instance" if f"{conv}.bias" in shapes else "none"
