"""The contract with upstream, as types: what is sent to it, and what it answers. docs/upstream.md says it in words.

Every path begins with `/v1/venues/{venue}`. The OpenAPI document is made from these types.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.domain.allowances import Grant, Statement
from gateway.domain.orders import KeyGiven, SignedOrder
from gateway.domain.upstream_events import Found
from gateway.store.directory_batch import RowGone
from gateway.store.directory_rows import DirectoryRow

ROOT = "/v1/venues/{venue}"
EVENTS = "/events"
SNAPSHOT = "/directory/snapshot"
CHANGES = "/directory/changes"
ALLOWANCES = "/allowances"
FINDINGS = "/findings"
ENROLMENT = "/enrolment"
RENEWAL = "/enrolment/renewal"
ORDERS = "/orders"
DIAGNOSTICS = "/diagnostics/{order}"

Seq = Annotated[int, Meta(ge=0, le=2**53)]


class EventsTaken(msgspec.Struct, frozen=True):
    """200: every event of the batch is stored for good, now or before. `through_seq` is the last number there is."""

    through_seq: Seq


class EventsMissing(msgspec.Struct, frozen=True):
    """409: nothing was stored, because events between `through_seq` and the batch are missing."""

    through_seq: Seq


class EventsRefused(msgspec.Struct, frozen=True):
    """422: nothing was stored and this batch never will be. `id` names the event at fault, where one is."""

    why: str
    id: str = ""


class CloudEvent(msgspec.Struct, frozen=True):
    """One event, as CloudEvents 1.0 has it. `data` is the event of the venue's journal, byte for byte."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(description="UUIDv7. The same event always has the same id, however often it comes.")]
    source: Annotated[str, Meta(description="/venues/{venue}/journals/{journal}")]
    type: Annotated[str, Meta(description="`venue.` and the event's kind.")]
    time: Annotated[str, Meta(description="When it was recorded: RFC 3339, UTC, milliseconds.")]
    datacontenttype: Literal["application/json"]
    sequence: Annotated[
        str, Meta(pattern="^[0-9]{16}$", description="Its number in the journal: from 1, without gaps, with zeros.")
    ]
    hash: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{64}$",
            description="SHA-256 of the hash before it, the number, the id (16 bytes), the time in milliseconds and "
            "`data`; both numbers are 8 bytes, big-endian. The first is chained to 32 zero bytes.",
        ),
    ]
    data: Annotated[dict[str, Any], Meta(description="The event: see docs/asyncapi.yaml.")]


class DirectoryPut(msgspec.Struct, tag_field="op", tag="put", frozen=True):
    """This row is new, or takes the place of the one with the same key."""

    row: DirectoryRow


class DirectoryDelete(msgspec.Struct, tag_field="op", tag="delete", frozen=True):
    """The row with this key is gone."""

    row: RowGone


class DirectoryChanges(msgspec.Struct, frozen=True):
    """200: all that changed after the cursor `after` up to `cursor`. It is taken in whole, or refused whole."""

    after: Seq
    cursor: Seq
    changes: Annotated[list[DirectoryPut | DirectoryDelete], Meta(max_length=5_000)]


class AllowanceMessages(msgspec.Struct, frozen=True):
    """What a venue says of its allowances; at most 200 at a time."""

    statements: Annotated[list[Statement], Meta(max_length=200)]


class AllowanceAnswers(msgspec.Struct, frozen=True):
    """200: how each of these allowances stands, and any other that the venue should know of."""

    grants: Annotated[list[Grant], Meta(max_length=1_000)]


class Finding(msgspec.Struct, frozen=True):
    """Something that does not go together with what another venue did, such as one ticket let in at both."""

    id: Annotated[str, Meta(min_length=1, max_length=100, description="Upstream's own name for it, always the same.")]
    what: Found
    source: Annotated[str, Meta(max_length=300, description="`source` of the event at this venue.")]
    sequence: Annotated[int, Meta(ge=1, le=2**53, description="`sequence` of that event.")]
    elsewhere: Annotated[str, Meta(max_length=100, description="The other venue.")] = ""
    note: Annotated[str, Meta(max_length=300, description="For a person; never a guest's name.")] = ""


class Findings(msgspec.Struct, frozen=True):
    """200: all that was found after `after`, up to `cursor`; each counts one."""

    after: Seq
    cursor: Seq
    findings: Annotated[list[Finding], Meta(max_length=500)]


Pem = Annotated[str, Meta(max_length=64 << 10, description="PEM, as text.")]


class Enrolment(msgspec.Struct, frozen=True):
    """A gateway asks to be known as this venue; `code` is good once."""

    code: Annotated[str, Meta(min_length=1, max_length=200)]
    request: Annotated[Pem, Meta(description="PKCS #10 certificate signing request for the gateway's own key.")]
    gateway_version: str = ""


class Enrolled(msgspec.Struct, frozen=True):
    """200: who the gateway is from here on, and the keys by which it knows you."""

    certificate: Annotated[Pem, Meta(description="The certificate, and those between it and your authority.")]
    keys: Annotated[list[KeyGiven], Meta(min_length=1, max_length=8)]


class Renewal(msgspec.Struct, frozen=True):
    """A gateway that showed its certificate asks for a new one, for the same key."""

    request: Pem


class Renewed(msgspec.Struct, frozen=True):
    """200: the new certificate."""

    certificate: Pem


class Refusal(msgspec.Struct, frozen=True):
    """403 and others: why not, for a person."""

    why: Annotated[str, Meta(max_length=300)]


class Orders(msgspec.Struct, frozen=True):
    """200: what was ordered after `after`, up to `cursor`; each counts one."""

    after: Seq
    cursor: Seq
    orders: Annotated[list[SignedOrder], Meta(max_length=100)]
