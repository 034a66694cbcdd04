"""Purchase: a tablet asks for money, the next tap at the reader it names pays, and the journal answers.

Nothing here moves metal: what a till does with a paid charge (receipt, drawer) it asks for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec
import structlog

from gateway.domain import authenticity, purchases
from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.domain.answers import Answer, denied, first_answer
from gateway.domain.authenticity import Evidence
from gateway.domain.event import RequestRef
from gateway.domain.ledger import Ledger, transfer_id
from gateway.domain.reasons import Reason
from gateway.domain.wallet import Asked, Guest, Policy, decide, standing
from gateway.flows import purchase_data as d
from gateway.flows.authenticity import Authenticity
from gateway.flows.booking import Cashier
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.lookup import Found, Lookup, Presented
from gateway.flows.purchase_deadlines import Deadlines
from gateway.flows.purchase_ports import ReaderPort
from gateway.flows.recorder import Recorder
from gateway.flows.till import known_guest
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

MS_PER_S = 1000
_AFTER_EXPIRY: frozenset[w.Action] = frozenset({"balance", "close_out"})
"""What a guest may still do with a card whose time is over: see what is left, and get it back."""


class PurchaseFlow:
    """Every wallet of the venue, and the readers that wait for a card to pay."""

    def __init__(self, recorder: Recorder, directory: Directory, key: CredentialKey) -> None:
        """Begin without readers: only what names a credential can be paid."""
        self.authenticity = Authenticity(recorder)
        self._recorder = recorder
        self._directory = directory
        self.lookup = Lookup(directory, key)
        self._policy = Policy(currency="")
        self._arm_timeout_s = 30.0
        self._readers: Mapping[str, ReaderPort] = {}
        self._deadlines = Deadlines(recorder)
        self.cashier = Cashier(recorder)

    def configure(self, policy: Policy, arm_timeout_s: float, readers: Mapping[str, ReaderPort]) -> None:
        """Take new rules and readers; a reader that is gone waits no more. At the start, holds get their timers."""
        self._policy, self._arm_timeout_s, self._readers = policy, arm_timeout_s, readers
        self._deadlines.look_again()
        for armed in list(self._ledger.armed.values()):
            if armed.reader not in readers:
                self._deadlines.give_up(armed, Reason.CONFIGURATION_CHANGED)
        self.upstream_spoke()

    def handlers(self) -> Mapping[str, Handler]:
        """Return what serves each verb of the target `wallet`."""
        takers: dict[str, Callable[[Request], Answer | None]] = {
            "charge": self._take_charge,
            "top_up": self._take_top_up,
            "tip": self._take_tip,
            "deposit": self._take_deposit,
            "hold": self._take_hold,
            "transfer": self._take_transfer,
            "close_out": self._take_close_out,
            "balance": self._take_balance,
            "refund": self._take_refund,
            "capture": self._take_capture,
            "cancel": self._take_cancel,
            "sell": self._take_sell,
        }
        return {verb: Handler(partial(self._once, take)) for verb, take in takers.items()}

    def _once(self, take: Callable[[Request], Answer | None], request: Request) -> Answer | None:
        """Answer what was done long ago: its answer was let go since, the transfer is remembered for ever."""
        transfer = transfer_id(request.client, request.id)
        if (known := self._recorder.transfer(transfer)) is None:
            return take(request)
        is_same = known.fingerprint == request.fingerprint
        return _done_before(transfer) if is_same else denied(Reason.IDEMPOTENCY_CONFLICT)

    def tap(self, reader: str, technology: str, value: str, evidence: Evidence = authenticity.NONE) -> bool:
        """Let a card pay at a reader that waits for one. False where none does: the tap is for somebody else.

        Raises StorageUnavailable when nothing can be recorded; then nothing is charged.
        """
        armed = self._ledger.armed.get(reader)
        if armed is None:
            return False
        found = self.lookup.find(technology, value, self._recorder.now_ms(), self._recorder.doubt)
        found = self.authenticity.checked(found, technology, evidence)
        self._fulfil(armed.order, found, armed.request, reader)
        self._deadlines.met(reader)
        return True

    def upstream_spoke(self) -> None:
        """Take notice of another directory: what may be spent without upstream counts from zero again."""
        if not self._policy.upstream or not self._directory.loaded:
            return
        contact = f"{self._directory.version}@{self._directory.as_of_ms}"
        if self._ledger.contact.id == contact:
            return
        try:
            self._recorder.record(w.WalletContact(contact=contact), urgent=False)
        except StorageUnavailable as error:
            log.warning("contact_not_stored", why=str(error))

    def storage_recovered(self) -> None:
        """The state was rebuilt from disk: wait for what it says."""
        self._deadlines.look_again()

    def close(self) -> None:
        """Stop; whoever waits for a tap is told that there will be none."""
        for armed in list(self._ledger.armed.values()):
            self._deadlines.give_up(armed, Reason.PAYMENT_INTERRUPTED)
        self._deadlines.stop()

    @property
    def _ledger(self) -> Ledger:
        return self._recorder.state.ledger

    # What a client asks.

    def _take_charge(self, request: Request) -> Answer | None:
        data = read_data(request, d.ChargeData)
        order = self._order(request, "charge", data.currency, data.amount_minor, **d.parts(data))
        return self._take(request, data, order)

    def _take_top_up(self, request: Request) -> Answer | None:
        data = read_data(request, d.TopUpData)
        return self._take(request, data, self._order(request, "top_up", data.currency, data.amount_minor, by=data.by))

    def _take_tip(self, request: Request) -> Answer | None:
        data = read_data(request, d.TipData)
        return self._take(request, data, self._order(request, "tip", data.currency, data.amount_minor))

    def _take_deposit(self, request: Request) -> Answer | None:
        data = read_data(request, d.DepositData)
        action: w.Action = "deposit" if data.action == "pay" else "deposit_return"
        if data.by is not None:
            return self._take_returned(request, data, data.by)
        return self._take(request, data, self._order(request, action, data.currency, data.amount_minor))

    def _take_returned(self, request: Request, data: d.DepositData, by: w.Medium) -> Answer | None:
        """Give a deposit back to a guest who has no wallet."""
        if data.action != "return" or data.reader is not None or data.credential is not None:
            note = "`data.by` is for `return` without `reader` and `credential`; `sell` takes a deposit in cash."
            raise RefusedRequest(denied(Reason.MALFORMED, note))
        return self._without_wallet(
            request, self._order(request, "deposit_return", data.currency, data.amount_minor, by=by)
        )

    def _take_sell(self, request: Request) -> Answer | None:
        data = read_data(request, d.SellData)
        return self._without_wallet(
            request, self._order(request, "sale", data.currency, data.amount_minor, by=data.by, **d.parts(data))
        )

    def _without_wallet(self, request: Request, order: w.Order) -> Answer | None:
        """Decide what cash, a card or a voucher pays for."""
        if order.currency != self._policy.currency:
            raise RefusedRequest(denied(Reason.WRONG_CURRENCY, f"Tills here take {self._policy.currency} only."))
        return self._decided(order, Guest(""), request.ref, None)

    def _take_hold(self, request: Request) -> Answer | None:
        data = read_data(request, d.HoldData)
        return self._take(request, data, self._order(request, "hold", data.currency, data.amount_minor))

    def _take_transfer(self, request: Request) -> Answer | None:
        data = read_data(request, d.TransferData)
        payee = self._identify(self._found(data.to), "transfer")
        if isinstance(payee, Reason):
            raise RefusedRequest(denied(payee, f"`data.to`: {denied(payee).message}"))
        order = self._order(request, "transfer", data.currency, data.amount_minor, to=payee.holder)
        return self._take(request, data, order)

    def _take_close_out(self, request: Request) -> Answer | None:
        data = read_data(request, d.CloseOutData)
        return self._take(request, data, self._order(request, "close_out", data.currency, 0, by=data.by))

    def _take_balance(self, request: Request) -> Answer | None:
        data = read_data(request, d.BalanceData)
        order = self._order(request, "balance", data.currency, 0)
        if data.credential is None or data.reader is not None:
            return self._take(request, data, order)
        guest = self._identify(self._found(data.credential), "balance")
        # A query changes nothing, so it needs no place in the journal.
        return denied(guest) if isinstance(guest, Reason) else first_answer(self._shown(order, guest, None, None))

    def _take_refund(self, request: Request) -> Answer | None:
        data = read_data(request, d.RefundData)
        original, given_minor = self._recorder.transfer(data.transfer), self._recorder.refunded_minor(data.transfer)
        if original is None or not original.refundable_minor:
            raise RefusedRequest(denied(Reason.UNKNOWN_TRANSFER))
        left_minor = original.refundable_minor - given_minor
        if data.amount_minor is None and left_minor <= 0:
            raise RefusedRequest(denied(Reason.OVER_CHARGED_AMOUNT, "All of it has been given back already."))
        amount_minor = left_minor if data.amount_minor is None else data.amount_minor
        order = self._order(request, "refund", data.currency, amount_minor, of=data.transfer)
        return self._about(request, order, original.holder)

    def _take_capture(self, request: Request) -> Answer | None:
        data = read_data(request, d.CaptureData)
        hold = self._ledger.holds.get(data.transfer)
        known = self._recorder.transfer(data.transfer)
        if hold is None:
            ended = known is not None and known.action == "hold"
            raise RefusedRequest(denied(Reason.HOLD_ENDED if ended else Reason.UNKNOWN_TRANSFER))
        parts_minor = data.tip_minor + data.deposit_minor
        amount_minor = hold.amount_minor - parts_minor if data.amount_minor is None else data.amount_minor
        if amount_minor < 1:
            raise RefusedRequest(denied(Reason.OVER_HELD_AMOUNT))
        order = self._order(request, "capture", data.currency, amount_minor, of=data.transfer, **d.parts(data))
        return self._about(request, order, hold.holder)

    def _take_cancel(self, request: Request) -> Answer | None:
        asked = read_data(request, d.CancelData).request
        transfer = transfer_id(request.client, asked)
        facts = purchases.cancelled(self._ledger, transfer, request.client, request.ref)
        if not facts:
            over = self._recorder.answered(request.client, asked) is not None
            raise RefusedRequest(denied(Reason.PAYMENT_ENDED if over else Reason.UNKNOWN_TRANSFER))
        armed = purchases.waiting(self._ledger, transfer)
        self._recorder.record(*facts)
        self._deadlines.met(armed.reader if armed is not None else transfer)
        return None

    def _order(
        self, request: Request, action: w.Action, currency: str | None, amount_minor: int, **rest: int | str
    ) -> w.Order:
        order = w.Order(
            transfer=transfer_id(request.client, request.id),
            action=action,
            client=request.client,
            currency=currency or self._policy.currency,
            amount_minor=amount_minor,
        )
        return msgspec.structs.replace(order, **rest)

    # From the order to the fact.

    def _take(self, request: Request, payer: d.Payer, order: w.Order) -> Answer | None:
        if (payer.reader is None) == (payer.credential is None):
            raise RefusedRequest(
                denied(Reason.MALFORMED, "`data`: give either `reader` or `credential`, and one of them.")
            )
        if order.currency != self._policy.currency:
            raise RefusedRequest(denied(Reason.WRONG_CURRENCY, f"Wallets here hold {self._policy.currency} only."))
        if order.action != "balance" and (refusal := self.cashier.refusal(order.client)):
            raise RefusedRequest(denied(refusal))
        if payer.credential is not None:
            # A number that a client merely names proves nothing.
            technology = payer.credential.technology if isinstance(payer.credential, Presented) else ""
            found = self.authenticity.checked(self._found(payer.credential), technology)
            return self._fulfil(order, found, request.ref, None)
        self._arm(request, str(payer.reader), order)
        return None

    def _arm(self, request: Request, reader: str, order: w.Order) -> None:
        """Let a reader wait for the next card. One order at a time: a tap must not pay for something else."""
        port = self._readers.get(reader)
        if port is None:
            raise RefusedRequest(denied(Reason.UNKNOWN_READER, d.no_reader(reader, self._readers)))
        if not port.online:
            raise RefusedRequest(
                denied(Reason.DEVICE_OFFLINE, f"{reader} is not connected. Check its power and cable.")
            )
        if reader in self._ledger.armed or reader in self._recorder.state.redemptions.armed:
            raise RefusedRequest(denied(Reason.BUSY, f"{reader} waits for a card for somebody else. Try again soon."))
        now_ms = self._recorder.now_ms()
        until_ms = now_ms + round(self._arm_timeout_s * MS_PER_S)
        if request.expires_at_ms is not None:
            until_ms = min(until_ms, request.expires_at_ms)
        armed = w.WalletArmed(reader=reader, order=order, until_ms=until_ms, request=request.ref)
        self._recorder.record(armed)
        self._deadlines.await_tap(armed)

    def _about(self, request: Request, order: w.Order, holder: str) -> Answer | None:
        """Decide an order that is about an earlier transfer, whose guest need not be here."""
        guest = Guest(holder, None, self._directory.wallet(holder) if self._policy.upstream else None)
        return self._decided(order, guest, request.ref, None)

    def _fulfil(self, order: w.Order, found: Found, request: RequestRef | None, reader: str | None) -> Answer | None:
        """Decide an order for the guest who carries a credential, and record what follows."""
        guest = self._identify(found, order.action)
        if isinstance(guest, Reason):
            self._deny(order, guest, found.ref, request, reader)
            return None
        if order.action == "balance":
            self._recorder.record(self._shown(order, guest, request, reader))
            return None
        return self._decided(order, guest, request, reader)

    def _decided(self, order: w.Order, guest: Guest, request: RequestRef | None, reader: str | None) -> Answer | None:
        if refusal := self.cashier.refusal(order.client):
            self._deny(order, refusal, guest.credential, request, reader, guest)
            return None
        payee_opening = self._directory.wallet(order.to) if order.to and self._policy.upstream else None
        asked = Asked(
            order=order,
            guest=guest,
            now_ms=self._recorder.now_ms(),
            request=request,
            reader=reader,
            known=self._recorder.transfer(order.transfer),
            original=self._recorder.transfer(order.of) if order.of else None,
            refunded_minor=self._recorder.refunded_minor(order.of) if order.of else 0,
            payee=Guest(order.to, None, payee_opening) if order.to else None,
            directory_ms=self._directory.as_of_ms,
            doubt=self._recorder.doubt,
        )
        verdict = decide(self._ledger, self._policy, asked)
        if isinstance(verdict, Reason):
            self._deny(order, verdict, guest.credential, request, reader, guest)
        elif not verdict:
            return _done_before(order.transfer)
        else:
            facts = [*verdict[:-1], self.cashier.booked(verdict[-1])]
            self._recorder.record(*facts)
            self._after(facts[-1])
        return None

    def _after(self, fact: e.AnyEvent) -> None:
        if isinstance(fact, w.WalletHeld):
            self._deadlines.await_capture(fact)
        elif isinstance(fact, w.WalletTransferred) and fact.action == "capture" and fact.of is not None:
            self._deadlines.met(fact.of)

    def _deny(
        self,
        order: w.Order,
        reason: Reason,
        ref: str | None,
        request: RequestRef | None,
        reader: str | None,
        guest: Guest | None = None,
    ) -> None:
        self._recorder.record(
            w.WalletDenied(
                transfer=order.transfer,
                action=order.action,
                client=order.client,
                amount_minor=order.total_minor,
                reason=reason,
                credential=ref,
                holder=guest.holder if guest is not None else None,
                reader=reader,
                available_minor=standing(self._ledger, guest, self._policy).available_minor if guest else None,
                request=request,
            )
        )

    # Who is it?

    def _found(self, shown: d.Shown) -> Found:
        return self.lookup.shown(shown, self._recorder.now_ms(), self._recorder.doubt)

    def _identify(self, found: Found, action: w.Action) -> Guest | Reason:
        """Return whose wallet a credential opens, or why it opens none."""
        now_ms, doubt = self._recorder.now_ms(), self._recorder.doubt
        credential = known_guest(found, self._recorder.state, now_ms, doubt, after_expiry=action in _AFTER_EXPIRY)
        if isinstance(credential, Reason):
            return credential
        if not self._policy.upstream:
            return Guest(credential.holder, found.ref)
        opening = self._directory.wallet(credential.holder)
        known = opening is not None or credential.holder in self._ledger.allowances
        return Guest(credential.holder, found.ref, opening) if known else Reason.NO_WALLET

    def _shown(self, order: w.Order, guest: Guest, request: RequestRef | None, reader: str | None) -> w.WalletShown:
        account = standing(self._ledger, guest, self._policy)
        return w.WalletShown(
            transfer=order.transfer,
            client=order.client,
            holder=guest.holder,
            currency=order.currency,
            balance_minor=account.balance_minor,
            held_minor=account.held_minor,
            credential=guest.credential,
            reader=reader,
            request=request,
        )


def _done_before(transfer: str) -> Answer:
    return Answer("done", None, "This was done before.", {"transfer": transfer})
