"""Journal rows as CloudEvents 1.0 in JSON, made from the stored bytes: what was journalled is what goes up.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md; the attribute
`sequence` is that of the extension of the same name.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from struct import Struct

import msgspec

from gateway.store.reading import BETWEEN_BODIES, JoinedRows
from gateway.store.rows import id_text

BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
MEDIA_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "venue."
_KIND_FIRST = b'{"kind":"'
_AT = len(_KIND_FIRST)
_NUMBERS = Struct("x16s x12s3s")
"""`seq`, the seconds of `at_ms`, and its milliseconds, as digits."""
_IDS = Struct("8s4s4s4s12s 64s")
"""The five groups of an id, and the hash, as hex digits."""
_EVENT = (
    b'{"specversion":"1.0","id":"%%b-%%b-%%b-%%b-%%b","source":"%b","type":"venue.%%b","time":"%%b.%%bZ",'
    b'"datacontenttype":"application/json","sequence":"%%b","hash":"%%b","data":%%b}'
)


class _Kind(msgspec.Struct):
    kind: str


def source(venue: str, journal_id: bytes) -> str:
    """Return who says it: a venue, and the journal that counts `sequence`. A venue with a new disk has another."""
    return f"/venues/{venue}/journals/{id_text(journal_id)}"


def cloud_events(rows: JoinedRows, of: str, aside: Collection[int] = ()) -> list[bytes]:
    """Return rows of the journal as one CloudEvent each, but for those `aside`; `of` is their `source`.

    `data` is the journal's own bytes, `hash` what chains it to those before. Each step here counts a million times:
    taking apart and putting together is left to C, and only the kind and the second are looked at in Python.
    """
    event = _EVENT % of.replace("%", "%%").encode()
    passed_over = {b"%016d" % seq for seq in aside}
    seconds = _Seconds()
    return [
        event % (a, b, c, d, e, _kind(body), seconds[second], ms, seq, link, body)
        for (seq, second, ms), (a, b, c, d, e, link), body in zip(
            _NUMBERS.iter_unpack(rows.numbers),
            _IDS.iter_unpack(rows.ids.hex().encode()),
            rows.bodies.split(BETWEEN_BODIES) if rows.bodies else (),
            strict=True,
        )
        if seq not in passed_over
    ]


def _kind(body: bytes) -> bytes:
    # The journal writes the kind first; a row of another hand is decoded.
    if body.startswith(_KIND_FIRST):
        return body[_AT : body.index(b'"', _AT)]
    return msgspec.json.decode(body, type=_Kind).kind.encode()


class _Seconds(dict[bytes, bytes]):
    """Dates by their seconds since 1970, in digits: writing one takes longer than all else of an event."""

    def __missing__(self, second: bytes) -> bytes:
        made = self[second] = f"{datetime.fromtimestamp(int(second), UTC):%Y-%m-%dT%H:%M:%S}".encode()
        return made
