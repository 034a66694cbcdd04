"""The rows of the journal and the hash that chains them."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

GENESIS = bytes(32)
"""What the first row is chained to."""


class Row(NamedTuple):
    """One event to be journalled: `seq` counts from 1 without gaps, `id` is 16 bytes, `body` the event's JSON."""

    seq: int
    id: bytes
    at_ms: int
    body: bytes


class StoredRow(NamedTuple):
    """One event on disk, with the 32-byte hash that chains it to all before it."""

    seq: int
    id: bytes
    at_ms: int
    body: bytes
    hash: bytes


def chain(previous: bytes, row: Row | StoredRow) -> bytes:
    """Return SHA-256(previous hash ‖ seq ‖ id ‖ at_ms ‖ body); both numbers are 8 bytes, big-endian."""
    # Signed, as SQLite's integers are: a row that was damaged has to be told from a whole one, whatever it says.
    numbers = row.seq.to_bytes(8, signed=True), row.at_ms.to_bytes(8, signed=True)
    return sha256(b"".join((previous, numbers[0], row.id, numbers[1], row.body))).digest()


def id_text(value: bytes) -> str:
    """Return 16 id bytes in the usual UUID form."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
