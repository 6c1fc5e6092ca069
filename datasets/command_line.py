"""What the command lines of the data scripts share: errors of one line, exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from util.registry import closest

CLASS_SIZES = (32, 64, 128, 256)
"""What --image_size of models for classes can be."""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, and exits with code 2; no abbreviated flags."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description, allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        if message.startswith("unrecognized arguments: ") and unknown.startswith("-"):
            flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            hint = closest(unknown.split("=")[0], flags)
            message = f"unknown flag {unknown}{f', did you mean {hint}?' if hint else ''}"
        print(f"error: {message} (--help lists the arguments)", file=sys.stderr)
        sys.exit(2)


def exit_code(run: Callable[[], None]) -> int:
    """Calls ``run``: 0, or 2 and one line for what the user can put right, or 130 after Ctrl-C."""
    try:
        run()
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
