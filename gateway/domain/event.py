"""What every fact is made of; the facts themselves are in `events` and, for money, in `wallet_events`."""

from __future__ import annotations

from typing import Literal

import msgspec


class RequestRef(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Which client's request an event answers.

    `fingerprint` is a digest of what was asked, to tell a repeat from a clash.
    """

    client: str
    id: str
    fingerprint: str = ""


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Base of every fact. The tag `kind` is its name on the wire and in the journal.

    `clock` marks what was recorded while nobody vouched for the time (I10).
    """

    clock: Literal["", "untrusted"] = ""
