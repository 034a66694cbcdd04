"""What is wrong with a file: where, what, and what would be right. All of it at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

MAX_PROBLEMS = 200
"""Nobody reads more; and with a bound, a file of nonsense is refused quickly."""

MAX_QUOTED = 60
MAX_LINE = 600
_HINTS_AMONG = 500
_USER_INFO = re.compile(r"//.*@")


class Mark(NamedTuple):
    """A place in the file; both count from 1."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong. `path` is its place in the meaning of the file, such as `gates.north.readers[0]`."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {path}{self.message}"


class ConfigurationError(Exception):
    """The file cannot be used. `problems` has at least one and is in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class UnreadableError(Exception):
    """Reading on makes no sense; the reason is already among the problems."""


class Problems:
    """Collects problems and warnings of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Problem] = []
        self._warned: list[Problem] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, mark: Mark, path: str, message: str) -> None:
        """Note a problem; raises UnreadableError when there are more than anybody reads."""
        self._found.append(self._problem(mark, path, message))
        if len(self._found) >= MAX_PROBLEMS:
            self._found.append(Problem(self.file, *mark, "", "too many problems; correct those above first"))
            raise UnreadableError

    def warn(self, mark: Mark, path: str, message: str) -> None:
        """Note what stops nothing but is worth a look."""
        if len(self._warned) < MAX_PROBLEMS:
            self._warned.append(self._problem(mark, path, message))

    def _problem(self, mark: Mark, path: str, message: str) -> Problem:
        # Names come from the file: whatever is in them, a problem is one line of a terminal.
        return Problem(self.file, *mark, plain(path, MAX_LINE), plain(message, MAX_LINE))

    def sorted(self) -> tuple[Problem, ...]:
        """Return the problems in the order of the file."""
        return tuple(sorted(self._found, key=lambda problem: (problem.line, problem.column)))

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings in the order of the file, as text."""
        ordered = sorted(self._warned, key=lambda problem: (problem.line, problem.column))
        return tuple(f"{problem} (warning)" for problem in ordered)


def join(path: str, key: str) -> str:
    """Return the path of `key` inside `path`."""
    shown = plain(key)
    return f"{path}.{shown}" if path else shown


def plain(text: str, limit: int = MAX_QUOTED) -> str:
    """Return `text` fit for one line of a terminal: control and invisible characters escaped, and not endless."""
    short = text if len(text) <= limit else f"{text[:limit]}…"
    return short if short.isprintable() else "".join(_escape(char) for char in short)


def _escape(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def quote(text: str) -> str:
    """Return `text` in quotes for a message, without a user or password that stands in it as in a URL (I12)."""
    return f'"{plain(_USER_INFO.sub("//…@", text))}"'


def listed(words: Iterable[str], limit: int = 12) -> str:
    """Return the words as `a`, `b`, `c`; the rest of a long list is left out."""
    shown = [f"`{plain(word)}`" for word in words]
    return ", ".join(shown[:limit]) + (", …" if len(shown) > limit else "")


def advice(word: str, known: Sequence[str], nothing: str) -> str:
    """Return what the writer probably meant by `word`, or what there is, or `nothing` when there is nothing."""
    if not known:
        return nothing
    near: list[str] = []
    if len(known) <= _HINTS_AMONG and len(word) <= MAX_QUOTED:
        near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else f"there is {listed(known)}"
