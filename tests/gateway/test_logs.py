from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from gateway import logs

CARD = "100086F444"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Iterator[tuple[Terminal, logs.LogWriter]]:
    """A terminal that the process logs to, and what writes to it; what was set up before is set up again afterwards."""
    before, handlers, level = structlog.get_config(), logging.root.handlers, logging.root.level
    stream = Terminal()
    writer = logs.configure(stream=stream)
    try:
        yield stream, writer
    finally:
        writer.close()
        structlog.configure(**before)
        logging.root.handlers = handlers
        logging.root.setLevel(level)


def fail_with(card: str) -> None:
    raise RuntimeError(f"a bug, {len(card)} characters in")


@pytest.mark.parametrize("logger", [structlog.get_logger, logging.getLogger], ids=["own", "library"])
def test_i12_a_traceback_on_a_terminal_shows_no_local_variables(
    terminal: tuple[Terminal, logs.LogWriter], logger: Callable[[], logging.Logger]
) -> None:
    stream, writer = terminal
    card = CARD
    try:
        fail_with(card)
    except RuntimeError:
        logger().exception("device_event_failed")
    writer.close()
    shown = stream.getvalue()
    assert "device_event_failed" in shown
    assert "RuntimeError" in shown
    assert "fail_with" in shown
    assert CARD not in shown
