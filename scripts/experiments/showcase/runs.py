"""The runs of the gallery: one per model at least, each small enough for some minutes of one core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXTRACTOR = "--feature_extractor efficientnet_lite0"
"""Its weights come with a package, so that the numbers can be had without a download."""

VGG_WEIGHTS = "VGG"
"""Stands in a run's words for the file that ``--vgg_weights`` names."""

_COMMON = "--seed 0 --num_threads 0 --display_id 0 --save_latest_freq 500"
_PAIRED_NUMBERS = f"--metrics kid,psnr,ssim,l1 {EXTRACTOR}"
_UNPAIRED_NUMBERS = f"--metrics kid {EXTRACTOR}"
_WATCH_PAIRS = "--eval_metrics psnr,ssim,l1"
_WATCH_KID = f"--eval_metrics kid --eval_images 24 {EXTRACTOR}"

_128, _64 = "--load_size 143 --crop_size 128", "--load_size 72 --crop_size 64"
_UNET = "--netG unet_128 --ngf 32 --ndf 32"
_SMALL_ATME = "--dim 24 --init_dim 24 --precision bf16"

_FACADES = "CMP facades: 40 pairs to train on, 10 to test; from the label map to the photo"
_SHOES = "edges2shoes: 224 pairs to train on, 73 to test; from the edges to the photo"
_DAY_NIGHT = "day2night: 120 webcam photos by day and 120 by night to train on, 80 and 80 to test; not paired"
_SAME_PLACES = "half of the test photos by day, and most by night, show a place of the training photos at another time"


@dataclass(frozen=True)
class GalleryRun:
    """One training of the gallery.

    Attributes:
        name: of the run, of its page, and of its pictures.
        title: heading of its page.
        model: ``--model``.
        data: folder of the data set in ``datasets/``.
        told: what the data set is, in words.
        epochs: ``--n_epochs`` and ``--n_epochs_decay``.
        flags: further flags of ``train.py``.
        test: flags of ``test.py``.
        measured: flags of ``evaluate.py``, once per call; empty for no numbers.
        columns: pictures of a test image, in this order: the ends of their file names; empty for samples of classes.
        captions: above these columns.
        progress: the column that is shown at several epochs.
        folder: of its results: ``<phase>_latest``.
        numbers: result folder that is measured; empty for ``folder``.
        doc: page of the model in docs.
    """

    name: str
    title: str
    model: str
    data: str
    told: str
    epochs: tuple[int, int]
    flags: str
    test: str = ""
    measured: tuple[str, ...] = (_PAIRED_NUMBERS,)
    columns: tuple[str, ...] = ("real_A", "fake_B", "real_B")
    captions: tuple[str, ...] = ("input", "result", "target")
    progress: str = "fake_B"
    folder: str = "test_latest"
    numbers: str = ""
    doc: str = ""

    @property
    def numbers_folder(self) -> str:
        """Result folder that is measured."""
        return self.numbers or self.folder

    def train_words(self) -> list[str]:
        """Words of ``train.py`` for a new run, without folders."""
        run = f"--dataroot datasets/{self.data} --name {self.name} --model {self.model}"
        epochs = f"--n_epochs {self.epochs[0]} --n_epochs_decay {self.epochs[1]}"
        return f"{run} {self.flags} {epochs} {_COMMON}".split()


def _every(saved: int, watched: int) -> str:
    return f"--save_epoch_freq {saved} --eval_freq {watched}"


RUNS: Sequence[GalleryRun] = (
    GalleryRun(
        "pix2pix",
        "pix2pix",
        "pix2pix",
        "facades",
        _FACADES,
        (150, 100),
        f"--direction BtoA {_128} {_UNET} {_every(50, 25)} {_WATCH_PAIRS}",
    ),
    GalleryRun(
        "atme",
        "ATME",
        "atme",
        "facades",
        _FACADES,
        (100, 60),
        f"--direction BtoA {_64} {_SMALL_ATME} --ndf 32 {_every(40, 20)} {_WATCH_PAIRS}",
        test="--model atme --test_map two_pass",
        columns=("real_A", "Disc_B", "noisy_A", "fake_B", "real_B"),
        captions=("input", "W", "input with W", "result", "target"),
        doc="atme.md",
    ),
    GalleryRun(
        "cycle_gan",
        "CycleGAN",
        "cycle_gan",
        "day2night",
        f"{_DAY_NIGHT}; {_SAME_PLACES}",
        (60, 60),
        f"{_64} --netG resnet_6blocks --ngf 24 --ndf 24 --lambda_identity 0 --precision bf16 "
        f"{_every(30, 10)} {_WATCH_KID}",
        measured=(_UNPAIRED_NUMBERS,),
        columns=("real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"),
        captions=("day", "to night", "and back", "night", "to day", "and back"),
        doc="cycle_gan.md",
    ),
    GalleryRun(
        "ugatit",
        "U-GAT-IT (light)",
        "ugatit",
        "day2night",
        f"{_DAY_NIGHT}; {_SAME_PLACES}",
        (20, 20),
        f"--light --ch 16 --n_layers_global 6 {_64} --lr 0.0002 --precision bf16 {_every(10, 4)} {_WATCH_KID}",
        measured=(_UNPAIRED_NUMBERS,),
        columns=("real_A", "heat_fake_B", "fake_B", "real_B", "heat_fake_A", "fake_A"),
        captions=("day", "attention", "to night", "night", "attention", "to day"),
        doc="ugatit.md",
    ),
    GalleryRun(
        "sagan",
        "SAGAN",
        "sagan",
        "cifar10",
        "CIFAR-10: 10 classes of 200 images of 32 pixels to train on, 50 each held out; from noise",
        (80, 0),
        "--image_size 32 --ngf 16 --ndf 32 --batch_size 32 --lr_G 0.0002 --lr_D 0.0004 --ema_decay 0.999 "
        f"--ema_start 500 --precision bf16 --channels_last {_every(20, 8)} "
        f"--eval_metrics kid --eval_images 200 {EXTRACTOR}",
        test="--generate_all --num_images 8 --standing_stats 16",
        measured=(f"--metrics kid,fid,is {EXTRACTOR} --n_samples 500 -- --standing_stats 16",),
        columns=(),
        captions=(),
        progress="",
        numbers="eval_latest",
        doc="sagan.md",
    ),
    GalleryRun(
        "augan",
        "AU-GAN",
        "augan",
        "day2night",
        f"{_DAY_NIGHT}; night is the adverse side, A; {_SAME_PLACES}",
        (30, 30),
        f"--direction BtoA {_64} --ngf 24 --ndf 24 --upsample bilinear --precision bf16 {_every(15, 6)} {_WATCH_KID}",
        test="--model augan --save_uncertainty",
        measured=(_UNPAIRED_NUMBERS,),
        columns=("real_A", "fake_B", "conf_A", "rec_A", "real_B", "fake_A"),
        captions=("night", "to day", "uncertainty", "reconstruction", "day", "to night"),
        doc="augan.md",
    ),
    GalleryRun(
        "perceptual",
        "Perceptual loss",
        "perceptual",
        "facades",
        _FACADES,
        (50, 30),
        f"--direction BtoA {_128} {_UNET} --vgg vgg16 --vgg_weights {VGG_WEIGHTS} --lambda_perceptual 0.1 "
        f"--lambda_L1 100 --precision bf16 {_every(20, 10)} {_WATCH_PAIRS}",
        doc="perceptual.md",
    ),
    GalleryRun(
        "stochastic",
        "Stochastic",
        "stochastic",
        "edges2shoes",
        _SHOES,
        (15, 10),
        f"{_128} {_UNET} --gan_mode lsgan --noise dropout --lambda_div 5 --div_tau 0.2 --lambda_L1 25 "
        f"--precision bf16 {_every(5, 5)} --eval_images 20 {_WATCH_PAIRS}",
        test="--num_samples 4",
        measured=(f"--metrics kid,psnr,ssim,l1,diversity {EXTRACTOR}",),
        columns=("real_A", "fake_B", "fake_B_2", "fake_B_3", "fake_B_std", "real_B"),
        captions=("input", "draw 1", "draw 2", "draw 3", "spread x 8", "target"),
        doc="stochastic.md",
    ),
    GalleryRun(
        "colorization",
        "Colourisation",
        "colorization",
        "day2night",
        "day2night, the webcam photos by day alone: 120 to train on, 80 to test, half of which show a place of the "
        "training photos at another time; from grey to colour",
        (20, 20),
        f"--phase trainA {_128} {_UNET} {_every(10, 5)} --eval_phase testA --eval_images 20 {_WATCH_PAIRS}",
        test="--phase testA",
        measured=(f"{_PAIRED_NUMBERS} --phase testA",),
        columns=("real_A", "fake_B_rgb", "real_B_rgb"),
        progress="fake_B_rgb",
        folder="testA_latest",
        doc="colorization.md",
    ),
    GalleryRun(
        "atme_unpaired",
        "ATME without pairs",
        "atme_unpaired",
        "day2night",
        f"{_DAY_NIGHT}; {_SAME_PLACES}",
        (9, 6),
        f"{_64} {_SMALL_ATME} --ndf 24 --lambda_identity 0 {_every(3, 3)} {_WATCH_KID}",
        test="--model atme_unpaired --test_map two_pass",
        measured=(_UNPAIRED_NUMBERS,),
        columns=("real_A", "Disc_B", "fake_B", "real_B", "Disc_A", "fake_A"),
        captions=("day", "W", "to night", "night", "W", "to day"),
        doc="atme.md",
    ),
    GalleryRun(
        "adversarial_losses",
        "Adversarial losses: least squares",
        "adversarial_losses",
        "facades",
        _FACADES,
        (90, 60),
        f"--direction BtoA {_128} {_UNET} --gan_mode ls {_every(30, 15)} {_WATCH_PAIRS}",
        doc="discriminators.md",
    ),
    GalleryRun(
        "wasserstein",
        "Adversarial losses: Wasserstein without penalty",
        "adversarial_losses",
        "facades",
        _FACADES,
        (5, 3),
        f"--direction BtoA {_128} {_UNET} --gan_mode w {_every(1, 2)} {_WATCH_PAIRS}",
        doc="discriminators.md",
    ),
)
