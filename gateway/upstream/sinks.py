"""What a sink is: it takes packs of events in order, and says what became of each. How it does is its own business."""

from __future__ import annotations

import gzip
from typing import Protocol, TypeAlias

import msgspec


class Pack(msgspec.Struct, frozen=True):
    """Events in order, ready to go: all of the journal after `after_seq` up to `through_seq` but what was set aside.

    With a `gap`, rows before it are no longer here, since all sinks that there were had them. There are `count` events:
    in `body`, a JSON array of CloudEvents compressed with gzip, or for a sink that wants them `singly` in `parts`.
    `through_id` is the id of the event `through_seq`.
    """

    source: str
    after_seq: int
    through_seq: int
    through_id: str
    count: int
    body: bytes = b""
    parts: tuple[bytes, ...] = ()
    gap: bool = False

    @property
    def events(self) -> tuple[tuple[int, str], ...]:
        """(seq, id) of each event; read from the events, because it is only asked for when one is refused."""
        if self.parts:
            named = [msgspec.json.decode(part, type=_Named) for part in self.parts]
        else:
            named = msgspec.json.decode(gzip.decompress(self.body), type=list[_Named])
        return tuple((int(one.sequence), one.id) for one in named)


class _Named(msgspec.Struct):
    sequence: str
    id: str


class Taken(msgspec.Struct, frozen=True):
    """The sink has every event of the pack, and for good."""


class Refused(msgspec.Struct, frozen=True):
    """The sink took nothing of the pack and never will. `event_id` names the event that is at fault, if it is known."""

    why: str
    event_id: str = ""


class Behind(msgspec.Struct, frozen=True):
    """The sink has less than the pack follows on: it must be given what comes after `through_seq` again."""

    through_seq: int


class Ahead(msgspec.Struct, frozen=True):
    """The sink took nothing, because it has some of the pack already: it wants what comes after `through_seq`."""

    through_seq: int


Verdict: TypeAlias = Taken | Refused | Behind | Ahead
WHY_MAX = 1_000
"""What another program said is in it, and it stands in the log and in a retained message."""
FAILED = "a mistake in the gateway; the log has the details, please report them"


class SinkUnavailable(Exception):
    """Nobody knows what became of the pack; it is sent again later. The message is for a technician.

    `status` is what was answered, where an answer came.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0, status: int = 0) -> None:
        super().__init__(why[:WHY_MAX])
        self.retry_after_s = retry_after_s
        self.status = status


class Sink(Protocol):
    """Somebody who gets every event."""

    @property
    def singly(self) -> bool:
        """Whether it takes each event by itself, as it is; otherwise many in one compressed body."""
        ...

    @property
    def keep_s(self) -> float:
        """For how long what it acknowledged may have to be sent again: its own disk may not have it yet."""
        ...

    async def deliver(self, pack: Pack) -> Verdict:
        """Hand a pack over. The same one may come several times. Raises SinkUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
