"""What a check found, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Level = Literal["ok", "warning", "bad"]
_SIGNS: dict[Level, str] = {"ok": "ok ", "warning": "  !", "bad": "BAD"}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at. `do` tells a person what to do about it; empty where all is well."""

    check: str
    level: Level
    found: str
    do: str = ""

    def lines(self) -> list[str]:
        """Return the finding for a terminal."""
        first = f"{_SIGNS[self.level]} {self.check}: {self.found}"
        return [first, f"      → {self.do}"] if self.do else [first]


def worst(findings: Sequence[Finding]) -> Level:
    """Return the gravest level of all."""
    levels = {one.level for one in findings}
    return "bad" if "bad" in levels else "warning" if "warning" in levels else "ok"


def ok(check: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, do: str) -> Finding:
    """Return what works and should be looked after."""
    return Finding(check, "warning", found, do)


def bad(check: str, found: str, do: str) -> Finding:
    """Return what does not work, or soon will not."""
    return Finding(check, "bad", found, do)
