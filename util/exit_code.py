"""From an exception to an exit code and one line, in one place for every command."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143

_BAD_PATHS = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What the system says of a path that is wrong whatever the state of the disk."""


class Terminated(KeyboardInterrupt):
    """SIGTERM (``kill``, ``docker stop``, a cluster's preemption): what is answered as Ctrl-C is, but by code 143."""


def run_command(program: str, argv: Sequence[str] | None, run: Callable[[list[str]], int]) -> int:
    """Run a command; whatever ends it becomes an exit code and, if it failed, one line, of several processes too.

    SIGTERM ends it as Ctrl-C does, so that temporary files go; a second one ends it at once.

    Args:
        program: for the start of that line, e.g. ``train.py``.
        argv: words of the command line without the program; None for ``sys.argv[1:]``. ``--verbose`` among them asks
            for tracebacks.
        run: the command: words -> exit code. ``SystemExit`` without a code, or with 0, says that it has answered
            already (``--help``).

    Returns:
        what ``run`` returned, or as ``exit_code``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _escape_unknown_characters()
    try:
        with _sigterm_raises():
            return run(words)
    except SystemExit as answered:
        if answered.code not in (None, EXIT_DONE):
            raise
        return EXIT_DONE
    except (Exception, KeyboardInterrupt) as error:
        report = functools.partial(exit_code, program, error, verbose="--verbose" in words)
        if isinstance(error, Terminated) and os.environ.get("RANK", "0") != "0":
            return EXIT_TERMINATED  # the first process speaks for all: nobody has time to wait for the others
        if isinstance(error, Terminated) or os.environ.get("WORLD_SIZE", "1") == "1":
            return report()
        from util.run.distributed import world_from_environment  # these import torch, which a command may not need
        from util.run.once import report_once

        try:
            several = world_from_environment()
        except ValueError:  # no launcher has started others; where the command needs one, this is the error
            return report()
        code = _code_of(error)
        report_once(several, report, wait_for_all=code == EXIT_BAD_INPUT)
        return code


def _escape_unknown_characters() -> None:
    """Print what the encoding of stdout lacks as an escape, as Python does on stderr, instead of ending the program.

    On Windows an output to a file or a pipe has a few hundred characters; on Linux a file name need not be UTF-8.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises ``Terminated`` in the main thread, unless somebody handles or ignores it already."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    # torchrun passes on a SIGTERM that its processes may have got already; it kills those that do not end.
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    signal.signal(number, signal.SIG_IGN if several else signal.SIG_DFL)
    raise Terminated


def report_error(program: str, message: object) -> None:
    """One line on stderr: ``program: error: message``."""
    print(f"{program}: error: {' '.join(str(message).split())}", file=sys.stderr)


def exit_code(program: str, error: BaseException, *, verbose: bool = False) -> int:
    """Tell the user what went wrong in one line, with a traceback only for what nobody foresaw.

    Args:
        program: for the start of the line, e.g. ``train.py``.
        error: ``ValueError``, ``FileNotFoundError``, ``FileExistsError``, a folder where a file is needed or the
            reverse, links in a circle and too long names mean bad input; everything else, a run that failed.
        verbose: print the traceback in any case.

    Returns:
        2 for bad input, 1 for a failed run, 130 for Ctrl-C, 143 for SIGTERM.
    """
    code = _code_of(error)
    if verbose:
        traceback.print_exception(error)
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
        report_error(program, "stopped at once; what was saved before is untouched")
    elif code == EXIT_BAD_INPUT:
        report_error(program, _of_the_path(error) if isinstance(error, OSError) else error)
    elif type(error).__name__ == "OutOfMemoryError":
        report_error(program, "the GPU's memory is full: lower --batch_size or --crop_size, or try --precision bf16")
    elif isinstance(error, OSError):
        report_error(program, f"{error}; what was saved before is untouched")
    else:
        if not verbose and type(error) is not RuntimeError and not getattr(error, "one_line", False):
            traceback.print_exception(error)
        report_error(program, f"{type(error).__name__}: {error}" if not str(error) else error)
    return code


def _code_of(error: BaseException) -> int:
    if isinstance(error, Terminated):
        return EXIT_TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, OSError) and error.errno in _BAD_PATHS:
        return EXIT_BAD_INPUT
    return EXIT_BAD_INPUT if isinstance(error, (ValueError, FileNotFoundError, FileExistsError)) else EXIT_FAILED


def _of_the_path(error: OSError) -> str:
    """``FILE: is a directory; give another path``; other errors as they are."""
    file = error.filename2 or error.filename  # of a move that where to, as the other one is a temporary file
    if error.errno not in _BAD_PATHS or not file or not error.strerror:
        return str(error)
    shown = str(file)
    shown = shown if len(shown) <= 120 else f"{shown[:100]}..."
    return f"{shown}: {error.strerror.lower()}; give another path"
