"""What upstream sends down: answers and their headers, changes of the directory, its rows, grants of allowances."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import msgspec

from gateway.config.upstream import Endpoint
from gateway.domain.allowances import GrantRefused
from gateway.domain.ledger import UPSTREAM
from gateway.store.credentials import CredentialKey
from gateway.store.directory_batch import Ground
from gateway.store.directory_overlay import Overlay
from gateway.store.directory_rows import RowError, parse
from gateway.store.directory_types import Summary
from gateway.store.importing import Import, ImportRefused
from gateway.upstream.changes import Arrived, NothingNew, _cursor_of, _read
from gateway.upstream.contract import AllowanceMessages
from gateway.upstream.courier import _grants
from gateway.upstream.download import CURSOR_MAX, DirectoryRefused, _meta
from gateway.upstream.http import Answer, Client, _retry_after_s
from gateway.upstream.https import WHY_MAX, _verdict
from gateway.upstream.sinks import Refused, SinkUnavailable
from tests.gateway.domain.cutoff import CutOffVenue

_KEY = CredentialKey(b"a key of thirty-two bytes, or so")
_ZONES = ("foyer", "hall")
_VIENNA = ZoneInfo("Europe/Vienna")


def answer_to_events(data: bytes) -> None:
    """What upstream says to a pack of events, with every status."""
    for status in (200, 400, 409, 413, 418, 422):
        with suppress(SinkUnavailable):
            said = _verdict(Answer(status, {}, data), 0)
            assert not isinstance(said, Refused) or len(said.why) <= WHY_MAX


def changes(data: bytes) -> None:
    """Changes of the directory, under a digest that fits: what is taken fits over the directory in force."""
    overlay = Overlay(Summary(version="1", made_with=_KEY.fingerprint, cursor=7))
    _cursor_of(data)
    arrived = Arrived(data, f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:")
    with suppress(DirectoryRefused):
        batch = _read(arrived, 7, Ground(overlay.summary, _KEY, _ZONES, _VIENNA))
        if batch is not None and not isinstance(batch, NothingNew):
            overlay.lay(batch)
            assert 7 < overlay.cursor <= CURSOR_MAX


def ndjson(data: bytes) -> None:
    """Lines of a directory to import, read as the import reads them."""
    reading = Import(Path(), _KEY, _ZONES, _VIENNA, 0)
    for number, line in enumerate(data.split(b"\n"), start=1):
        with suppress(RowError):
            parse(line)
        reading._take(number, line)
    with suppress(ImportRefused):
        reading._check_names()
        reading._refuse_if_wrong()


def grants(data: bytes) -> None:
    """Grants of allowances: whatever they say, no money is made, and what the venue says of it can be sent."""
    venue = CutOffVenue("book-1")
    with suppress(SinkUnavailable):
        for grant in _grants(data):
            with suppress(GrantRefused):
                venue.take(msgspec.to_builtins(grant))
            venue.ledger.check()
            assert venue.ledger.imbalance_minor == 0
            assert venue.ledger.account(UPSTREAM).balance_minor == -venue.own_money()
            statement = venue.says(grant.holder)
            msgspec.json.decode(msgspec.json.encode({"statements": [statement]}), type=AllowanceMessages)


def headers(data: bytes) -> None:
    """The headers of an answer: each line is one of those that are read."""
    lines = (data.decode("latin-1").split("\n") + [""] * 5)[:5]
    told: list[tuple[int, int]] = []
    client = Client(Endpoint(url="https://upstream.example"), "stadthalle", lambda *heard: told.append(heard))
    client._hear_date(lines[0], 0.1)
    assert 0 <= _retry_after_s(lines[1]) < 100_000
    named = dict(zip(("Directory-Cursor", "ETag", "Repr-Digest"), lines[2:], strict=True))
    with suppress(DirectoryRefused):
        assert 0 < _meta(SimpleNamespace(headers=named)).cursor <= CURSOR_MAX


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (answer_to_events, changes, ndjson, grants, headers)
}
