"""Every kind of trouble that a run can have, counted where it takes effect and not where it is planned.

A simulation in which nothing goes wrong would hold as well. So a kind that never came up in all seeds is a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

BOARD_TROUBLES = ("offline", "refuses", "deaf", "mute", "hangs")
PRINTER_TROUBLES = ("offline", "fails", "hangs")
FAULTS: Mapping[str, tuple[str, ...]] = {
    "process": ("killed", "killed between commit and news", "lost its power", "stopped"),
    "disk": (
        "stalled",
        "full",
        "I/O error",
        "sync failed",
        "kept what a failed sync lost",
        "lost what was not synced",
        "kept a part of what was not synced",
    ),
    "broker": (
        "delivered twice",
        "let topics overtake",
        "lost a request",
        "cut the connection",
        "refused a connection",
        "swallowed while frozen",
        "crawled",
        "handed out retained requests",
    ),
    "network": ("packet in pieces",),
    "device": ("unplugged", "not there", "bug in its driver"),
    "reader": ("babbled",),
    "board": BOARD_TROUBLES,
    "printer": (*PRINTER_TROUBLES, "no paper", "silent"),
    "clock": ("an hour ahead", "an hour back", "lost with the power", "set right late"),
    "upstream": ("unreachable", "hung", "lost a pack", "lost an answer", "went back to a backup", "was sent a repeat"),
    "people": (
        "one ticket at two gates",
        "forced a gate",
        "sent a request twice",
        "used an id again",
        "sent an expired request",
        "sent a retained request",
        "sent what is no request",
        "asked for what is not granted",
        "made the configuration nonsense",
    ),
}


class Faults(Counter[tuple[str, str]]):
    """How often each kind has come up, by (part, kind)."""

    def count(self, part: str, kind: str) -> None:
        """Count one; it must be in the table, for what is not would never be missed."""
        if kind not in FAULTS[part]:
            raise KeyError((part, kind))
        self[part, kind] += 1

    @property
    def missing(self) -> list[tuple[str, str]]:
        """The kinds that never came up."""
        return [(part, kind) for part, kinds in FAULTS.items() for kind in kinds if not self[part, kind]]

    def table(self) -> str:
        """Return the totals as text, a line for each part."""
        shown = {part: ", ".join(f"{self[part, kind]} {kind}" for kind in kinds) for part, kinds in FAULTS.items()}
        return "\n".join(f"  {part:8} {kinds}" for part, kinds in shown.items())
