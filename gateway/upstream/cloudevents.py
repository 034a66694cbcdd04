"""Journal rows as CloudEvents 1.0 in JSON, made from the stored bytes: what was journalled is what goes up.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md; the attribute
`sequence` is that of the extension of the same name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from gateway.store.rows import StoredRow

MEDIA_TYPE = "application/cloudevents-batch+json"
TYPE_PREFIX = "venue."
_KIND = re.compile(rb'\{"kind":"([a-z0-9_.]+)"')
_MS = 1000


class _Kind(msgspec.Struct):
    kind: str


def source(venue: str, journal_id: bytes) -> str:
    """Return who says it: a venue, and the journal that counts `sequence`. A venue with a new disk has another."""
    return f"/venues/{venue}/journals/{UUID(bytes=journal_id)}"


def cloud_event(row: StoredRow, of: str) -> bytes:
    """Return one row as a CloudEvent; `data` is the journal's own bytes, `hash` what chains it to those before."""
    return b"".join((
        b'{"specversion":"1.0","id":"', str(UUID(bytes=row.id)).encode(),
        b'","source":"', of.encode(),
        b'","type":"', TYPE_PREFIX.encode(), _kind(row.body),
        b'","time":"', _timestamp(row.at_ms).encode(),
        b'","datacontenttype":"application/json","sequence":"%016d","hash":"' % row.seq, row.hash.hex().encode(),
        b'","data":', row.body, b"}",
    ))  # fmt: skip


def _kind(body: bytes) -> bytes:
    # The journal writes the kind first; a row of another hand is decoded.
    if found := _KIND.match(body):
        return found[1]
    return msgspec.json.decode(body, type=_Kind).kind.encode()


def _timestamp(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // _MS, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % _MS:03}Z"
