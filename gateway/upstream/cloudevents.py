"""Journal rows as CloudEvents 1.0 in JSON, made from the stored bytes: what was journalled is what goes up.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md; the attribute
`sequence` is that of the extension of the same name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import msgspec

from gateway.flows.recorder import id_text

BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
MEDIA_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "venue."
_KIND_FIRST = b'{"kind":"'
_AT = len(_KIND_FIRST)
_MS = 1000


class _Kind(msgspec.Struct):
    kind: str


def source(venue: str, journal_id: bytes) -> str:
    """Return who says it: a venue, and the journal that counts `sequence`. A venue with a new disk has another."""
    return f"/venues/{venue}/journals/{id_text(journal_id)}"


def cloud_events(rows: Iterable[tuple[int, str, int, bytes, str]], of: str, aside: Collection[int] = ()) -> list[bytes]:
    """Return rows of `Reader.hex_rows` as one CloudEvent each, but for those `aside`; `of` is their `source`.

    `data` is the journal's own bytes, `hash` what chains it to those before. Each step here counts a million times.
    """
    events, second, time = [], -1, ""
    head, middle = '{"specversion":"1.0","id":"', f'","source":"{of}","type":"{TYPE_PREFIX}'
    for seq, digits, at_ms, body, link in rows:
        if seq in aside:
            continue
        if at_ms // _MS != second:
            # Rows of one second are many, and writing a date takes longer than all else of an event.
            second = at_ms // _MS
            time = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        event_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        start = (
            f'{head}{event_id}{middle}{_kind(body)}","time":"{time}.{at_ms % _MS:03}Z",'
            f'"datacontenttype":"application/json","sequence":"{seq:016}","hash":"{link}","data":'
        )
        events.append(b"%b%b}" % (start.encode(), body))
    return events


def _kind(body: bytes) -> str:
    # The journal writes the kind first; a row of another hand is decoded.
    if body.startswith(_KIND_FIRST):
        return body[_AT : body.index(b'"', _AT)].decode()
    return msgspec.json.decode(body, type=_Kind).kind
