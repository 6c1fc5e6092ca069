"""Write ``docs/options.md`` from the option classes, so that the page says what the code does.

Usage:
    python scripts/make_options_doc.py            # write the page
    python scripts/make_options_doc.py --check    # only say whether it is up to date
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data import DATASETS
from models import MODELS
from options.base_options import DataOptions, ModelOptions
from options.evaluate_options import RECORDS, EvaluateOptions
from options.parse import parse_record
from options.records import PLUGINS, TEST, TITLES, TRAIN, all_specs
from options.schema import OptionRecord, SameAs, Spec, arg, specs
from util.exit_code import run_command
from util.pages.markdown import markdown_table
from util.registry import Registry

REPO = Path(__file__).resolve().parent.parent
PAGE = REPO / "docs" / "options.md"

INTRO = """\
<!-- Written by `python scripts/make_options_doc.py` from the option classes. Do not edit by hand. -->

# Options

Every flag of `train.py`, `test.py` and `scripts/evaluate.py`, with its type, its default and what it means.
`python train.py --help` and its like print the same; `--model NAME --help` adds what that model declares.

- A switch (`flag`) is turned on by its name alone, or set with `--name True` and `--name False`.
- A list is written `1,2,4` or `(1,2,4)`.
- An unknown flag or value ends the program with exit code 2 and names the closest match.
- What applies, from weak to strong: the default, the model's changed default, the data set's changed default, the
  defaults of `test.py` (below), the saved options of the run (`test.py`, and `train.py --continue_train`),
  `--config FILE.json`, the command line.
"""


def render() -> str:
    """The text of the page."""
    classes = {**TRAIN, **TEST, "data": DataOptions, "model": ModelOptions, "evaluate": EvaluateOptions}
    parts = [INTRO]
    titles = {owner: title for owner, title in TITLES.items() if owner != "test"}  # declared by models
    for owner, title in {**titles, "evaluate": "scripts/evaluate.py"}.items():
        cls = classes[owner]
        programs = _programs(owner)
        parts.append(
            f"## {title if '/' in title else title[0].upper() + title[1:]}\n\n{_summary(cls)} Used by {programs}.\n"
        )
        parts.append(_option_table(specs(cls).values()))
    parts.append(_phase_section())
    parts.append(_plugin_section("Models", "model", MODELS, ModelOptions))
    parts.append(_plugin_section("Data sets", "dataset_mode", DATASETS, DataOptions))
    return "\n".join(parts)


@dataclass(frozen=True, kw_only=True)
class DocOptions(OptionRecord):
    """What is done."""

    check: bool = arg(False, help="write nothing; exit code 1 if the page is out of date")


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the page; returns 0, or 1 when ``--check`` finds it out of date."""
    return run_command("make_options_doc.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/make_options_doc.py", DocOptions, words, __doc__)
    text = render()
    if args.check:
        fresh = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print("up to date" if fresh else "out of date: run python scripts/make_options_doc.py")
        return 0 if fresh else 1
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE.relative_to(REPO))
    return 0


def _programs(owner: str) -> str:
    programs: dict[str, Mapping[str, object]] = {
        "`train.py`": TRAIN,
        "`test.py`": TEST,
        "`scripts/evaluate.py`": RECORDS,
    }
    users = [program for program, records in programs.items() if owner in records]
    return " and ".join(users) or "`train.py` and `test.py`"  # data and model are declared by plug-ins, for both


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0]


def _option_table(options: Iterable[Spec]) -> str:
    rows = [
        [_flags(spec), _type(spec.type), _value(spec.default), _choices(spec), _text(spec.help)]
        for spec in sorted(options, key=lambda each: each.advanced)
    ]
    return _table(["flag", "type", "default", "choices", "meaning"], rows)


def _phase_section() -> str:
    known = all_specs({**TEST, **PLUGINS, "data": DATASETS.get("class_folder").Options})
    rows = [[f"`--{name}`", _test_value(spec)] for name, spec in known.items() if spec.test_value is not None]
    return (
        "## Defaults of test.py\n\n"
        "`test.py` takes the options of the run from its `train_opt.json`, but not these: they start from the values "
        "below, and the command line changes them.\n\n" + _table(["flag", "value in test.py"], rows)
    )


def _test_value(spec: Spec) -> str:
    value = spec.test_value
    return f"that of `--{value.option}`" if isinstance(value, SameAs) else _value(value)


def _plugin_section(title: str, flag: str, registry: Registry[Any], base: type) -> str:
    parts = [f"## {title}\n\nChosen by `--{flag} NAME`.\n"]
    shared = specs(base)
    for name, summary in sorted(registry.summaries().items()):
        cls: Any = registry.get(name)
        parts.append(f"### {name}\n\n{_text(summary)}\n")
        if flag == "model":
            parts.append(f"Reads `--dataset_mode {cls.dataset_mode}` unless another one is given.\n")
        options = specs(cls.Options)
        own = [spec for key, spec in options.items() if key not in shared]
        changed = {key: spec.default for key, spec in options.items() if key in shared and spec != shared[key]}
        changed.update(cls.Options.option_defaults if flag == "model" else cls.option_defaults)
        if own:
            parts.append("Own options:\n\n" + _option_table(own))
        if test_options := getattr(cls.Options, "in_tests", None):
            parts.append("Own options of `test.py`:\n\n" + _option_table(specs(test_options).values()))
        if changed:
            parts.append("Changed defaults:\n\n" + _changed_table(changed))
        if not own and not changed:
            parts.append("No options of its own, no changed defaults.\n")
    return "\n".join(parts)


def _changed_table(changed: Mapping[str, object]) -> str:
    return _table(["flag", "default here"], [[f"`--{key}`", _value(value)] for key, value in changed.items()])


def _flags(spec: Spec) -> str:
    return ", ".join(f"`--{name}`" for name in (spec.name, *spec.aliases))


def _type(kind: Any) -> str:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = next(each for each in typing.get_args(kind) if each is not type(None))
        return f"{_type(inner)} or none"
    if typing.get_origin(kind) is tuple:
        return f"list of {typing.get_args(kind)[0].__name__}"
    return "flag" if kind is bool else str(kind.__name__)


def _value(value: object) -> str:
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{','.join(map(str, value))}`" if isinstance(value, tuple) else f"`{value}`"


def _choices(spec: Spec) -> str:
    if spec.choices:
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    return f"at least {spec.minimum:g}" if spec.minimum is not None else ""


def _text(text: str) -> str:
    """Plain text as Markdown: nothing in it opens a tag or a link."""
    for plain, safe in (("<", "&lt;"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(plain, safe)
    return text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"{line}\n" for line in markdown_table(head, rows))


if __name__ == "__main__":
    sys.exit(main())
