"""A reader that waits for a tap, and a hold that waits for its capture: how each ends when nobody comes.

Every function looks at the state and returns the facts that follow, or none; nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gateway.domain import wallet_events as w
from gateway.domain.event import RequestRef
from gateway.domain.ledger import Ledger, wallet
from gateway.domain.reasons import Reason


def waiting(ledger: Ledger, transfer: str) -> w.WalletArmed | None:
    """Return the order of this id for which a reader waits."""
    return next((armed for armed in ledger.armed.values() if armed.order.transfer == transfer), None)


def given_up(armed: w.WalletArmed, reason: Reason) -> w.WalletFailed:
    """Return the fact that a reader waits no more, and nothing was charged."""
    return w.WalletFailed(transfer=armed.order.transfer, reader=armed.reader, reason=reason, request=armed.request)


def cancelled(
    ledger: Ledger, transfer: str, client: str, request: RequestRef
) -> Sequence[w.WalletCancelled | w.WalletFailed | w.WalletHoldEnded]:
    """Return the facts that take back an order that waits or a hold; none when there is neither."""
    if (armed := waiting(ledger, transfer)) is not None:
        told = w.WalletCancelled(transfer=transfer, client=client, request=request)
        return told, given_up(armed, Reason.PAYMENT_CANCELLED)
    if (hold := ledger.holds.get(transfer)) is not None:
        return (_freed(ledger, hold, request),)
    return ()


def hold_timed_out(ledger: Ledger, transfer: str, now_ms: int) -> Sequence[w.WalletHoldEnded]:
    """Return the fact that nobody captured a hold in time, if it is still open and its time is over."""
    hold = ledger.holds.get(transfer)
    return (_freed(ledger, hold, None),) if hold is not None and now_ms >= hold.until_ms else ()


def after_restart(ledger: Ledger) -> list[w.WalletFailed]:
    """Return the facts for readers that waited when the daemon stopped: they wait no more, and nothing was charged."""
    return [given_up(armed, Reason.PAYMENT_INTERRUPTED) for armed in ledger.armed.values()]


def _freed(ledger: Ledger, hold: w.WalletHeld, request: RequestRef | None) -> w.WalletHoldEnded:
    held_minor = ledger.account(wallet(hold.holder)).held_minor - hold.amount_minor
    why: Literal["released", "timed_out"] = "released" if request is not None else "timed_out"
    return w.WalletHoldEnded(
        transfer=hold.transfer, holder=hold.holder, held_minor=held_minor, why=why, request=request
    )
