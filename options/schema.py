"""Frozen dataclasses as the one declaration of an option: its type, default, help and choices.

A field becomes a command line flag of the same name. Types: ``bool`` (a bare ``--flag``, or ``--flag True|False``),
``int``, ``float``, ``str``, ``tuple[int, ...]``, ``tuple[float, ...]``, ``tuple[str, ...]`` (``1,2,4`` or ``(1,2,4)``),
and each of them ``| None``.
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
from typing import Any

from util.registry import unknown


class OptionError(ValueError):
    """An option that cannot be used; the message names the flag, the value and the remedy."""


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
) -> Any:
    """A dataclass field with what the command line needs to know of it.

    Args:
        default: value when the flag is not given.
        help: one phrase for ``--help`` and the generated documentation.
        choices: allowed values of a ``str`` option.
        aliases: other flag names that mean the same, without dashes.
        minimum: smallest allowed number.
        maximum: largest allowed number. Infinity is allowed only where it is the default.
        metavar: name of the value in ``--help``.
        advanced: listed, but at the end of its group.
    """
    meta = {"help": help, "choices": choices, "aliases": aliases, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata={**meta, "metavar": metavar, "advanced": advanced})


@dataclass(frozen=True)
class Spec:
    """What is known of one option."""

    name: str
    type: Any  # the annotation, e.g. int, tuple[int, ...], float | None
    default: Any
    help: str
    choices: tuple[str, ...] | None
    aliases: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    metavar: str | None
    owner: str  # the class that declared it first
    advanced: bool = False


def specs(cls: type) -> dict[str, Spec]:
    """Option name -> ``Spec`` of a dataclass; a redeclared field inherits help, choices, aliases and limits.

    Raises:
        TypeError: a field was declared without ``arg`` by every class that has it.
    """
    hints = typing.get_type_hints(cls)
    found: dict[str, Spec] = {}
    for base in reversed(cls.__mro__):
        for name, default in _declared(base).items():
            before = found.get(name)
            if isinstance(default, dataclasses.Field):
                meta = {key: value for key, value in default.metadata.items() if value or key in ("minimum", "maximum")}
                value = default.default
            else:
                meta, value = {}, default
            if before is None and "help" not in meta:
                raise TypeError(f"{base.__name__}.{name} is declared without arg(...)")
            keep = dataclasses.asdict(before) if before else {}
            keep.update({key: item for key, item in meta.items() if item is not None or key not in keep})
            keep.update(name=name, type=hints[name], default=value)
            keep.setdefault("owner", base.__name__)
            for key in ("choices", "minimum", "maximum", "metavar"):
                keep.setdefault(key, None)
            keep.setdefault("aliases", ())
            keep.setdefault("advanced", False)
            found[name] = Spec(**keep)
    return found


def _declared(base: type) -> dict[str, Any]:
    """Fields that this very class declares, in order. ``__dataclass_fields__`` keeps the metadata."""
    own = inspect.get_annotations(base)
    fields = base.__dict__.get("__dataclass_fields__", {})
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
    if optional and (text is None or text in ("None", "none", "")):
        return None
    try:
        value = _parse(kind, text)
    except (ValueError, TypeError):
        raise OptionError(f"--{spec.name} {text!s}: expected {_describe(kind)}") from None
    if spec.choices and value not in spec.choices:
        raise OptionError(f"--{spec.name} {value}: {unknown('value', str(value), spec.choices)}")
    if spec.minimum is not None and isinstance(value, (int, float)) and not value >= spec.minimum:
        raise OptionError(f"--{spec.name} {value}: the smallest allowed value is {spec.minimum:g}")
    if spec.maximum is not None and isinstance(value, (int, float)) and not value <= spec.maximum:
        raise OptionError(f"--{spec.name} {value}: the largest allowed value is {spec.maximum:.15g}")
    numbers = value if isinstance(value, tuple) else (value,)
    if spec.default != math.inf and any(isinstance(each, float) and math.isinf(each) for each in numbers):
        raise OptionError(f"--{spec.name} {text!s}: expected a finite number")
    return value


def build(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """An instance of the option class from the values that belong to it; the others are ignored."""
    return cls(**{name: values[name] for name in specs(cls) if name in values})


def add_arguments(parser: argparse.ArgumentParser, cls: type, title: str) -> None:
    """Give the parser a flag for every option of ``cls``; values stay words until ``convert``."""
    group = parser.add_argument_group(title)
    for spec in sorted(specs(cls).values(), key=lambda each: each.advanced):
        kind, _ = _unwrap(spec.type)
        flags = [f"--{spec.name}", *(f"--{alias}" for alias in spec.aliases)]
        extra: dict[str, Any] = {"nargs": "?", "const": "True"} if kind is bool else {}
        metavar = spec.metavar or ("{" + ",".join(spec.choices) + "}" if spec.choices else _metavar(kind))
        group.add_argument(*flags, dest=spec.name, metavar=metavar, help=describe(spec), **extra)


def describe(spec: Spec) -> str:
    """Help text with the default, safe for argparse's formatting."""
    shown = "off" if spec.default is False else "on" if spec.default is True else _show(spec.default)
    tail = "" if spec.default in (None, "", ()) else f" (default: {shown})"
    return (spec.help + tail).replace("%", "%%")


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


_PARSERS: dict[Any, Callable[[Any], Any]] = {bool: _parse_bool, int: _parse_int, float: _parse_float, str: str}


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list like 1,2,4 ({typing.get_args(kind)[0].__name__} values)"
    return {bool: "True or False", int: "a whole number", float: "a number", str: "a word"}[kind]


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return "X,Y,..."
    return {bool: "BOOL", int: "N", float: "X", str: "S"}[kind]
