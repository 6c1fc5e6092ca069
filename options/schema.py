"""Frozen dataclasses as the one declaration of an option: its type, default, help and choices.

A field becomes a command line flag of the same name. Types: ``bool`` (a bare ``--flag``, or ``--flag True|False``),
``int``, ``float``, ``str``, ``Path``, ``tuple[int, ...]``, ``tuple[float, ...]``, ``tuple[str, ...]`` (``1,2,4`` or
``(1,2,4)``), and each of them ``| None``.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from util.registry import unknown


class OptionError(ValueError):
    """An option that cannot be used; the message names the flag, the value and the remedy."""


@dataclass(frozen=True)
class SameAs:
    """For ``in_test``: a test uses the value of that other option."""

    option: str


def arg(
    default: Any,
    *,
    help: str,
    choices: tuple[str, ...] | None = None,
    aliases: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
    advanced: bool = False,
    of: str = "",
    in_test: Any = None,
    in_original: bool = True,
    finds_results: bool = False,
    required: bool = False,
    positional: bool = False,
    several: bool = False,
    bare: str = "",
) -> Any:
    """A dataclass field with what the command line needs to know of it.

    Args:
        default: value when the flag is not given; None where ``OptionRecord.derive`` gives one, or where there is none.
        help: one phrase for ``--help`` and the generated documentation.
        choices: allowed values of a ``str`` option.
        aliases: other flag names that mean the same, without dashes.
        minimum: smallest allowed number.
        maximum: largest allowed number. Infinity is allowed only where it is the default.
        metavar: name of the value in ``--help``.
        advanced: listed, but at the end of its group.
        of: what the option is about, where that is not the run and what it computes: a word of ``ABOUT``.
        in_test: what a test uses instead of the run's saved value, unless the flag is given; may be ``SameAs``.
        in_original: whether the value is taken from a ``train_opt.txt`` of the original code.
        finds_results: whether it decides in which folder the results of a run lie.
        required: the flag must be given.
        positional: a word without a flag, in the order of the fields; required unless ``default`` is None.
        several: of a tuple: takes all words up to the next flag.
        bare: value of the flag without a value; it is then no error to leave the value out.

    Raises:
        ValueError: ``of`` is no word of ``ABOUT``.
    """
    if of not in ABOUT:
        raise unknown(f"of={of!r}", of, ABOUT)
    known = {key: value for key, value in locals().items() if key in _SPECIFIED and value not in (None, "", (), False)}
    known |= {key: value for key, value in (("minimum", minimum), ("maximum", maximum)) if value is not None}
    known |= {} if in_test is None else {"in_test": in_test}
    known |= {} if in_original else {"in_original": False}
    return dataclasses.field(default=default, metadata=known)


ABOUT = {
    "": "the run and what it computes",
    "start": "one start of a program; the files of a run hold the default instead",
    "machine": "where a run lives and how it is fed; what it computes does not depend on it",
    "images": "images that go in; without effect where a model draws from noise",
    "samples": "of the options of a data set, those that matter where a model draws from noise, too",
}
"""Word of ``arg(of=...)`` -> what such an option is about."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What is known of one option; see ``arg``."""

    name: str
    type: Any  # the annotation, e.g. int, tuple[int, ...], float | None
    default: Any
    owner: str  # the class that declared it first
    help: str
    choices: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    metavar: str | None = None
    advanced: bool = False
    of: str = ""
    in_test: Any = None
    in_original: bool = True
    finds_results: bool = False
    required: bool = False
    positional: bool = False
    several: bool = False
    bare: str = ""

    @property
    def label(self) -> str:
        """What the option is called in messages: ``--name``, or the name of a word without a flag."""
        return (self.metavar or self.name) if self.positional else f"--{self.name}"

    @property
    def test_value(self) -> Any:
        """What a test starts from instead of the run's saved value; None where it takes that."""
        return self.default if self.of == "start" else self.in_test


_SPECIFIED = {each.name for each in dataclasses.fields(Spec)} - {"name", "type", "default", "owner", "in_original"}


@dataclass(frozen=True)
class Given:
    """What the user said, and where: flag -> value, from weak to strong."""

    saved: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # by the files of the run
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # by --config
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # on the command line

    def __contains__(self, name: str) -> bool:
        return name in self.saved or name in self.config or name in self.flags

    def in_files(self, name: str, otherwise: Any) -> Any:
        """The value in the files, where there is one."""
        return self.config.get(name, self.saved.get(name, otherwise))


class OptionRecord:
    """A group of options: a frozen dataclass whose fields are declared by ``arg``.

    Class attributes:
        title: of the group in ``--help``; empty for the one of ``options.records.TITLES``.
    """

    title: ClassVar[str] = ""

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """The values, with those of this record that follow from others.

        Args:
            values: of all options of the command, flag -> value.
            given: which of them the user gave.
        """
        return values


def tied(values: Mapping[str, Any], given: Given, own: str, other: str) -> Mapping[str, Any]:
    """Two options of one meaning: ``other`` takes the value of ``own`` unless its flag is given; an ``own`` of 0 takes
    that of ``other``."""
    if values[own] and other not in given.flags:
        return {**values, other: values[own]}
    return values if values[own] else {**values, own: values[other]}


def specs(cls: type) -> Mapping[str, Spec]:
    """Option name -> ``Spec`` of a dataclass; a redeclared field inherits all that it does not say itself.

    Raises:
        TypeError: a field was declared without ``arg`` by every class that has it.
    """
    hints = typing.get_type_hints(cls)
    found: dict[str, Spec] = {}
    for base in reversed(cls.__mro__):
        for name, default in _declared(base).items():
            meta, value = ({}, default)
            if isinstance(default, dataclasses.Field):
                meta, value = dict(default.metadata), default.default
            if name in found:
                found[name] = dataclasses.replace(found[name], **meta, type=hints[name], default=value)
            elif "help" in meta:
                found[name] = Spec(**meta, name=name, type=hints[name], default=value, owner=base.__name__)
            else:
                raise TypeError(f"{base.__name__}.{name} is declared without arg(...)")
    return types.MappingProxyType(found)


def _declared(base: type) -> dict[str, Any]:
    """Fields that this very class declares, in order. ``__dataclass_fields__`` keeps the metadata."""
    own = inspect.get_annotations(base)
    if "__dataclass_fields__" not in base.__dict__:
        return {}
    fields = {field.name: field for field in dataclasses.fields(base)}  # class variables are none
    return {
        name: fields[name] if name in fields and fields[name].metadata else base.__dict__.get(name)
        for name in own
        if name in fields
    }


def convert(spec: Spec, text: object) -> Any:
    """``text`` (a command line word, or a value from JSON) as the option's type.

    Raises:
        OptionError: it is no value of the type, not among the choices, or below the minimum.
    """
    kind, optional = _unwrap(spec.type)
    if (optional or spec.default is None) and (text is None or text in ("None", "none", "")):
        return None
    try:
        value = _parse(kind, text)
    except (ValueError, TypeError):
        raise OptionError(f"{spec.label} {text!s}: expected {_describe(kind)}") from None
    if spec.choices and value not in spec.choices:
        raise OptionError(f"{spec.label} {value}: {unknown('value', str(value), filter(None, spec.choices))}")
    if spec.minimum is not None and isinstance(value, (int, float)) and not value >= spec.minimum:
        raise OptionError(f"{spec.label} {value}: the smallest allowed value is {spec.minimum:g}")
    if spec.maximum is not None and isinstance(value, (int, float)) and not value <= spec.maximum:
        raise OptionError(f"{spec.label} {value}: the largest allowed value is {spec.maximum:.15g}")
    numbers = value if isinstance(value, tuple) else (value,)
    if spec.default != math.inf and any(isinstance(each, float) and math.isinf(each) for each in numbers):
        raise OptionError(f"{spec.label} {text!s}: expected a finite number")
    return value


R = typing.TypeVar("R")


def build(cls: type[R], values: Mapping[str, Any]) -> R:
    """An instance of the option class from the values that belong to it; the others are ignored."""
    return cls(**{name: values[name] for name in specs(cls) if name in values})


def complete(cls: type[OptionRecord], **values: Any) -> Any:
    """An instance from these values, the defaults, and what ``derive`` makes of them, as if no flag had been given."""
    defaults = {name: spec.default for name, spec in specs(cls).items()}
    return build(cls, cls.derive({**defaults, **values}, Given()))


def add_arguments(parser: argparse.ArgumentParser, cls: type, title: str) -> None:
    """Give the parser a flag for every option of ``cls``; values stay words until ``convert``."""
    group = parser.add_argument_group(title)
    for spec in sorted(specs(cls).values(), key=lambda each: each.advanced):
        kind, _ = _unwrap(spec.type)
        metavar = spec.metavar or ("{" + ",".join(spec.choices) + "}" if spec.choices else _metavar(kind))
        extra: dict[str, Any] = {"metavar": metavar, "help": describe(spec)}
        if spec.several:
            extra["nargs"] = "+"
        if spec.positional:
            extra |= {"nargs": "?"} if spec.default is None else {}
            group.add_argument(spec.name, **{**extra, "metavar": spec.metavar or spec.name})
            continue
        if bare := "True" if kind is bool else spec.bare:
            extra |= {"nargs": "?", "const": bare}
        flags = [f"--{spec.name}", *(f"--{alias}" for alias in spec.aliases)]
        group.add_argument(*flags, dest=spec.name, **extra)


def is_switch(spec: Spec) -> bool:
    """Whether the flag alone turns the option on."""
    return _unwrap(spec.type)[0] is bool


def describe(spec: Spec) -> str:
    """Help text with the default, safe for argparse's formatting."""
    shown = "off" if spec.default is False else "on" if spec.default is True else _show(spec.default)
    told = spec.required or spec.positional or spec.default in (None, "", ())
    told_required = " (required)" if spec.required else ""
    return (spec.help + told_required + ("" if told else f" (default: {shown})")).replace("%", "%%")


def _show(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _unwrap(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(kind) if each is not type(None)]
        return inner[0], True
    return kind, False


def _parse(kind: Any, text: object) -> Any:
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        words = text if isinstance(text, (list, tuple)) else str(text).strip("()[] ").split(",")
        return tuple(_parse(item, word.strip() if isinstance(word, str) else word) for word in words if word != "")
    if isinstance(text, (list, tuple, dict)):
        raise TypeError
    return _PARSERS[kind](text)


def _parse_bool(text: object) -> bool:
    word = str(text).lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError


def _parse_int(text: object) -> int:
    if isinstance(text, bool):
        raise ValueError
    number = float(str(text))
    if not number.is_integer():
        raise ValueError
    return int(number) if "e" in str(text).lower() or "." in str(text) else int(str(text))


def _parse_float(text: object) -> float:
    number = float(str(text))
    if isinstance(text, bool) or math.isnan(number):
        raise ValueError
    return number


_PARSERS: dict[Any, Callable[[Any], Any]] = {
    bool: _parse_bool,
    int: _parse_int,
    float: _parse_float,
    str: str,
    Path: Path,
}


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list like 1,2,4 ({typing.get_args(kind)[0].__name__} values)"
    return {bool: "True or False", int: "a whole number", float: "a number", str: "a word", Path: "a path"}[kind]


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return "X,Y,..."
    return {bool: "BOOL", int: "N", float: "X", str: "S", Path: "PATH"}[kind]
