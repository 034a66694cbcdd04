"""What goes over the wire, as docs/asyncapi.yaml has it. Unknown fields are ignored: a newer gateway harms nobody.

Amounts are whole minor units of the currency: 1250 is 12.50 EUR.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Status = Literal["accepted", "done", "denied", "failed", "unknown"]
Paid = Literal["cash", "card", "voucher"]


class Told(msgspec.Struct, frozen=True):
    """What a reader or tablet that stands before the guest shows; `text` by language."""

    tone: str
    colour: str
    text: dict[str, str]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a request, `accepted` or the last word. `reason` is for machines, `message` for a person."""

    id: str
    status: Status
    at: str = ""
    target: str = ""
    verb: str = ""
    reason: str | None = None
    message: str = ""
    data: dict[str, Any] = {}
    note: str = ""
    feedback: Told | None = None

    @property
    def final(self) -> bool:
        """True when no further answer will come."""
        return self.status != "accepted"


class GatewayState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the gateway works, and what is wrong."""

    state: Literal["online", "degraded", "offline"]
    why: tuple[str, ...] = ()


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved: what `charge`, `top_up` and `refund` come to. `balance_minor` is the wallet's afterwards."""

    transfer: str
    action: str
    amount_minor: int
    currency: str
    holder: str = ""
    balance_minor: int | None = None
    credential: str | None = None
    of: str | None = None
    refunded_minor: int | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a wallet. `available_minor` is without what is held."""

    transfer: str
    currency: str
    holder: str
    balance_minor: int
    held_minor: int
    available_minor: int
    credential: str | None = None


class Armed(msgspec.Struct, frozen=True, kw_only=True):
    """A reader waits for the guest's card until `until_ms` (UTC milliseconds)."""

    transfer: str
    reader: str
    until_ms: int


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt that was sent. `confirmed` is False where the printer cannot say that it came out."""

    job: str
    confirmed: bool


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A drawer that was opened. `confirmed` is False where no contact saw it."""

    opening: str
    confirmed: bool


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A guest who was let in at a gate."""

    decision: str
    entry: str
    gate: str
    zone: str
    flags: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One entry of the journal. `seq` counts from 1 without gaps; `fields` is all that belongs to its `kind`."""

    seq: int
    id: str
    at: str
    kind: str
    fields: dict[str, Any]


class ReplayPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the journal; `more` is True while another one follows."""

    entries: list[dict[str, Any]]
    last_seq: int
    more: bool


def entry(message: dict[str, Any]) -> Entry:
    """Return one entry of the event feed or of a replay."""
    known = ("seq", "id", "at", "kind")
    fields = {name: value for name, value in message.items() if name not in known}
    return Entry(message["seq"], message["id"], message["at"], message["kind"], fields)
