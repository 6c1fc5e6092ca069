"""One way to run a command: words in, exit code and one line out."""

from __future__ import annotations

import sys

import pytest

from options.parse import HelpAsked
from util.exit_code import run_command


def failing(error):
    def run(words):
        raise error

    return run


def test_the_command_gets_its_words_and_its_code_is_returned(monkeypatch):
    asked = []
    assert run_command("x.py", ("a", "b"), lambda words: asked.append(words) or 7) == 7
    monkeypatch.setattr(sys, "argv", ["x.py", "c"])
    assert run_command("x.py", None, lambda words: asked.append(words) or 0) == 0
    assert asked == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (HelpAsked(), 0, ""),
        (ValueError("--flag x: wrong"), 2, "x.py: error: --flag x: wrong"),
        (KeyboardInterrupt(), 130, "x.py: error: stopped at once; what was saved before is untouched"),
    ],
)
def test_ends_become_codes(error, code, line, capsys):
    assert run_command("x.py", [], failing(error)) == code
    assert capsys.readouterr().err.strip() == line


def test_an_exit_with_a_code_is_not_held_back():
    with pytest.raises(SystemExit) as stop:
        run_command("x.py", [], failing(SystemExit(3)))
    assert stop.value.code == 3


def test_verbose_shows_the_traceback(capsys):
    assert run_command("x.py", ["--verbose"], failing(ValueError("wrong"))) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["2", "many"])
def test_a_world_that_no_launcher_made_hides_no_error(size, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.delenv("RANK", raising=False)
    assert run_command("x.py", [], failing(ValueError("--flag x: wrong"))) == 2
    assert capsys.readouterr().err.strip() == "x.py: error: --flag x: wrong"
