"""The words of ``--netG``, ``--netD``, ``--norm``, ``--init_type`` and ``--gan_mode``.

Standard library only: the options list them, and tests compare them with the modules that give them a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

GENERATORS: Mapping[str, str] = {
    "resnet_9blocks": "residual, for 256 pixels and more",
    "resnet_6blocks": "residual, for 128 pixels",
    "unet_256": "U-Net with 8 halvings",
    "unet_128": "U-Net with 7 halvings",
}
"""``--netG`` -> what it is."""

DISCRIMINATORS: Mapping[str, str] = {
    "basic": "70x70 PatchGAN",
    "n_layers": "PatchGAN with --n_layers_D layers",
    "pixel": "judges every pixel alone",
    "multiscale": "--num_D PatchGANs, each on half the size",
    "ms<N>": "multiscale with N of them, e.g. ms3",
    "pix2pixhd": "multiscale as in pix2pixHD",
    "augan_official": "two scales that exchange their maps, as AU-GAN's authors have it",
    "sesame": "SESAME, which sees condition and image apart",
    "sesam": "SESAME as a student experiment built it",
}
"""``--netD`` -> what it is; ``ms<N>`` stands for ms1 to ms99."""

NORMS = ("batch", "instance", "none")
NORMS_D = ("", *NORMS, "spectralinstance")
INIT_TYPES = ("normal", "xavier", "kaiming", "orthogonal", "default")

GAN_MODES = ("vanilla", "lsgan", "hinge", "wgan", "wgangp")
GAN_MODE_ALIASES = {"original": "vanilla", "bce": "vanilla", "ls": "lsgan", "w": "wgan"}


def listed(names: Mapping[str, str]) -> str:
    """The words of a table with what they mean, for a help text.

    >>> listed({"a": "first", "b": "second"})
    'a (first), b (second)'
    """
    return ", ".join(f"{name} ({meaning})" for name, meaning in names.items())
