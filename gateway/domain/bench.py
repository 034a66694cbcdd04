"""The technician's bench: a reader that beeps, a relay that clicks, on order and on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from gateway.domain.event import Event, RequestRef

Action = Literal["beep", "light", "show", "pulse", "calibrate"]
Outcome = Literal["done", "failed", "unknown"]


class BenchStarted(Event, frozen=True, tag="bench.started"):
    """A technician tries a device out, with a reason; the command is about to be sent.

    `channel` and `pulse_ms` stand where it is a relay.
    """

    test: str
    device: str
    action: Action
    client: str
    reason: str
    channel: int = 0
    pulse_ms: int = 0
    request: RequestRef | None = None


class BenchEnded(Event, frozen=True, tag="bench.ended"):
    """What came of it: the command was taken, it was not sent, or nobody can say."""

    test: str
    device: str
    outcome: Outcome
    message: str = ""
    request: RequestRef | None = None


BenchEvent: TypeAlias = BenchStarted | BenchEnded

ROW_TYPES: dict[str, Any] = {"bench": BenchStarted}


class Bench:
    """What is being tried out at this moment. `touch(kind, key)` is told what must be stored again."""

    def __init__(self, touch: Callable[[str, str], None]) -> None:
        """Begin with nothing under way."""
        self._touch = touch
        self.open: dict[str, BenchStarted] = {}
        self.tables: dict[str, dict[str, Any]] = {"bench": self.open}

    def started(self, event: BenchStarted) -> None:
        """Take in that a test began."""
        self.open[event.test] = event
        self._touch("bench", event.test)

    def ended(self, event: BenchEnded) -> None:
        """Take in that a test is over."""
        self.open.pop(event.test, None)
        self._touch("bench", event.test)

    def busy(self, device: str) -> bool:
        """Return True while this device is being tried out already."""
        return any(test.device == device for test in self.open.values())


CHANGES: dict[type[msgspec.Struct], Callable[[Any, Any], None]] = {
    BenchStarted: lambda state, event: state.bench.started(event),
    BenchEnded: lambda state, event: state.bench.ended(event),
}
"""What each fact changes in the venue's state."""


def after_restart(bench: Bench) -> list[BenchEnded]:
    """Return the facts for tests that a crash cut short: nobody can say, and nothing is tried again by itself (I2)."""
    why = "The gateway stopped in the middle of it."
    return [
        BenchEnded(test=test.test, device=test.device, outcome="unknown", message=why, request=test.request)
        for test in bench.open.values()
    ]
