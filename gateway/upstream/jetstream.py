"""The sink that stores packs in a JetStream of NATS, each as one message, exactly as they go up over HTTPS.

Each message names the one before it (`Nats-Expected-Last-Subject-Sequence`), so that nothing is ever stored out of
order, whatever becomes of servers and leaders. See docs/decisions/0008-sinks.md.
"""

from __future__ import annotations

import msgspec
from nats.js.api import Header, RawStreamMsg, RetentionPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError

from gateway.upstream.bus import Bus
from gateway.upstream.cloudevents import BATCH_MEDIA_TYPE
from gateway.upstream.sinks import Ahead, Behind, Pack, Refused, SinkUnavailable, Taken, Verdict

SOURCE, AFTER, THROUGH, GAP = "Venue-Source", "Venue-After", "Venue-Through", "Venue-Gap"
HEADER_BYTES = 12
"""The line before the headers and the one after."""
WRONG_LAST = 10071
"""JSStreamWrongLastSequenceErrF of nats-server's errors.json."""


class _Last(msgspec.Struct, frozen=True):
    """What a stream has of this venue: its number there, whose journal that was, and how far it goes."""

    seq: int = 0
    source: str = ""
    through_seq: int = 0


class JetStreamSink:
    """One stream that gets every event."""

    singly = False

    def __init__(self, bus: Bus, subject: str, keep_s: float) -> None:
        """Publish on `subject` by `bus`, which is this sink's own."""
        self.keep_s = keep_s
        self._bus = bus
        self._subject = subject
        self._stream = ""
        self._forgets = False
        self._last: _Last | None = None

    async def deliver(self, pack: Pack) -> Verdict:
        """Store a pack. Raises SinkUnavailable."""
        js = await self._bus.jetstream()
        last, self._last = self._last, None
        # Until a message is acknowledged nobody knows what the stream has: it is asked before anything else goes up.
        if last is None:
            last = await self._learn(js)
            if behind := self._missing(last, pack):
                return behind
        if known := self._known(last, pack):
            return known
        ack = await self._store(pack, last)
        if ack is None:
            # The last one has expired there, or this one has come before: look, and try once more.
            last = await self._learn(js)
            if again := self._missing(last, pack) or self._known(last, pack):
                return again
            ack = await self._store(pack, last, is_new=True)
        if isinstance(ack, Refused):
            self._last = last
            return ack
        if ack is None:
            raise SinkUnavailable(f"somebody else publishes on {self._subject}, which is for this venue alone")
        self._last = _Last(ack, pack.source, pack.through_seq)
        return Taken()

    async def close(self) -> None:
        """Close the connection."""
        self._last = None
        await self._bus.close()

    async def _store(self, pack: Pack, last: _Last, *, is_new: bool = False) -> int | Refused | None:
        """Return the message's number in the stream; None when it does not follow `last`, or came before.

        With `is_new` the stream is known not to have it, whatever it remembers of ids.
        """
        headers = {
            "Content-Type": BATCH_MEDIA_TYPE,
            "Content-Encoding": "gzip",
            SOURCE: pack.source,
            AFTER: str(pack.after_seq),
            THROUGH: str(pack.through_seq),
            Header.EXPECTED_STREAM.value: self._stream,
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(last.seq),
        }
        if pack.gap:
            headers[GAP] = "true"
        if not is_new:
            # Only what has all events before it is ever stored, so the last one's id stands for all up to it.
            headers[Header.MSG_ID.value] = pack.through_id
        if len(pack.body) + _size(headers) > self._bus.payload_max:
            # The server counts both, the library the body alone; and the server breaks the connection.
            return Refused(f"the server takes no more than {self._bus.payload_max} bytes")
        try:
            ack = await self._bus.store(self._subject, pack.body, headers)
        except BadRequestError as error:
            if error.err_code == WRONG_LAST:
                return None
            raise SinkUnavailable(self._bus.explain(error)) from error
        return None if ack.duplicate else ack.seq

    async def _learn(self, js: JetStreamContext) -> _Last:
        """Ask the stream what it has of this venue."""
        ask = self._bus.answer
        try:
            self._stream = await ask(js.find_stream_name_by_subject(self._subject))
            info = await ask(js.stream_info(self._stream))
        except NotFoundError:
            why = f"no stream at {self._bus.host} takes {self._subject}"
            raise SinkUnavailable(f"{why}; make one there: see docs/upstream.md") from None
        if info.config.retention != RetentionPolicy.LIMITS:
            why = f"the stream {self._stream} forgets what was read, so nobody can say what it has"
            raise SinkUnavailable(f"{why}; give it retention by limits, and let others take from it")
        self._forgets = info.state.first_seq > 1
        try:
            found = await ask(js.get_last_msg(self._stream, self._subject))
        except NotFoundError:
            return _Last()
        return _read(found)

    def _missing(self, last: _Last, pack: Pack) -> Behind | None:
        """Return what the stream lacks of what comes before a pack; None when it lacks nothing.

        It is only asked of what was just learned: events that are set aside leave no trace in the stream.
        """
        if pack.after_seq == 0 or pack.gap:
            return None
        if last.source == pack.source:
            return Behind(last.through_seq) if last.through_seq < pack.after_seq else None
        # Without a word of this journal: all has expired, or the server lost it.
        return None if self._forgets and not last.source else Behind(0)

    def _known(self, last: _Last, pack: Pack) -> Verdict | None:
        """Return what is to be said of a pack that the stream has, or a part of it; None when it has nothing of it."""
        if last.source != pack.source or last.through_seq <= pack.after_seq:
            return None
        self._last = last
        return Taken() if last.through_seq >= pack.through_seq else Ahead(last.through_seq)


def _size(headers: dict[str, str]) -> int:
    """Return how many bytes headers have on the wire."""
    return HEADER_BYTES + len(": \r\n") * len(headers) + len("".join((*headers, *headers.values())))


def _read(message: RawStreamMsg) -> _Last:
    headers = message.headers or {}
    through = headers.get(THROUGH, "")
    if not (through.isascii() and through.isdigit() and len(through) <= 16):
        return _Last(message.seq or 0, "another")
    return _Last(message.seq or 0, headers.get(SOURCE, ""), int(through))
