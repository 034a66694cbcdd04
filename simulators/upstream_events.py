"""The reference upstream's events: each once, in the order of its journal, in a file that outlives the process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

_JOURNAL = re.compile("^/venues/[^/]+/journals/[0-9a-f-]{36}$")


class Received(msgspec.Struct):
    """What is looked at of a CloudEvent."""

    specversion: str
    id: str
    source: str
    type: str
    sequence: str


class Missing(Exception):
    """Events between what there is and what came are missing."""

    def __init__(self, through_seq: int) -> None:
        super().__init__(f"there is nothing after {through_seq}")
        self.through_seq = through_seq


class Refused(Exception):
    """An event that is none; `event_id` names it where it has a name."""

    def __init__(self, why: str, event_id: str = "") -> None:
        super().__init__(why)
        self.event_id = event_id


class EventStore:
    """Events of any number of journals, one a line, as they came. `poison` are event types that are refused."""

    def __init__(self, path: Path) -> None:
        """Begin with what is in the file; half a line at its end was never acknowledged."""
        self._ids: set[str] = set()
        self.through: dict[str, int] = {}
        self.poison: frozenset[str] = frozenset()
        self.repeated = 0
        self.lines: list[bytes] = []
        self.on_new: Callable[[list[bytes]], None] = lambda _lines: None
        whole = path.read_bytes() if path.exists() else b""
        end = whole.rfind(b"\n") + 1
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(end)
        self._file.seek(end)
        for line in whole[:end].splitlines():
            self._remember(msgspec.json.decode(line, type=Received), line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def forget(self) -> None:
        """Lose everything, as one who restores an empty backup does."""
        self._ids.clear()
        self.through.clear()
        self.lines.clear()
        self._file.truncate(0)
        self._file.seek(0)

    def take(self, body: bytes, source: str, after_seq: int, through_seq: int, *, gap: bool = False) -> int:
        """Store a batch, or what of it is new; returns the last number there is. Raises Missing and Refused."""
        events = _checked(body, source, self.poison)
        known_seq = self.through.get(source, 0)
        if after_seq > known_seq and not gap:
            raise Missing(known_seq)
        fresh = [(event, raw) for event, raw in events if event.id not in self._ids]
        self.repeated += len(events) - len(fresh)
        # On disk first: what is acknowledged is deleted at the venue some day.
        self._file.write(b"".join(raw + b"\n" for _, raw in fresh))
        for event, raw in fresh:
            self._remember(event, raw)
        self.through[source] = max(known_seq, through_seq)
        self.on_new([raw for _, raw in fresh])
        return self.through[source]

    def _remember(self, event: Received, line: bytes) -> None:
        self._ids.add(event.id)
        self.lines.append(line)
        self.through[event.source] = max(self.through.get(event.source, 0), int(event.sequence))


def _checked(body: bytes, source: str, poison: Iterable[str]) -> list[tuple[Received, bytes]]:
    if _JOURNAL.match(source) is None:
        raise Refused("source: it takes /venues/{venue}/journals/{journal}")
    try:
        pieces = msgspec.json.decode(body, type=list[msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise Refused(f"this is no array of events: {error}") from None
    events = []
    for piece in pieces:
        try:
            event = msgspec.json.decode(piece, type=Received)
        except msgspec.MsgspecError as error:
            raise Refused(f"this is no event: {error}") from None
        if event.source != source or event.specversion != "1.0" or not event.sequence.isdigit():
            raise Refused("source, specversion or sequence are wrong", event.id)
        if event.type in poison:
            raise Refused(f"nothing here takes {event.type}", event.id)
        events.append((event, bytes(piece)))
    return events
