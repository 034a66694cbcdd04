"""What the console is handed of the venue: everything it shows and does goes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.domain.answers import Answer
from gateway.domain.events import PrintQueued
from gateway.flows.desk import Request
from gateway.flows.lookup import Presented


class Venue(Protocol):
    """The venue as the composition root hands it to the console."""

    def now_ms(self) -> int:
        """Return UTC milliseconds."""
        ...

    def parts(self) -> Mapping[str, Callable[[], Any]]:
        """Return what makes each part of the page, as it is at the moment of the call; without personal data."""
        ...

    def charts(self) -> Mapping[str, Any]:
        """Return the figures of the last hour, for small charts."""
        ...

    def handle(self, request: Request) -> Answer | None:
        """Ask the desk; None when the journal will answer."""
        ...

    def digest(self, data: bytes) -> str:
        """Return the keyed digest by which a repeated request is known."""
        ...

    def receipt(self, job: str) -> tuple[PrintQueued, bytes] | None:
        """Return a print job and its content; None where either is no longer kept."""
        ...

    def guest(self, shown: Presented | str | None, holder: str | None, client: str) -> dict[str, Any]:
        """Return what is known of a guest, found by a card, its reference or their name, and each gate's verdict."""
        ...

    async def configuration(self) -> dict[str, Any]:
        """Return the configuration file, line by line, and what `check` finds in it."""
        ...
