"""Everything that is known of one guest, for whoever stands at the service desk. Nothing is touched by it."""

from __future__ import annotations

from typing import Any

from gateway.domain import ledger
from gateway.domain.access import Credential, Entitlement
from gateway.domain.state import VenueState
from gateway.flows.lookup import Found
from gateway.store.directory import Directory

ENTITLEMENTS_MAX = 100


def about(found: Found, state: VenueState, directory: Directory) -> dict[str, Any]:
    """Return the credential by its reference, the holder, where they are, what they may and what they have."""
    known: dict[str, Any] = {"ref": found.ref, "holder": found.holder, "fault": found.fault or ""}
    if found.credential is not None:
        known["credential"] = _credential(found.credential)
    if not found.holder:
        return known
    here = state.where.get(found.holder)
    return {
        **known,
        "blocked": state.is_blocked(found.ref, found.holder),
        "inside": {"zone": here.zone, "since_ms": here.since_ms} if here is not None else None,
        "entitlements": [_entitlement(one, state) for one in found.entitlements[:ENTITLEMENTS_MAX]],
        "wallet": _wallet(found.holder, state, directory),
    }


def _credential(credential: Credential) -> dict[str, Any]:
    return {"state": credential.state, "kind": credential.kind, "valid_until_ms": credential.valid_until_ms}


def _entitlement(one: Entitlement, state: VenueState) -> dict[str, Any]:
    today = state.day_uses.get(one.id)
    return {
        "id": one.id,
        "zones": list(one.zones),
        "item": one.item or "",
        "valid_from_ms": one.valid_from_ms,
        "valid_until_ms": one.valid_until_ms,
        "schedule": one.schedule or "",
        "uses": state.uses.get(one.id, 0),
        "uses_total": one.uses_total,
        "uses_per_day": one.uses_per_day,
        "uses_on_day": {"day": today.day, "uses": today.uses} if today is not None else None,
    }


def _wallet(holder: str, state: VenueState, directory: Directory) -> dict[str, Any] | None:
    """Return balance and holds as they stand here; what was never spent here is in the directory alone."""
    account = state.ledger.accounts.get(ledger.wallet(holder))
    if account is not None:
        shown = {
            "balance_minor": account.balance_minor,
            "held_minor": account.held_minor,
            "available_minor": account.available_minor,
            "spent_minor": account.spent_minor,
        }
        return {**shown, "currency": state.ledger.currency}
    opening = directory.wallet(holder)
    return None if opening is None else {"balance_minor": opening.balance_minor, "currency": opening.currency}
