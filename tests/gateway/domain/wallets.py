"""A ledger without flows: orders go in, facts come out and are applied, and every one of them is kept."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.domain import events as e
from gateway.domain import purchases
from gateway.domain import wallet_events as w
from gateway.domain.access import ZoneMap
from gateway.domain.accounts import Account
from gateway.domain.clock import Doubt
from gateway.domain.ledger import Ledger, Posted, wallet
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from gateway.domain.wallet import Asked, Guest, Opening, Policy, decide

NO_ZONES = ZoneMap({}, {})
EUR = Policy(currency="EUR")
ONLINE = Policy(currency="EUR", upstream=True)
_decode = msgspec.json.Decoder(e.AnyEvent).decode


class Bank:
    """Every wallet of a venue. `openings` is what upstream says of each; `now_ms` is its clock."""

    def __init__(self, policy: Policy = EUR, **openings: int) -> None:
        self.policy = policy
        self.state = VenueState(NO_ZONES)
        self.history: list[e.AnyEvent] = []
        self.openings = {holder: Opening(balance_minor, "EUR") for holder, balance_minor in openings.items()}
        self.now_ms = 0
        self.directory_ms = 0
        self.doubt: Doubt | None = None

    @property
    def ledger(self) -> Ledger:
        return self.state.ledger

    def record(self, *events: e.AnyEvent) -> None:
        for event in events:
            # What is applied is what a journal would give back.
            self.history.append(_decode(msgspec.json.encode(event)))
            self.state.apply(self.history[-1])

    def ask(self, holder: str, action: str, amount_minor: int = 0, **fields: Any) -> Reason | list[e.AnyEvent]:
        """Return what followed: the facts, which are now true, or the reason why there are none."""
        asked = self.asked(holder, action, amount_minor, **fields)
        verdict = decide(self.ledger, self.policy, asked)
        if isinstance(verdict, Reason):
            return verdict
        self.record(*verdict)
        return list(verdict)

    def asked(self, holder: str, action: str, amount_minor: int = 0, **fields: Any) -> Asked:
        number = len(self.history)
        given = {"transfer": f"bar/{number}", "client": "bar", "currency": "EUR", "print": f"print-{number}"} | fields
        fingerprint = given.pop("print")
        order = w.Order(action=action, amount_minor=amount_minor, **given)
        return Asked(
            order=order,
            guest=self.guest(holder),
            now_ms=self.now_ms,
            request=e.RequestRef(order.client, order.transfer.partition("/")[2], fingerprint),
            known=self.posted(order.transfer),
            original=self.posted(order.of),
            refunded_minor=self.ledger.refunded.get(order.of, 0),
            payee=self.guest(order.to) if order.to else None,
            directory_ms=self.directory_ms,
            doubt=self.doubt,
        )

    def guest(self, holder: str) -> Guest:
        return Guest(holder, f"ref-{holder}", self.openings.get(holder))

    def posted(self, transfer: str) -> Posted | None:
        return self.ledger.transfers.get(transfer)

    def account(self, name: str) -> Account:
        return self.ledger.account(name)

    def balance(self, holder: str) -> int:
        return self.account(wallet(holder)).balance_minor

    def available(self, holder: str) -> int:
        return self.account(wallet(holder)).available_minor

    def cancel(self, transfer: str) -> None:
        self.record(*purchases.cancelled(self.ledger, transfer, "bar", e.RequestRef("bar", f"cancel-{transfer}")))

    def wait(self, duration_ms: int) -> None:
        """Let time pass, and let holds time out that are due."""
        self.now_ms += duration_ms
        for transfer in list(self.ledger.holds):
            self.record(*purchases.hold_timed_out(self.ledger, transfer, self.now_ms))
