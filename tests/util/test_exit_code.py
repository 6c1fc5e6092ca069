"""One way to run a command: words in, exit code and one line out."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from options.parse import HelpAsked
from util.exit_code import run_command

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nobody_handles_sigterm():
    """torch's launcher, which other tests of this process call, leaves a handler behind."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


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
    ("encoding", "printed"),
    [("cp1252", b"FID \\u2193 a\\udcff \xe4"), ("utf-8", b"FID \xe2\x86\x93 a\\udcff \xc3\xa4")],
)
def test_characters_that_stdout_lacks_are_printed_as_escapes(encoding, printed, monkeypatch):
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding))
    assert run_command("x.py", [], lambda words: print("FID ↓ a\udcff ä", end="", flush=True) or 0) == 0
    assert file.getvalue() == printed


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (HelpAsked(), 0, ""),
        (ValueError("--flag x: wrong"), 2, "x.py: error: --flag x: wrong"),
        (IsADirectoryError(21, "Is a directory", "out"), 2, "x.py: error: out: is a directory; give another path"),
        (NotADirectoryError(20, "Not a directory", "a/b"), 2, "x.py: error: a/b: not a directory; give another path"),
        (
            OSError(40, "Too many levels of symbolic links", ".1.tmp", None, "loop"),
            2,
            "x.py: error: loop: too many levels of symbolic links; give another path",
        ),
        (
            OSError(36, "File name too long", "x" * 300),
            2,
            f"x.py: error: {'x' * 100}...: file name too long; give another path",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "x.py: error: [Errno 28] No space left on device; what was saved before is untouched",
        ),
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


WRITES = """
import sys, time
from pathlib import Path
from util.exit_code import run_command
from util.files import replacing

def run(words):
    with replacing(Path(words[0])) as temporary:
        temporary.write_text("half")
        print(temporary, flush=True)
        time.sleep(600)

sys.exit(run_command("x.py", None, run))
"""


def test_sigterm_leaves_no_temporary_file(tmp_path):
    argv = [sys.executable, "-c", WRITES, str(tmp_path / "file.txt")]
    process = subprocess.Popen(argv, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert Path(process.stdout.readline().strip()).read_text() == "half"
    process.terminate()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143
    assert err.strip() == "x.py: error: stopped at once; what was saved before is untouched"
    assert list(tmp_path.iterdir()) == []


def sends_itself_sigterm(words):
    signal.raise_signal(signal.SIGTERM)
    return 0


def test_sigterm_is_answered_by_the_innermost_command_and_a_second_one_by_the_system():
    def outer(words):
        before = signal.getsignal(signal.SIGTERM)
        assert run_command("inner.py", [], lambda words: int(signal.getsignal(signal.SIGTERM) is not before)) == 0
        assert run_command("inner.py", [], sends_itself_sigterm) == 143
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        return 7

    assert run_command("x.py", [], outer) == 7


def test_of_several_processes_the_echo_of_the_launcher_is_ignored(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)

    def run(words):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)

    assert run_command("x.py", [], run) == 143
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setenv("RANK", "1")
    assert run_command("x.py", [], run) == 143
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_sigterm_that_somebody_else_handles_stays_theirs(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        assert run_command("x.py", [], sends_itself_sigterm) == 0
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_command_in_a_thread_leaves_signals_alone():
    """Only the main thread may set handlers."""
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run_command("x.py", [], lambda words: 5)))
    thread.start()
    thread.join()
    assert codes == [5] and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
