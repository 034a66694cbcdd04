"""How the story is told: in colour on a terminal, in plain lines elsewhere, and always with what was checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

LABEL_CHARS = 11
BYTES_SHOWN = 14
PAUSE_S = 0.8


class Teller:
    """Tells chapters and checks what came out. `failures` counts what did not come out as told."""

    def __init__(self, console: Console, *, pause_s: float = 0.0) -> None:
        self._console = console
        self._pause_s = pause_s
        self._began_s = time.monotonic()
        self.failures = 0
        self.checks = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

    def title(self, text: str) -> None:
        """The name of the whole."""
        self._line((text, "bold"))

    def note(self, text: str, style: str = "dim") -> None:
        """A line beside the story."""
        self._line((text, style))

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""
        self._line(("", ""))
        self._line((f"{number}  ", "bold cyan"), (title, "bold"))

    def say(self, text: str) -> None:
        """What happens, in plain words."""
        self._line((f"   {text}", ""))

    def behind(self, label: str, text: str) -> None:
        """What is behind it: a topic, bytes, a journal entry."""
        self._line((f"     {label:<{LABEL_CHARS}}", "cyan"), (text, "dim"))

    def entry(self, entry: dict[str, object], *fields: str) -> None:
        """A journal entry, by its number, kind and some of its fields."""
        shown = "  ".join(f"{name}={entry[name]}" for name in fields if entry.get(name) is not None)
        self.behind("journal", f"#{entry['seq']} {entry['kind']}  {shown}")

    def check(self, told: str, expected: object, actual: object) -> None:
        """Hold what came out against what was told."""
        self.checks += 1
        if expected == actual:
            self._line(("   ✓ ", "bold green"), (told, ""))
        else:
            self.failures += 1
            self._line(("   ✗ ", "bold red"), (f"{told}: expected {expected!r}, got {actual!r}", "red"))

    def broke(self, why: str) -> None:
        """The chapter could not be told to its end."""
        self.failures += 1
        self._line(("   ✗ ", "bold red"), (why, "red"))

    async def pause(self) -> None:
        """Leave a person time to read; nobody else waits."""
        if self._pause_s:
            await asyncio.sleep(self._pause_s)

    def _line(self, *parts: tuple[str, str]) -> None:
        self._console.print(Text.assemble(*parts), soft_wrap=True, highlight=False)


def hex_bytes(data: bytes, most: int = BYTES_SHOWN) -> str:
    """Bytes as a technician writes them, the first `most` of them."""
    shown = data[:most].hex(" ").upper()
    return f"{shown} … ({len(data)} bytes)" if len(data) > most else shown


def listed(words: Iterable[object]) -> str:
    """Words with commas."""
    return ", ".join(str(word) for word in words)
