from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from options.schema import OptionError, add_arguments, arg, build, convert, describe, specs


@dataclass(frozen=True, kw_only=True)
class Base:
    size: int = arg(3, minimum=1, help="a size")
    kind: str = arg("round", choices=("round", "square"), help="a kind")
    flag: bool = arg(False, help="a switch")
    mults: tuple[int, ...] = arg((1, 2), help="multipliers")
    limit: float | None = arg(None, help="a limit")


@dataclass(frozen=True, kw_only=True)
class Child(Base):
    kind: str = "square"
    size: int = arg(7, help="another size")
    extra: float = arg(0.5, aliases=("more",), help="an extra, 100% sure")
    ratio: float = arg(0.5, maximum=1.0, help="a ratio")


def test_a_redeclared_field_is_a_new_default_and_keeps_help_choices_and_limits():
    found = specs(Child)
    assert list(found) == ["size", "kind", "flag", "mults", "limit", "extra", "ratio"]
    assert (found["kind"].default, found["kind"].help, found["kind"].choices) == (
        "square",
        "a kind",
        ("round", "square"),
    )
    assert (found["size"].default, found["size"].help, found["size"].minimum) == (7, "another size", 1)
    assert found["size"].owner == "Base" and found["extra"].owner == "Child"


def test_a_field_without_arg_is_refused():
    @dataclass(frozen=True, kw_only=True)
    class Bare:
        naked: int = 3

    with pytest.raises(TypeError, match="naked"):
        specs(Bare)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "12", 12),
        ("size", "1e3", 1000),
        ("flag", "True", True),
        ("flag", "false", False),
        ("flag", True, True),
        ("mults", "1,2,4,8", (1, 2, 4, 8)),
        ("mults", "(1,2,4,8)", (1, 2, 4, 8)),
        ("mults", "(1, 2, 4, 8)", (1, 2, 4, 8)),
        ("mults", "3", (3,)),
        ("mults", [5, 6], (5, 6)),
        ("limit", "None", None),
        ("limit", None, None),
        ("limit", "2.5", 2.5),
        ("kind", "round", "round"),
        ("extra", "1e-4", 0.0001),
    ],
)
def test_words_become_values_of_the_declared_type(name, text, value):
    got = convert(specs(Child)[name], text)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("size", "2.5", "whole number"),
        ("size", "x", "whole number"),
        ("size", "0", "smallest allowed value is 1"),
        ("size", True, "whole number"),
        ("flag", "maybe", "True or False"),
        ("mults", "1,b", "1,2,4"),
        ("kind", "squar", "did you mean 'square'"),
        ("extra", "nan", "a number"),
        ("extra", "inf", "a finite number"),
        ("ratio", "1.5", "largest allowed value is 1"),
        ("size", [1], "whole number"),
    ],
)
def test_a_wrong_word_is_refused_with_flag_value_and_remedy(name, text, part):
    with pytest.raises(OptionError) as info:
        convert(specs(Child)[name], text)
    assert f"--{name}" in str(info.value) and part in str(info.value)


def test_help_shows_defaults_and_survives_percent_signs():
    parser = argparse.ArgumentParser(prog="p")
    add_arguments(parser, Child, "child")
    text = parser.format_help()
    assert "100% sure (default: 0.5)" in text and "--more" in text and "(default: off)" in text
    assert describe(specs(Child)["limit"]) == "a limit"


def test_records_are_frozen_and_built_from_their_own_values_only():
    made = build(Child, {"size": 9, "stranger": 1})
    assert made == Child(size=9)
    with pytest.raises(AttributeError):
        made.size = 4
