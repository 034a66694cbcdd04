"""Long random histories of money: whatever is asked in whatever order, none is made, none is lost, none is owed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.domain import purchases
from gateway.domain import wallet_events as w
from gateway.domain.event import RequestRef
from gateway.domain.ledger import WALLET
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from gateway.domain.wallet import Opening, Policy
from tests.gateway.domain.samples import rebuilt, snapshot
from tests.gateway.domain.wallets import NO_ZONES, Bank

HOLDERS = ("ada", "bob", "cem")
ACTIONS = ["charge", "top_up", "tip", "deposit", "deposit_return", "hold", "close_out"]
holders = st.sampled_from(HOLDERS)
amounts = st.one_of(st.integers(1, 2_000), st.sampled_from([0, -1, -500, 10**9, 10**30]))
TRANSACTION_MAX, WALLET_MAX, VENUE_MAX, CONSECUTIVE_MAX = 1_500, 4_000, 9_000, 6
POLICIES = [
    Policy(currency="EUR", balance_max_minor=6_000, hold_timeout_ms=100),
    Policy(
        currency="EUR",
        upstream=True,
        hold_timeout_ms=100,
        transaction_max_minor=TRANSACTION_MAX,
        wallet_total_max_minor=WALLET_MAX,
        venue_total_max_minor=VENUE_MAX,
        consecutive_max=CONSECUTIVE_MAX,
        directory_age_max_ms=1_000,
    ),
]


class History:
    """The ledger beside a naive account of the same money, kept by nothing but the legs."""

    def __init__(self, policy: Policy, openings: Sequence[int]) -> None:
        self.bank = Bank(policy, **(dict(zip(HOLDERS, openings, strict=True)) if policy.upstream else {}))
        self.naive: Counter[str] = Counter()
        self.charged: Counter[str] = Counter()
        self.refunded: Counter[str] = Counter()
        self.captured: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.asked: dict[str, dict[str, Any]] = {}
        self.rows_at: list[dict[tuple[str, str], bytes]] = [{}]
        self.reasons: Counter[Reason] = Counter()
        self.seen = 0

    # What happens.

    def ask(self, holder: str, action: str, amount_minor: int, **fields: Any) -> None:
        transfer = f"{fields.get('client', 'bar')}/{len(self.bank.history)}"
        given = {"holder": holder, "action": action, "amount_minor": amount_minor, **fields}
        given |= {"transfer": transfer, "print": f"print-{transfer}"}
        before = self.bank.ledger.accounts.copy(), len(self.bank.history)
        verdict = self.bank.ask(**given)
        if isinstance(verdict, Reason):
            self.reasons[verdict] += 1
            assert (self.bank.ledger.accounts, len(self.bank.history)) == before, "what is refused changes nothing"
            return
        self.asked[transfer] = given
        if action == "refund":
            assert verdict[-1].amount_minor == amount_minor, "what is given back is what was asked for, or nothing"
        assert amount_minor > 0 or action == "close_out"
        assert fields.get("currency", "EUR") == "EUR"

    def ask_again(self, transfer: str, amount_minor: int | None) -> None:
        """Use an id again: for the same, or with `amount_minor` for something else."""
        before, length = snapshot(self.bank.state), len(self.bank.history)
        other = {} if amount_minor is None else {"amount_minor": amount_minor, "print": "something else"}
        verdict = self.bank.ask(**(self.asked[transfer] | other))
        assert verdict == (Reason.IDEMPOTENCY_CONFLICT if other else [])
        assert (snapshot(self.bank.state), len(self.bank.history)) == (before, length)

    def upstream_speaks(self, holder: str, balance_minor: int, counted_minor: int) -> None:
        if self.bank.policy.upstream:
            self.bank.openings[holder] = Opening(balance_minor, "EUR", counted_minor)
            self.bank.directory_ms = self.bank.now_ms
            self.bank.record(w.WalletContact(contact=f"contact-{len(self.bank.history)}"))

    def arm_and_give_up(self, *, cancel: bool) -> None:
        number = str(len(self.bank.history))
        order = w.Order(transfer=f"bar/{number}", action="charge", client="bar", currency="EUR", amount_minor=1)
        ref = RequestRef("bar", number)
        self.bank.record(w.WalletArmed(reader="reader", order=order, until_ms=0, request=ref))
        if cancel:
            self.bank.record(*purchases.cancelled(self.bank.ledger, order.transfer, "bar", ref))
        else:
            self.bank.record(*purchases.after_restart(self.bank.ledger))

    # What must be true.

    def check(self) -> None:
        for event in self.bank.history[self.seen :]:
            if isinstance(event, w.WalletTransferred):
                self._count(event)
            if isinstance(event, w.WalletContact):
                self.spent.clear()
            self._keep_rows()
        self.seen = len(self.bank.history)
        self._check_money()
        self._check_wallets()
        self._check_limits()
        assert all(self.refunded[of] <= self.charged[of] for of in self.refunded)
        assert all(count == 1 for count in self.captured.values())

    def _count(self, event: w.WalletTransferred) -> None:
        assert all(type(leg.amount_minor) is int and leg.amount_minor > 0 for leg in event.legs)
        assert event.amount_minor == sum(leg.amount_minor for leg in event.legs)
        for leg in event.legs:
            self.naive[leg.debit] -= leg.amount_minor
            self.naive[leg.credit] += leg.amount_minor
        for name, balance_minor in event.balances.items():
            assert balance_minor == self.naive[name], "an event tells the balance afterwards"
        if event.action in {"charge", "tip", "deposit", "capture"}:
            self.charged[event.transfer] += event.amount_minor
        if event.action == "refund":
            self.refunded[event.of] += event.amount_minor
        if event.action == "capture":
            self.captured[event.of] += 1
        if event.action in {"charge", "tip", "deposit", "capture", "transfer", "close_out"}:
            self.spent[event.holder] += event.amount_minor

    def _check_money(self) -> None:
        ledger = self.bank.ledger
        balances = {name: account.balance_minor for name, account in ledger.accounts.items() if account.balance_minor}
        assert balances == {name: value for name, value in self.naive.items() if value}
        ledger.check()
        assert ledger.imbalance_minor == 0

    def _check_wallets(self) -> None:
        held: Counter[str] = Counter()
        for hold in self.bank.ledger.holds.values():
            held[f"{WALLET}{hold.holder}"] += hold.amount_minor
        for name, account in self.bank.ledger.accounts.items():
            assert account.held_minor == held[name]
            if name.startswith(WALLET):
                assert 0 <= account.held_minor <= account.balance_minor
        assert self.bank.account("deposits").balance_minor >= 0

    def _check_limits(self) -> None:
        ledger, policy = self.bank.ledger, self.bank.policy
        wallets = [account for name, account in ledger.accounts.items() if name.startswith(WALLET)]
        if not policy.upstream:
            assert all(account.balance_minor <= policy.balance_max_minor for account in wallets)
            return
        assert ledger.contact.venue_minor == self.spent.total() <= VENUE_MAX
        assert all(spent_minor <= WALLET_MAX for spent_minor in self.spent.values())
        assert all(account.spent_count <= CONSECUTIVE_MAX for account in wallets)

    def _keep_rows(self) -> None:
        stored = dict(self.rows_at[-1])
        for kind, key in self.bank.state.dirty:
            row = self.bank.state.row(kind, key)
            stored.pop((kind, key), None)
            if row is not None:
                stored[kind, key] = row
        self.bank.state.dirty.clear()
        self.rows_at.append(stored)

    def check_replay(self) -> None:
        """Rebuild from the whole journal, and from a fold and the tail: the same to the bit."""
        fresh = VenueState(NO_ZONES)
        for event in self.bank.history:
            fresh.apply(event)
        self._check_same(fresh)
        for place in {0, len(self.bank.history) // 3, 2 * len(self.bank.history) // 3}:
            # Folded at `place`, with some rows already of the end, as a crash amid a fold leaves them.
            mixed = dict(self.rows_at[place])
            mixed |= {key: row for number, (key, row) in enumerate(sorted(self.rows_at[-1].items())) if number % 2}
            again = rebuilt(self.bank.state, mixed)
            for event in self.bank.history[place:]:
                again.apply(event)
            self._check_same(again)

    def _check_same(self, again: VenueState) -> None:
        assert snapshot(again) == snapshot(self.bank.state)
        assert all_rows(again) == all_rows(self.bank.state)


class Wallets(RuleBasedStateMachine):
    """Short histories that Hypothesis makes, and makes shorter when one fails."""

    @initialize(policy=st.sampled_from(POLICIES), openings=st.lists(st.integers(0, 5_000), min_size=3, max_size=3))
    def open(self, policy: Policy, openings: list[int]) -> None:
        self.history = History(policy, openings)

    @rule(action=st.sampled_from(ACTIONS), holder=holders, amount_minor=amounts, data=st.data())
    def ask(self, action: str, holder: str, amount_minor: int, data: st.DataObject) -> None:
        amount_minor = 0 if action == "close_out" else amount_minor
        tip = {"tip_minor": data.draw(st.sampled_from([0, 50, -50]))} if action == "charge" else {}
        currency = data.draw(st.sampled_from(["EUR", "EUR", "EUR", "CHF"]))
        self.history.ask(holder, action, amount_minor, client="desk", currency=currency, **tip)

    @rule(payer=holders, payee=holders, amount_minor=amounts)
    def hand_over(self, payer: str, payee: str, amount_minor: int) -> None:
        self.history.ask(payer, "transfer", amount_minor, to=payee)

    @rule(data=st.data(), amount_minor=amounts, action=st.sampled_from(["refund", "capture"]))
    def follow_up(self, data: st.DataObject, amount_minor: int, action: str) -> None:
        """Refund or capture anything at all: much of it is no charge, no hold, or over long ago."""
        if transfers := self.history.bank.ledger.transfers:
            of = data.draw(st.sampled_from(sorted(transfers)))
            self.history.ask(transfers[of].holder, action, amount_minor, of=of)

    @rule(data=st.data(), amount_minor=st.none() | amounts)
    def use_an_id_again(self, data: st.DataObject, amount_minor: int | None) -> None:
        if self.history.asked:
            self.history.ask_again(data.draw(st.sampled_from(sorted(self.history.asked))), amount_minor)

    @rule(duration_ms=st.integers(1, 120))
    def wait(self, duration_ms: int) -> None:
        self.history.bank.wait(duration_ms)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if holds := self.history.bank.ledger.holds:
            self.history.bank.cancel(data.draw(st.sampled_from(sorted(holds))))

    @rule(holder=holders, balance_minor=st.integers(-1_000, 9_000), counted_minor=st.sampled_from([0, -300, 200]))
    def upstream_speaks(self, holder: str, balance_minor: int, counted_minor: int) -> None:
        self.history.upstream_speaks(holder, balance_minor, counted_minor)

    @rule(cancel=st.booleans())
    def arm_and_give_up(self, *, cancel: bool) -> None:
        self.history.arm_and_give_up(cancel=cancel)

    @invariant()
    def all_holds(self) -> None:
        if hasattr(self, "history"):
            self.history.check()

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.check_replay()


Wallets.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
test_i03_money_is_conserved_and_no_wallet_passes_its_limit = Wallets.TestCase


def live_on(history: History, random: Random, steps: int) -> None:
    """Let an evening pass: mostly what guests do, and now and then what goes wrong."""
    bank = history.bank
    for _ in range(steps):
        holder, amount_minor = random.choice(HOLDERS), random.choice([1, 40, 250, 700, 1_200, 2_600])
        match random.randrange(12):
            case 0 | 1:
                history.ask(holder, "top_up", amount_minor, by=random.choice(["cash", "card", "voucher"]))
            case 2 | 3:
                history.ask(holder, "charge", amount_minor, tip_minor=random.choice([0, 50]), deposit_minor=200)
            case 4:
                history.ask(holder, random.choice(["tip", "deposit", "deposit_return"]), amount_minor)
            case 5:
                history.ask(holder, "hold", amount_minor)
            case 6 | 7 if bank.ledger.holds:
                of = random.choice(sorted(bank.ledger.holds))
                history.ask(bank.ledger.holds[of].holder, "capture", amount_minor, of=of)
            case 8 if history.charged:
                of = random.choice(sorted(history.charged)[-10:])
                history.ask(bank.ledger.transfers[of].holder, "refund", amount_minor, of=of)
            case 9:
                history.ask(holder, "transfer", amount_minor, to=random.choice(HOLDERS))
            case _:
                odd_things(history, random, holder)
        history.check()


def odd_things(history: History, random: Random, holder: str) -> None:
    bank = history.bank
    match random.randrange(6):
        case 0 if history.asked:
            history.ask_again(random.choice(sorted(history.asked)), random.choice([None, 77]))
        case 1 if bank.ledger.holds:
            bank.cancel(random.choice(sorted(bank.ledger.holds)))
        case 2:
            history.arm_and_give_up(cancel=random.random() < 0.5)
        case 3:
            history.ask(holder, "charge", random.choice([0, -1, 10**9, 10**30]))
        case 4:
            history.ask(holder, "close_out", 0)
        case 5:
            history.upstream_speaks(holder, random.randrange(-500, 9_000), random.choice([0, -300, 200]))
            bank.wait(random.choice([1, 10, 60]))


@pytest.mark.parametrize("policy", POLICIES, ids=["closed loop", "kept upstream"])
@pytest.mark.parametrize("seed", range(6))
def test_i03_over_a_long_evening_money_is_conserved_and_replay_gives_the_same_to_the_bit(
    policy: Policy, seed: int
) -> None:
    history = History(policy, [2_000, 500, 0])
    live_on(history, Random(seed), 1_500)
    history.check_replay()
    assert len(history.asked) > 100
    expected = {Reason.INSUFFICIENT_FUNDS, Reason.INVALID_AMOUNT, Reason.OVER_HELD_AMOUNT}
    expected |= {Reason.OVER_OFFLINE_LIMIT} if policy.upstream else {Reason.OVER_BALANCE_LIMIT}
    assert expected <= set(history.reasons), "a history that meets no limit shows nothing"


def all_rows(state: VenueState) -> dict[tuple[str, str], bytes | None]:
    """The stored form of everything in a state, bit by bit."""
    return {(kind, key): state.row(kind, key) for kind, table in state.ledger.tables.items() for key in table}


@given(st.lists(st.tuples(holders, st.integers(1, 500)), max_size=30))
def test_i03_what_guests_have_is_what_came_in_less_what_went_out(purchases_made: list[tuple[str, int]]) -> None:
    bank = Bank()
    for holder, amount_minor in purchases_made:
        bank.ask(holder, "top_up", amount_minor)
        bank.ask(holder, "charge", amount_minor // 2 + 1)
    accounts = bank.ledger.accounts.items()
    in_wallets = sum(account.balance_minor for name, account in accounts if name.startswith(WALLET))
    assert in_wallets == -bank.account("cash:bar").balance_minor - bank.account("sales:bar").balance_minor
