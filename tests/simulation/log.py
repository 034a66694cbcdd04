"""Who reads the log: no card number may stand in it, and no line may tell of an exception that nobody expected."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_exception
from typing import Any

import msgspec
import structlog

from gateway import logs
from tests.simulation.observers import Observers
from tests.simulation.timeline import Timeline

BUGS = frozenset(
    {
        "task_failed",
        "device_event_failed",
        "housekeeping_failed",
        "mqtt.message_failed",
        "printing_failed",
        "print_render_failed",
        "drawer_pulse_failed",
    }
)
"""Log events that tell of an exception nobody expected."""
UNREPEATABLE = ("took_ms", "exc_info", "timestamp")
"""What a line of the log holds of the real time and of this process."""


class Log:
    """Takes every line and writes none."""

    def __init__(self, timeline: Timeline, observers: Observers) -> None:
        self._timeline = timeline
        self._observers = observers

    def loop_complained(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = "".join(format_exception(error)) if error is not None else ""
        self._observers.violated("bug", f"{context.get('message')} {text}")

    def logged(self, _logger: Any, _method: str, event: dict[str, Any]) -> Any:
        """Take a line of the log."""
        if self._timeline.killed:
            raise structlog.DropEvent
        self._line_logged(repr(event), event)
        if event["event"] in BUGS:
            error = event.get("exc_info")
            text = "".join(format_exception(error)) if isinstance(error, BaseException) else _current_exception()
            self._observers.violated("bug", f"{event['event']} {text}")
        raise structlog.DropEvent

    def write(self, line: str) -> int:
        """Take the line of a journalled fact, which the gateway writes as JSON itself."""
        if not self._timeline.killed:
            self._line_logged(line, None)
        return len(line)

    def _line_logged(self, line: str, event: dict[str, Any] | None) -> None:
        self._observers.seen("the log", line.encode())
        if self._observers.lines is not None:
            said = msgspec.json.decode(line) if event is None else event
            shown = {name: value for name, value in said.items() if name not in UNREPEATABLE}
            self._observers.lines.append(f"{self._timeline.now_s:.6f}   log {shown}")


def _current_exception() -> str:
    error = sys.exc_info()[1]
    return "".join(format_exception(error)) if error is not None else ""


@contextmanager
def logs_to(log: Log) -> Iterator[None]:
    """Let `log` hear every line that is logged."""
    before, facts_before = structlog.get_config(), logs._facts
    # Nothing comes of a line but what it makes of it, so there is nothing to make a logger of.
    structlog.configure(processors=[log.logged], logger_factory=lambda *_: None, cache_logger_on_first_use=False)
    logs._facts = log
    try:
        yield
    finally:
        structlog.configure(**before)
        logs._facts = facts_before
