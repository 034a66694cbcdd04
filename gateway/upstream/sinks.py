"""What a sink is: it takes packs of events in order, and says what became of each. How it does is its own business."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec


class Pack(msgspec.Struct, frozen=True):
    """Events in order, ready to go: all of the journal after `after_seq` up to `through_seq` but what was set aside.

    With a `gap`, rows before it are no longer here, since all sinks that there were had them. `body` is a JSON array of
    CloudEvents, compressed with gzip; `events` are (seq, id) of what is in it.
    """

    source: str
    after_seq: int
    through_seq: int
    events: tuple[tuple[int, str], ...]
    body: bytes
    gap: bool = False


class Taken(msgspec.Struct, frozen=True):
    """The sink has every event of the pack, and for good."""


class Refused(msgspec.Struct, frozen=True):
    """The sink took nothing of the pack and never will. `event_id` names the event that is at fault, if it is known."""

    why: str
    event_id: str = ""


class Behind(msgspec.Struct, frozen=True):
    """The sink has less than the pack follows on: it must be given what comes after `through_seq` again."""

    through_seq: int


Verdict: TypeAlias = Taken | Refused | Behind
FAILED = "a mistake in the gateway; the log has the details, please report them"


class SinkUnavailable(Exception):
    """Nobody knows what became of the pack; it is sent again later. The message is for a technician.

    `status` is what was answered, where an answer came.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0, status: int = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.status = status


class Sink(Protocol):
    """Somebody who gets every event."""

    async def deliver(self, pack: Pack) -> Verdict:
        """Hand a pack over. The same one may come several times. Raises SinkUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
