"""``docs/options.md`` is what ``scripts/make_options_doc.py`` writes, and says what the option classes declare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models import MODELS
from options.base_options import DataOptions, EngineOptions, ModelOptions, RunOptions
from options.schema import specs
from options.test_options import ResultOptions
from options.train_options import LoopOptions, ScheduleOptions, log_options
from scripts import make_options_doc

OWNERS = (
    RunOptions,
    DataOptions,
    ModelOptions,
    EngineOptions,
    ScheduleOptions,
    LoopOptions,
    log_options(),
    ResultOptions,
)


@pytest.fixture(scope="module")
def page() -> str:
    return make_options_doc.PAGE.read_text(encoding="utf-8")


def cells(page: str, flag: str) -> list[str]:
    """The first table row of a flag, its cells."""
    row = next(line for line in page.splitlines() if line.startswith(f"| `--{flag}`"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_page_is_up_to_date(page: str) -> None:
    assert page == make_options_doc.render(), "run: python scripts/make_options_doc.py"


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_page_has_every_flag(owner: type, page: str) -> None:
    assert [name for name in specs(owner) if f"\n| `--{name}`" not in page] == []


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("load_size", ["`--load_size`", "int", "`286`", "at least 1"]),
        ("direction", ["`--direction`", "str", "`AtoB`", "`AtoB`, `BtoA`"]),
        ("continue_train", ["`--continue_train`", "flag", "off", ""]),
        ("max_dataset_size", ["`--max_dataset_size`", "float", "`inf`", "at least 1"]),
        ("value_range", ["`--value_range`", "list of float", "", ""]),
    ],
)
def test_row(flag: str, expected: list[str], page: str) -> None:
    assert cells(page, flag)[:4] == expected


def test_models_have_their_own_options_and_changed_defaults(page: str) -> None:
    section = page.split("\n### pix2pix\n")[1].split("\n### ")[0]
    own, changed = section.split("Changed defaults:")
    assert "| `--lambda_L1` | float | `100.0` |" in own and "--netG" not in own
    assert "| `--netG` | `unet_256` |" in changed and "| `--norm` | `batch` |" in changed
    assert "--ngf" not in section, "a default that is the shared one is no change"
    assert {line[4:] for line in page.splitlines() if line.startswith("### ")} >= set(MODELS.summaries())


def test_help_text_cannot_break_the_page(page: str) -> None:
    widths = {5, 2}  # option tables and tables of defaults
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(re.split(r"(?<!\\)\|", line)[1:-1]) in widths, line
    assert "&lt;results\\_dir>" in page


def test_check_tells_a_stale_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_options_doc.main(["--check"]) == 0
    stale = tmp_path / "options.md"
    stale.write_text(make_options_doc.render().replace("`286`", "`287`"), encoding="utf-8")
    monkeypatch.setattr(make_options_doc, "PAGE", stale)
    assert make_options_doc.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().out
    assert "`287`" in stale.read_text(encoding="utf-8"), "--check writes nothing"
