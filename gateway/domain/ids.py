"""Time-ordered ids (UUIDv7, RFC 9562 section 5.7): rows that come together lie together on the disk."""

from __future__ import annotations

from collections.abc import Callable

POOL_BYTES = 4096


class RandomPool:
    """Random bytes fetched in large pieces: a system call for each id would cost more than the id."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        """Take the source, such as `os.urandom`."""
        self._source = source
        self._pool = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return `size` bytes that are given out once, at most `POOL_BYTES`."""
        if self._at + size > len(self._pool):
            self._pool, self._at = self._source(POOL_BYTES), 0
        taken = self._pool[self._at : self._at + size]
        self._at += size
        return taken


class Uuid7:
    """Makes 16-byte UUIDv7 values that never go backwards, even when the clock does."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        """Take the source of randomness: `os.urandom`, or a seeded one in a simulation."""
        self._random_bytes = random_bytes
        self._last_ms = 0
        self._count = 0

    def __call__(self, now_ms: int) -> bytes:
        """Return an id for `now_ms` (UTC milliseconds): 48 bits of time, a 12-bit counter, 62 random bits."""
        if now_ms > self._last_ms:
            self._last_ms, self._count = now_ms, 0
        elif self._count < 0xFFF:
            self._count += 1
        else:
            # More than 4096 ids in one millisecond: borrow from the next one rather than repeat or wait.
            self._last_ms, self._count = self._last_ms + 1, 0
        tail = int.from_bytes(self._random_bytes(8)) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        head = self._last_ms << 16 | 0x7000 | self._count
        return (head << 64 | tail).to_bytes(16)
