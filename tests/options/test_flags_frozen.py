"""All flags of all commands with their defaults are those of ``flags.txt``: whoever changes one sees it here.

A wanted change is written into the file by

    UPDATE_FLAGS=1 python -m pytest tests/options/test_flags_frozen.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from data import DATASETS
from models import MODELS
from options.evaluate_options import RECORDS
from options.parse import Options, parse_test, parse_train
from options.records import PLUGINS, TEST, TRAIN, all_specs
from options.schema import OptionRecord, Spec, specs
from tests.commands import command_records

REPO = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("flags.txt")


def shown(value: object) -> str:
    """A default, as one would write it on the command line."""
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def row(spec: Spec, default: object) -> str:
    """``--flag, --alias | default | choices``; a word without a flag has its name alone."""
    flags = spec.name if spec.positional else ", ".join(f"--{name}" for name in (spec.name, *spec.aliases))
    needed = spec.required or (spec.positional and spec.default is not None)
    return f"{flags} | {'required' if needed else shown(default)} | {shown(spec.choices)}"


def rows_of(cls: type[OptionRecord]) -> list[str]:
    return sorted(row(spec, spec.default) for spec in specs(cls).values())


def own_rows(parsed: Options, shared: Mapping[str, Spec], records: list[type]) -> list[str]:
    """The options that only these records have, and the others whose value is not that of all programs."""
    known = {name: spec for cls in records for name, spec in specs(cls).items()}
    own = [row(spec, parsed.values[name]) for name, spec in known.items() if name not in shared]
    changed = {name: value for name, value in parsed.values.items() if name in shared and name != "dataroot"}
    return sorted(own) + sorted(
        f"--{name} = {shown(value)}" for name, value in changed.items() if value != shared[name].default
    )


def sections() -> Iterator[tuple[str, list[str]]]:
    """(heading, rows) of all there is."""
    everything = {"train.py": {**TRAIN, **PLUGINS}, "test.py": {**TEST, **PLUGINS}}
    for program, records in everything.items():
        known = all_specs(records)
        yield program, sorted(row(spec, spec.default) for spec in known.values())
        parse = parse_train if program == "train.py" else parse_test
        for name in MODELS.names():
            parsed = parse(["--model", name, "--name", "no such run", "--dataroot", "x"], MODELS, DATASETS)
            records_of = [type(parsed.model), *([type(parsed.test)] if parsed.test else [])]
            yield f"{program} --model {name}", own_rows(parsed, known, records_of)
    known = all_specs({**TRAIN, **PLUGINS})
    for name in DATASETS.names():
        words = ["--model", "pix2pix", "--dataset_mode", name, "--dataroot", "x"]
        parsed = parse_train(words, MODELS, DATASETS)
        yield f"train.py --model pix2pix --dataset_mode {name}", own_rows(parsed, known, [type(parsed.data)])
    yield "scripts/evaluate.py", sorted(each for cls, _ in RECORDS.values() for each in rows_of(cls))
    for path, record in command_records().items():
        yield path, rows_of(record)


def text() -> str:
    return "\n".join(f"[{heading}]\n" + "".join(f"{each}\n" for each in rows) for heading, rows in sections())


def test_flags_and_defaults_are_those_of_the_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = text()
    if os.environ.get("UPDATE_FLAGS"):
        FILE.write_text(now, encoding="utf-8")
    assert now.splitlines() == FILE.read_text(encoding="utf-8").splitlines()


def test_every_command_has_one_parser() -> None:
    """argparse is used in options/ only; benchmarks are no commands."""
    files = [*REPO.glob("*.py"), *REPO.glob("datasets/**/*.py"), *REPO.glob("scripts/**/*.py")]
    files += [path for part in ("data", "models", "util") for path in (REPO / part).rglob("*.py")]
    users = [path.relative_to(REPO).as_posix() for path in files if "argparse" in path.read_text(encoding="utf-8")]
    assert len(files) > 100 and users == []
