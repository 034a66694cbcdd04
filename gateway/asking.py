"""The command line's own words for what was typed wrong: what was most likely meant, and who may do it."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn

_CHOICE = re.compile(r"(?:argument \S+: )?invalid choice: '?([^']*?)'? \(choose from (.*)\)\Z", re.DOTALL)
_WORD = re.compile(r"[\w-]+")
_WHOLE_MAX = 2**53 - 1


class Parser(argparse.ArgumentParser):
    """Names what is closest to a word nobody knows, instead of everything there is."""

    known: ClassVar[set[str]] = set()
    """Every option of every command."""

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:  # noqa: ANN401 - as argparse has it
        """Add an argument, and remember what it is called."""
        self.known.update(name for name in names if isinstance(name, str) and name.startswith("--"))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        if found := _CHOICE.match(message):
            word, choices = found[1], _WORD.findall(found[2])
            message = f"there is no `{word}`{_meant(word, choices) or '; there are: ' + ', '.join(choices)}"
        super().error(message)

    def read(self, arguments: list[str] | None) -> argparse.Namespace:
        """Return what was asked; ends with status 2 for what no command takes, and with the help where nothing is."""
        given = sys.argv[1:] if arguments is None else arguments
        if not given:
            self.print_help(sys.stderr)
            self.exit(2)
        options, unknown = self.parse_known_args(given)
        if unknown:
            hint = "; the configuration is named by --config FILE" if unknown[0].endswith((".yaml", ".yml")) else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint or _meant(unknown[0], list(self.known))}")
        return options


def _meant(word: str, choices: list[str]) -> str:
    close = get_close_matches(word, choices, 1)
    return f"; did you mean `{close[0]}`?" if close else ""


def whole_number(text: str) -> int:
    """Return how many, or a place in the journal. Raises ArgumentTypeError."""
    if re.fullmatch("[0-9]{1,16}", text) and int(text) <= _WHOLE_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {_WHOLE_MAX}, found {text[:40]!r}")


def no_room(error: OSError) -> int:
    """Say that what was printed found no room on its disk; returns the exit status, and raises any other error."""
    if error.errno != errno.ENOSPC:
        raise error
    print(f"{error.filename or 'the output'}: {error.strerror}; free some, or write to another disk", file=sys.stderr)
    # What is still buffered finds no room either; without this Python would complain of it once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1


def not_permitted(error: PermissionError) -> int:
    """Say what to do about a file that this user may not touch; returns the exit status."""
    where = error.filename or "a file of the gateway"
    print(f"{where}: {error.strerror}; run this as root, as in `sudo venue-gateway …`", file=sys.stderr)
    return 1
