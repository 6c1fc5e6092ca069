"""The option files of a run: ``train_opt.txt`` for people, ``train_opt.json`` for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from options.records import not_of_original
from options.schema import OptionError


def format_options(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The published text: sorted ``name: value`` rows, with the default where it differs."""
    rows = ["----------------- Options ---------------"]
    for name, value in sorted(values.items()):
        default = defaults.get(name, value)
        comment = "" if value == default else f"\t[default: {default}]"
        rows.append(f"{name:>25}: {value!s:<30}{comment}")
    rows.append("----------------- End -------------------")
    return "\n".join(rows) + "\n"


def write_options(values: Mapping[str, Any], defaults: Mapping[str, Any], folder: Path, phase: str) -> None:
    """Write ``<phase>_opt.txt`` and ``<phase>_opt.json`` into ``folder``, each in one step."""
    plain = {name: _plain(value) for name, value in sorted(values.items())}
    texts = {"txt": format_options(values, defaults), "json": json.dumps(plain, indent=2) + "\n"}
    for suffix, text in texts.items():
        file = folder / f"{phase}_opt.{suffix}"
        draft = file.with_name(file.name + ".tmp")
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)


def read_options(folder: Path, *, required: bool = True) -> dict[str, Any]:
    """What ``train_opt.json`` of a run folder says, or ``train_opt.txt`` of a run of the original code.

    Raises:
        OptionError: the file cannot be read, or is missing while ``required``.
    """
    json_file, text_file = folder / "train_opt.json", folder / "train_opt.txt"
    try:
        if json_file.is_file():
            text = json_file.read_text(encoding="utf-8")
            if not text.strip():
                raise ValueError("train_opt.json is empty")
            loaded = json.loads(text)
            if not isinstance(loaded, dict):
                raise ValueError("not an object")
            return loaded
        if text_file.is_file():
            return _from_text(text_file)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"--name {folder.name}: {folder}/train_opt.* cannot be read ({error}): restore a copy of it"
        ) from None
    if required:
        raise OptionError(f"--name {folder.name}: {json_file} does not exist; check --name and --checkpoints_dir")
    return {}


def read_test_options(folder: Path) -> dict[str, Any]:
    """What the last test of a run of the original code wrote, in ``test_opt.txt``, or in ``opt.txt`` of its first
    versions; empty where there is neither.

    Raises:
        OptionError: the file cannot be read.
    """
    for file in (folder / "test_opt.txt", folder / "opt.txt"):
        if file.is_file():
            try:
                return _from_text(file)
            except (OSError, ValueError) as error:
                raise OptionError(f"--name {folder.name}: {file} cannot be read ({error}): delete it") from None
    return {}


_FIRST_NAMES = {
    "which_model_netG": "netG",
    "which_model_netD": "netD",
    "which_direction": "direction",
    "loadSize": "load_size",
    "fineSize": "crop_size",
    "batchSize": "batch_size",
    "resize_or_crop": "preprocess",
    "identity": "lambda_identity",
}
"""Options of the original code's first versions -> what they are called since 2018."""


def _from_text(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, colon, rest = line.partition(":")
        name = _FIRST_NAMES.get(name.strip(), name.strip())
        if colon and name.isidentifier() and name not in not_of_original():
            values[name] = rest.split("[default:")[0].strip()
    if "no_lsgan" in values:
        values.setdefault("gan_mode", "vanilla" if values.pop("no_lsgan") == "True" else "lsgan")
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
