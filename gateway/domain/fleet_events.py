"""Facts about a venue as one of many: who it is to upstream, and what upstream has ordered."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.domain.event import Event

Refusal: TypeAlias = Literal[
    "malformed",
    "unknown_key",
    "bad_signature",
    "wrong_venue",
    "replayed",
    "expired",
    "not_yet_valid",
    "clock_untrusted",
    "not_allowed",
    "busy",
]
"""Why an order is refused, in the order in which it is looked at."""
Outcome: TypeAlias = Literal["done", "failed", "rolled_back", "unknown"]


class OrderTaken(Event, frozen=True, tag="order.taken"):
    """An order of `by`, signed with upstream's key of this name, will be carried out now; it is so before it is.

    `version` counts orders of this kind, `cursor` all that were told. `reason` is why, in upstream's words.
    """

    order_id: str
    cursor: int
    order_kind: str
    version: int
    by: str
    reason: str
    signed_with: str
    expires_at_ms: int


class OrderRefused(Event, frozen=True, tag="order.refused"):
    """An order was not taken, and nothing of it was done. What is not known of it is empty."""

    order_id: str
    cursor: int
    refusal: Refusal
    why: str
    order_kind: str = ""
    version: int = 0


class OrderEnded(Event, frozen=True, tag="order.ended"):
    """What became of an order that was taken."""

    order_id: str
    outcome: Outcome
    message: str = ""


class CertificateRenewed(Event, frozen=True, tag="fleet.certificate_renewed"):
    """Upstream has signed a new certificate for the gateway's own key; it holds until `valid_until_ms`."""

    valid_until_ms: int


FleetEvent: TypeAlias = OrderTaken | OrderRefused | OrderEnded | CertificateRenewed
