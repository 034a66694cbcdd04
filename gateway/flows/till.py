"""Who stands at a till: the guest behind a card or code, or the one reason why it counts for nothing there."""

from __future__ import annotations

from gateway.domain.access import Credential, credential_fault
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from gateway.flows.lookup import Found


def known_guest(
    found: Found, state: VenueState, now_ms: int, doubt: Doubt | None, *, after_expiry: bool = False
) -> Credential | Reason:
    """Return the credential that counts, or the reason against it; with `after_expiry` also one whose time is over.

    What staff blocked here comes first, as at a gate: it is refused whatever else is known of it. `doubt` is there
    while nobody vouches for the time.
    """
    if found.fault is Reason.DIRECTORY_UNAVAILABLE:
        return found.fault
    if state.is_blocked(found.ref, found.holder):
        return Reason.BLOCKED
    credential = found.credential
    if found.fault is not None or credential is None:
        return found.fault or Reason.UNKNOWN_CREDENTIAL
    if credential.state == "blocked":
        return Reason.BLOCKED
    if after_expiry and credential.state != "replaced":
        return credential
    return credential_fault(credential, now_ms, doubt) or credential
