"""What readers show and sound: after a decision is on disk, beside everything else, and never waited for (I8).

Each reader has one task at most, and what is newest is shown: a guest must not see what became of the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from drivers.api import Beeper, Display, DriverError, Light
from gateway.domain.feedback import Shown, Signal, shown_by
from gateway.domain.feedback_book import Book
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Committed

log = structlog.get_logger(__name__)

DEVICE_TIMEOUT_S = 2.0
"""How long a reader may take for one signal; the next guest's is not held up longer."""
TONES = {"short": (1, 100, 0), "long": (1, 600, 0), "double": (2, 150, 100), "triple": (3, 150, 100)}
"""How often, for how many milliseconds, and with what pause a reader beeps."""


class SignalPort(Protocol):
    """A reader as the supervisor hands it out."""

    @property
    def online(self) -> bool:
        """True while the reader is there."""
        ...

    def live(self) -> Any:  # noqa: ANN401 - what it can do is asked of it
        """Return the driver; raises DeviceOffline while there is none."""
        ...


class FeedbackFlow:
    """Tells guests at the venue's own readers what came of their tap."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], object], now_ms: Callable[[], int]) -> None:
        """Begin without readers; `spawn` runs what is shown in the background."""
        self.book = Book()
        self._show_ms = 3000
        self._spawn = spawn
        self._now_ms = now_ms
        self._readers: Mapping[str, SignalPort] = {}
        self._next: dict[str, Shown] = {}
        self._showing: set[str] = set()
        self._failing: set[str] = set()
        self._able: dict[type, bool] = {}

    def configure(self, book: Book, show_s: float, readers: Mapping[str, SignalPort]) -> None:
        """Take the signals, how long each is shown, and the readers."""
        self.book, self._show_ms, self._readers = book, round(show_s * 1000), readers

    def committed(self, entries: Sequence[Committed]) -> None:
        """Listen to the recorder: show what each entry means to whoever stands at a reader."""
        for entry in entries:
            shown = shown_by(entry.entry.event)
            if shown is not None and shown.place in self._readers:
                self.show(shown)

    def storage_refused(self, reader: str) -> None:
        """Say at a reader that a tap came to nothing, because nothing can be recorded."""
        self.show(Shown(reader, Reason.STORAGE_UNAVAILABLE.value))

    def show(self, shown: Shown) -> None:
        """Begin to show an outcome at a reader; whatever is still to be shown there is dropped for it."""
        reader = self._readers.get(shown.place)
        if reader is None or not reader.online or not self._can_tell(reader.live()):
            return
        self._next[shown.place] = shown
        if shown.place not in self._showing:
            self._showing.add(shown.place)
            self._spawn(self._run(shown.place))

    def _can_tell(self, device: object) -> bool:
        """Remembered for each model: asking takes longer than everything else here."""
        able = self._able.get(type(device))
        if able is None:
            able = self._able[type(device)] = isinstance(device, (Beeper, Light, Display))
        return able

    async def _run(self, place: str) -> None:
        try:
            while (shown := self._next.pop(place, None)) is not None:
                await self._tell(shown)
        finally:
            self._showing.discard(place)

    async def _tell(self, shown: Shown) -> None:
        reader = self._readers.get(shown.place)
        if reader is None:
            return
        try:
            async with asyncio.timeout(DEVICE_TIMEOUT_S):
                await self._signal(reader.live(), self.book.signal(shown.place, shown.outcome), shown)
            self._failing.discard(shown.place)
        except (DriverError, TimeoutError) as error:
            # The decision stands; only the light or the beep is missing, and the device itself is watched elsewhere.
            # It is told once, until the reader shows something again: a broken light must not fill the log.
            if shown.place not in self._failing:
                self._failing.add(shown.place)
                log.warning("feedback_not_shown", reader=shown.place, why=str(error) or "no answer")

    async def _signal(self, device: object, signal: Signal, shown: Shown) -> None:
        """Give all of a signal that the device can; one that refuses its light may sound all the same."""
        failed: DriverError | None = None
        for part in self._parts(device, signal, shown):
            try:
                await part()
            except DriverError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _parts(self, device: object, signal: Signal, shown: Shown) -> Iterator[Callable[[], Awaitable[None]]]:
        on_ms = self._show_ms if shown.until_ms is None else max(1, shown.until_ms - self._now_ms())
        if isinstance(device, Light) and signal.colour != "none":
            yield partial(device.light, signal.colour, on_ms)
        if isinstance(device, Beeper) and signal.tone != "none":
            yield partial(device.beep, *TONES[signal.tone])
        if isinstance(device, Display) and device.display_rows and (line := self.book.line(shown)):
            yield partial(device.show, line, on_ms)
