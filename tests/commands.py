"""The commands of scripts/ and datasets/, and the record of options of each."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

from options.schema import OptionRecord
from scripts.experiments.runs import Table

REPO = Path(__file__).resolve().parents[1]

HELP_ONLY = {"scripts/prepare_alderley.py", "scripts/prepare_bdd100k.py", "scripts/prepare_class_folder.py"}
"""Other names of commands in datasets/."""

OF_A_RUN = {
    "scripts/generate.py": "GenerateOptions",
    "scripts/morph.py": "MorphOptions",
    "scripts/match.py": "MatchOptions",
    "scripts/translate.py": "TranslateOptions",
    "scripts/export.py": "ExportOptions",
}
"""Commands with the flags of test.py and those of this record."""


def command_records() -> dict[str, type[OptionRecord]]:
    """Path -> record, of all commands but ``scripts/evaluate.py``, which has two."""
    files = [*REPO.glob("datasets/*.py"), *REPO.glob("scripts/*.py"), *REPO.glob("scripts/experiments/*.py")]
    paths = {path.relative_to(REPO).as_posix() for path in files if 'if __name__ == "__main__"' in path.read_text()}
    return {path: _record(path) for path in sorted(paths - HELP_ONLY - {"scripts/evaluate.py"})}


def _record(path: str) -> type[OptionRecord]:
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    if path in OF_A_RUN:
        return getattr(module, OF_A_RUN[path])
    if isinstance(table := getattr(module, "TABLE", None), Table):
        return table.options
    (record,) = (each for each in vars(module).values() if _is_record(each) and each.__module__ == module.__name__)
    return record


def _is_record(each: object) -> bool:
    return isinstance(each, type) and dataclasses.is_dataclass(each) and issubclass(each, OptionRecord)
