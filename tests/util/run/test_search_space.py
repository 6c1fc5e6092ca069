"""The options that a sweep varies."""

import pytest

from util.run.search_space import Dimension, grid, read_space, words_of


class Draws:
    """An Optuna trial that takes the upper end of every range and the last choice."""

    def suggest_categorical(self, name, choices):
        return choices[-1]

    def suggest_int(self, name, low, high, *, log):
        return high

    def suggest_float(self, name, low, high, *, log):
        return high


def test_ranges_and_choices() -> None:
    lr, ngf, size, net = read_space(["lr=log:1e-5..1e-3", "ngf=32..128", "--x=0..1.0", "netG=unet_128, unet_256"])
    assert lr == Dimension("lr", low=1e-5, high=1e-3, log=True)
    assert ngf == Dimension("ngf", low=32, high=128, whole=True) and not size.whole and size.flag == "x"
    assert net.choices == ("unet_128", "unet_256")
    assert [each.suggest(Draws()) for each in (lr, ngf, size, net)] == ["0.001", "128", "1", "unet_256"]
    assert [each.examples for each in (lr, ngf)] == [("1e-05", "0.001"), ("32", "128")]


def test_points_of_a_range() -> None:
    lr, ngf, shift = read_space(["lr=log:1e-4..1e-2/3", "ngf=16..64/4", "shift=-0.5..0.5/3"])
    assert lr.choices == ("0.0001", "0.001", "0.01")
    assert ngf.choices == ("16", "32", "48", "64") and shift.choices == ("-0.5", "0", "0.5")
    assert grid([lr, Dimension("netD", ("basic", "pixel"))])[1:3] == [
        {"lr": "0.0001", "netD": "pixel"},
        {"lr": "0.001", "netD": "basic"},
    ]


def test_words_of_negative_values_have_an_equals_sign() -> None:
    assert words_of({"gpu_ids": "-1", "lr": "1"}) == ["--gpu_ids=-1", "--lr", "1"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lr", "write NAME=LOW..HIGH"),
        ("lr=", "write NAME=LOW..HIGH"),
        ("lr=1,,2", "every value once"),
        ("lr=1,1", "every value once"),
        ("lr=a..b", "write NAME=LOW..HIGH"),
        ("lr=2..1", "the first number must be smaller"),
        ("lr=-1e308..1e308", "both finite"),
        ("lr=log:0..1", "begins above 0"),
        ("lr=0..1/1", "2 to 1000 points"),
        ("l r=0..1", "write NAME=LOW..HIGH"),
    ],
)
def test_wrong_words(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_space([word])


def test_an_option_is_named_once_and_a_grid_needs_points() -> None:
    with pytest.raises(ValueError, match="lr is there twice"):
        read_space(["lr=1,2", "lr=3,4"])
    with pytest.raises(ValueError, match="--space lr is a range; add a number of points"):
        grid(read_space(["lr=1..2"]))
