"""Plug-ins by name: one file each, found by its file name and imported only when asked for."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar


def closest(given: str, choices: Iterable[str]) -> str | None:
    """The choice most like ``given``, or None when none is near."""
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.5)
    return lowered[found[0]] if found else None


def unknown(what: str, given: str, choices: Iterable[str]) -> ValueError:
    """A ``ValueError`` that names the value, the closest match and all choices."""
    choices = list(choices)
    near = closest(given, choices)
    hint = f"did you mean {near!r}? " if near else ""
    return ValueError(f"unknown {what}: {hint}choose one of {', '.join(choices)}")


T = TypeVar("T")


class Registry(Generic[T]):
    """Names of the classes in ``<package>/<name><suffix>.py``.

    Listing the names reads file names only, so that ``--help`` needs no torch; ``get`` imports the one file it needs.
    Aliases (``@REGISTRY.register("augan", "au_gan")``) are read from the decorators of the files by ``ast``.

    Args:
        kind: what the entries are, for messages, e.g. ``"model"``.
        package: the dotted package that holds the files, e.g. ``"models"``.
        suffix: what follows the name in a file name, e.g. ``"_model"``.
        folder: where the package's files lie.
    """

    def __init__(self, kind: str, package: str, suffix: str, folder: Path) -> None:
        self.kind, self.package, self.suffix, self.folder = kind, package, suffix, folder
        self._classes: dict[str, type[T]] = {}
        self._scanned: dict[str, tuple[str, str]] | None = None

    def register(self, name: str, *aliases: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: book the class under ``name`` and its aliases.

        Raises:
            ValueError: another class has the name already.
        """

        def book(cls: type[T]) -> type[T]:
            for each in (name, *aliases):
                if each in self._classes and self._classes[each].__qualname__ != cls.__qualname__:
                    raise ValueError(
                        f"two {self.kind}s are called {each!r}: {self._classes[each].__module__}, {cls.__module__}"
                    )
                self._classes[each] = cls
            return cls

        return book

    def names(self) -> tuple[str, ...]:
        """Every main name, sorted; aliases are left out."""
        return tuple(sorted({main for main, _ in self._scan().values()} | self._in_memory()))

    def canonical(self, name: str) -> str:
        """The main name behind a name or alias; raises as ``get`` does."""
        own = self.folder / f"{name}{self.suffix}.py"  # as a rule its file; the others are not read then
        found = _names_in(own).get(name) if name.isidentifier() and own.is_file() else None
        found = found or self._scan().get(name)
        if found:
            return found[0]
        if name in self._classes:
            return name
        raise unknown(f"{self.kind} {name!r}", name, self.names())

    def get(self, name: str) -> type[T]:
        """The class behind ``name``.

        Raises:
            ValueError: unknown name; the message has the closest match and all names.
        """
        if name not in self._classes:
            main = self.canonical(name)
            importlib.import_module(f"{self.package}.{main}{self.suffix}")
        return self._classes[name]

    def summaries(self) -> dict[str, str]:
        """Main name -> first line of its class's docstring, without importing anything."""
        return dict(self._scan().values())

    def _in_memory(self) -> set[str]:
        scanned = self._scan()
        return {name for name in self._classes if name not in scanned}

    def _scan(self) -> dict[str, tuple[str, str]]:
        """Name or alias -> (main name, summary), read from the decorators in the files."""
        if self._scanned is None:
            files = sorted(self.folder.glob(f"*{self.suffix}.py"))
            self._scanned = {name: found for file in files for name, found in _names_in(file).items()}
        return self._scanned


@functools.cache
def _names_in(file: Path) -> dict[str, tuple[str, str]]:
    """Name or alias -> (main name, summary) of the classes of a file, from their decorators."""
    found: dict[str, tuple[str, str]] = {}
    classes = (each for each in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(each, ast.ClassDef))
    for node in classes:
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Attribute)
                and decorator.func.attr == "register"
            ):
                names = [a.value for a in decorator.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                summary = (ast.get_docstring(node) or "").split("\n")[0]
                found.update(dict.fromkeys(names, (names[0], summary)))
    return found
