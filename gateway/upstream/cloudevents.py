"""Journal rows as CloudEvents 1.0 in JSON, made from the stored bytes: what was journalled is what goes up.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md; the attribute
`sequence` is that of the extension of the same name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from gateway.flows.recorder import id_text
from gateway.store.rows import StoredRow

MEDIA_TYPE = "application/cloudevents-batch+json"
TYPE_PREFIX = "venue."
_KIND = re.compile(rb'\{"kind":"([a-z0-9_.]+)"')
_MS = 1000


class _Kind(msgspec.Struct):
    kind: str


def source(venue: str, journal_id: bytes) -> str:
    """Return who says it: a venue, and the journal that counts `sequence`. A venue with a new disk has another."""
    return f"/venues/{venue}/journals/{id_text(journal_id)}"


def cloud_event(row: StoredRow, event_id: str, of: str) -> bytes:
    """Return one row as a CloudEvent; `data` is the journal's own bytes, `hash` what chains it to those before.

    `event_id` is the row's id as text, `of` its `source`.
    """
    second = _second(row.at_ms // _MS)
    head = (
        f'{{"specversion":"1.0","id":"{event_id}","source":"{of}","type":"{TYPE_PREFIX}{_kind(row.body)}",'
        f'"time":"{second}.{row.at_ms % _MS:03}Z","datacontenttype":"application/json","sequence":"{row.seq:016}",'
        f'"hash":"{row.hash.hex()}","data":'
    )
    return head.encode() + row.body + b"}"


def _kind(body: bytes) -> str:
    # The journal writes the kind first; a row of another hand is decoded.
    if found := _KIND.match(body):
        return found[1].decode()
    return msgspec.json.decode(body, type=_Kind).kind


@lru_cache(maxsize=64)
def _second(at_s: int) -> str:
    """Rows of one second are many, and writing a date takes longer than all else of an event."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"
