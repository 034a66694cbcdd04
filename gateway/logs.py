"""Structured logs: JSON lines for journald, colour on a terminal, and never a stalled pipe in the way of a tap."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec
import structlog

LINES_MAX = 10_000
"""Lines that may wait for a slow reader of the log; beyond that the oldest are dropped and counted (I9)."""

SECRET_KEYS = frozenset({"value", "uid", "credential", "card", "password", "token", "secret", "key"})
"""Fields that never reach a log, whoever passes them by mistake (I12)."""


REST_S = 0.05
"""Pause between two writes: a thread that wakes for every line would take the interpreter from the loop each time."""


_facts: LogWriter | None = None
"""Where `fact` writes JSON itself; None where lines are made for people."""
_configured = _least = logging.INFO
"""The level of the command line, and the one in force."""


def fact(level: str, event: str, fields: dict[str, Any]) -> None:
    """Log one journalled fact. Under load there are thousands a second, so JSON lines take the shortest way.

    `fields` are the caller's choice out of an event's own; they hold no secret (I12).
    """
    if _NUMBERS[level] < _least:
        return
    if _facts is None:
        getattr(structlog.get_logger("journal"), level)(event, **fields)
        return
    line = _stamp(None, level, {"event": event, "level": level, **fields})
    _facts.write(msgspec.json.encode(line).decode() + "\n")


class LogWriter:
    """Writes lines from a thread of its own, so that a full pipe delays no guest. Works as a file for structlog."""

    def __init__(self, stream: TextIO) -> None:
        """Begin to write to `stream`."""
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._dropped = 0
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue text for writing; never blocks."""
        if len(self._lines) == LINES_MAX:
            self._dropped += 1
        self._lines.append(text)
        if not self._wake.is_set():
            self._wake.set()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as fast as the reader takes it."""

    def isatty(self) -> bool:
        """Return True on a terminal."""
        return self._stream.isatty()

    def close(self) -> None:
        """Write what waits, for two seconds at most."""
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._closed or self._lines:
            self._wake.wait()
            self._wake.clear()
            self._write_waiting()
            if not self._closed:
                time.sleep(REST_S)

    def _write_waiting(self) -> None:
        while self._lines:
            text = "".join(self._lines.popleft() for _ in range(min(len(self._lines), 500)))
            if self._dropped:
                text += f'{{"event": "log_lines_dropped", "level": "warning", "lines": {self._dropped}}}\n'
                self._dropped = 0
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                # Nobody reads the log any more; the gateway works on without it.
                return


_NUMBERS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NUMBERS |= {"exception": logging.ERROR, "critical": logging.CRITICAL}


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _stamp(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the UTC time; the text of a second is made once, for there can be thousands of lines in it."""
    at_us = time.time_ns() // 1000
    event["timestamp"] = f"{_second(at_us // 1_000_000)}.{at_us % 1_000_000:06}Z"
    return event


def _hide_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if not SECRET_KEYS.isdisjoint(event):
        for name in SECRET_KEYS.intersection(event):
            event[name] = "<hidden>"
    return event


def _to_json(event: dict[str, Any], **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _for_people() -> structlog.dev.ConsoleRenderer:
    """Colour, and tracebacks that leave out the local variables: card numbers and keys are among them (I12)."""
    return structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)


def _keep_level(_: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what is below the level in force. Loggers are made once, so it cannot be built into them."""
    if _NUMBERS.get(level, logging.CRITICAL) < _least:
        raise structlog.DropEvent
    return event


def set_level(level: str | None) -> None:
    """Log from this level up; with None, from the one of the command line again."""
    global _least  # noqa: PLW0603 - logging is the process's own, as in the standard library
    _least = _configured if level is None else _NUMBERS[level]
    logging.root.setLevel(max(_least, logging.WARNING))


def configure(level: str = "info", *, stream: TextIO | None = None) -> LogWriter:
    """Set up logging for the process and return the writer, to be closed last.

    JSON lines unless `stream` (standard error by default) is a terminal.
    """
    global _facts, _configured, _least  # noqa: PLW0603 - logging is the process's own, as in the standard library
    writer = LogWriter(stream or sys.stderr)
    terminal = writer.isatty()
    _facts = None if terminal else writer
    _configured = _least = numeric = _NUMBERS[level]
    processors: list[Any] = [
        _keep_level,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False) if terminal else _stamp,
        _hide_secrets,
    ]
    if terminal:
        processors += [_for_people()]
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(file=writer),  # type: ignore[arg-type]  # it only calls write() and flush()
        cache_logger_on_first_use=True,
    )
    _adopt_library_logs(numeric, writer)
    return writer


def _adopt_library_logs(level: int, writer: LogWriter) -> None:
    """Send what libraries log through the standard library into the same stream, from warnings up."""
    handler = logging.StreamHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _for_people() if writer.isatty() else structlog.processors.JSONRenderer(serializer=_to_json),
            ],
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(max(level, logging.WARNING))
