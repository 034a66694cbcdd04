"""The question "why?" at a till: every rule's verdict for what a guest could redeem, and nothing is touched by it."""

from __future__ import annotations

from typing import Any

from gateway.domain import entitlements
from gateway.domain.answers import Answer
from gateway.domain.clock import Doubt
from gateway.domain.entitlements import Purse
from gateway.domain.reasons import Reason, message_for
from gateway.domain.state import VenueState
from gateway.domain.why import OK
from gateway.flows.lookup import Found
from gateway.flows.till import known_guest


def explained(found: Found, state: VenueState, purse: Purse, now_ms: int, doubt: Doubt | None) -> Answer:
    """Return every rule's verdict, `ok` or its reason word, and what is left of each item."""
    guest = known_guest(found, state, now_ms, doubt)
    refusal = guest if isinstance(guest, Reason) else None
    unloaded = found.fault is Reason.DIRECTORY_UNAVAILABLE
    data: dict[str, Any] = {
        "decision": "denied" if refusal else "granted",
        "rules": {
            "directory": Reason.DIRECTORY_UNAVAILABLE if unloaded else OK,
            "block_list": Reason.BLOCKED if state.is_blocked(found.ref, found.holder) else OK,
            "credential": refusal or OK,
        },
    }
    if refusal is not None:
        data["reason"] = refusal
    if found.credential is not None and found.fault is None:
        lines = {"entitlements": entitlements.explain(purse), "left": {} if refusal else purse.left()}
        data |= {"holder": found.holder, "kind": found.credential.kind} | lines
    note = message_for(refusal) if refusal else "This guest may redeem what is left."
    return Answer("done", None, note, data)
