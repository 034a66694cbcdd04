"""Receipts to print, and what came out of the simulated printers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.tablet import Conversation, Tablet
from tests.e2e.venue import Venue


def receipt(*texts: str, cut: bool = True) -> dict[str, Any]:
    """The `data` of a print request: a line for each text."""
    lines: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts]
    return {"document": {"lines": [*lines, *([{"type": "cut"}] if cut else [])]}}


async def print_text(tablet: Tablet, printer: str, *texts: str, **options: Any) -> Conversation:
    """Ask for a receipt with these lines."""
    return await tablet.ask(printer, "print", receipt(*texts), **options)


async def printed(venue: Venue, printer: str) -> str:
    """All that is on paper, also what is not cut off yet."""
    control = await venue.device(printer)
    await control.do("flush")
    folder = venue.simulators.device(printer).receipts
    assert folder is not None
    return "\n".join(file.read_text() for file in sorted(folder.glob("receipt-*.txt")))


async def receipt_count(venue: Venue, printer: str) -> int:
    """How many pieces of paper a printer has given out."""
    return int((await (await venue.device(printer)).state())["receipt_count"])


async def newest(venue: Venue, printer: str) -> str:
    """The text of the newest receipt."""
    state = await (await venue.device(printer)).state()
    return _text_of(state["receipts"][-1]["txt"])


def _text_of(file: str) -> str:
    return Path(file).read_text()
