"""What every decoder of a byte stream shares: a bounded buffer, and counting what is no frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

Event = TypeVar("Event")


class Refused(msgspec.Struct, frozen=True):
    """Bytes that are no frame of the protocol: how many in a row, and why the first of them was refused."""

    byte_count: int
    why: str


class Decoder(ABC, Generic[Event]):
    """Bytes in, events out, in the manner of h11: holds no socket, never raises, whatever it is fed.

    Call `receive_data` with what arrived, then `next_event` until it returns None; or iterate, which is the same.
    At most `LIMIT_BYTES` unread bytes are kept: of more, the newest.
    """

    LIMIT_BYTES = 64 * 1024

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ready: Event | None = None
        self._refused_bytes = 0
        self._refused_why = ""

    def __iter__(self) -> Iterator[Event | Refused]:
        while (event := self.next_event()) is not None:
            yield event

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they came from the line, in pieces of any size."""
        surplus = len(self._buffer) + len(data) - self.LIMIT_BYTES
        if surplus > 0:
            self._refuse(surplus, "more at once than such a device ever sends")
            del self._buffer[:surplus]
            data = data[-self.LIMIT_BYTES :]
        self._buffer += data

    def next_event(self) -> Event | Refused | None:
        """Return the next event in the order of the bytes, or None when more bytes are needed."""
        if self._ready is None:
            self._ready = self._next_frame()
        if self._refused_bytes:
            return self._take_refused()
        event, self._ready = self._ready, None
        return event

    @abstractmethod
    def _next_frame(self) -> Event | None:
        """Take the next frame out of `_buffer`; pass what stands before it to `_drop`. None: more bytes needed."""

    def _drop(self, count: int, why: str) -> None:
        del self._buffer[:count]
        self._refuse(count, why)

    def _refuse(self, count: int, why: str) -> None:
        if count and not self._refused_bytes:
            self._refused_why = why
        self._refused_bytes += count

    def _take_refused(self) -> Refused:
        refused = Refused(self._refused_bytes, self._refused_why)
        self._refused_bytes = 0
        return refused
