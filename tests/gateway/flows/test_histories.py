"""Long random evenings through the real flows: gates, tills, repeats, crashes and folds, and what must be true of all.

Hypothesis makes the evenings and makes them shorter when one fails. The disk is the fake one, which loses what was not
committed; the real one is in the simulation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.config.schema import Gate
from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.domain.access import Entitlement
from gateway.domain.ledger import WALLET
from gateway.domain.state import ON_DISK, VenueState
from gateway.domain.wallet import Opening, Policy
from gateway.flows.allowances import AllowanceFlow, Terms
from gateway.flows.desk import Handler
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import GateFlow
from gateway.flows.purchase import PurchaseFlow
from simulators.allowances import Treasury
from tests.gateway.domain.cutoff import as_grant
from tests.gateway.domain.samples import snapshot
from tests.gateway.fakes import FakeDirectory, VirtualClockLoop, settle
from tests.gateway.flows.house import CLIENT, ZONES, House

GUESTS = ("ada", "bob", "cem")
CREW = "dee"
"""Somebody whose ticket has no end, so that only the id of a request keeps a repeated one from opening again."""
BALANCE_MAX = 6_000
POLICIES = {
    "closed loop": Policy(currency="EUR", balance_max_minor=BALANCE_MAX, hold_timeout_ms=20_000),
    "on trust": Policy(currency="EUR", upstream=True, hold_timeout_ms=20_000, wallet_total_max_minor=3_000),
    "allowances": Policy(currency="EUR", upstream=True, hold_timeout_ms=20_000, allowance_margin_ms=5_000),
}
AMOUNTS = st.sampled_from([1, 40, 250, 700, 1_300, 4_000, 0, -5, 2.5, 10**9, 10**30, "7", None])
MOVES = (w.WalletTransferred, w.WalletHeld)
_decode = msgspec.json.Decoder(e.AnyEvent).decode


class Reader:
    online = True


class Evening:
    """The venue of one run after another, over one disk."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.lives = 0
        self.disk: Any = None
        self.directory = FakeDirectory()
        for guest in GUESTS:
            ticket = Entitlement(f"ticket-{guest}", guest, ("hall",), uses_total=1)
            self.directory.add(guest, guest, ticket)
            self.directory.wallets[guest] = Opening(2_500, "EUR")
        self.directory.add(CREW, CREW, Entitlement("crew", CREW, ("hall",)))
        self.treasury = Treasury(dict.fromkeys(GUESTS, 2_500), duration_ms=60_000, margin_ms=5_000)
        self.said: list[Any] = []
        self.online = True
        self.open()

    def open(self) -> None:
        self.lives += 1
        house = self.house = House(self.disk, seed=self.lives)
        house.settle_the_past()
        self.disk = house.journal.disk
        key = Key()
        self.entry = EntryFlow(house.recorder, self.directory, key, house.spawn)
        places = ("north", "south")
        gates = {
            name: GateFlow(Gate(name=name, to_zone="hall", anti_passback="off"), house.recorder, None)
            for name in places
        }
        self.entry.configure(gates, ZoneInfo("UTC"))
        self.purchase = PurchaseFlow(house.recorder, self.directory, key)
        self.purchase.configure(self.policy, 10.0, {"till-reader": Reader()})
        handlers = {
            "wallet": self.purchase.handlers(),
            "north": {"authenticate": Handler(self.entry.take_authenticate, moves_metal=True)},
        }
        house.desk.configure(handlers, {CLIENT: {name: frozenset(verbs) for name, verbs in handlers.items()}}, 60_000)
        self.allowances = AllowanceFlow(house.recorder)
        house.recorder.listeners.append(self.allowances.committed)
        with_allowances = self.policy.allowance_margin_ms is not None
        self.allowances.configure(self.policy, Terms(1_500, 500) if with_allowances else None)
        self.allowances.connect(self)

    def send(self, statement: Any) -> None:
        self.said.append(msgspec.json.decode(msgspec.json.encode(statement)))

    async def crash(self) -> None:
        await self.house.crash()
        self.allowances.close()
        self.purchase._deadlines.stop()
        self.open()

    def stored(self) -> list[e.AnyEvent]:
        return [_decode(row.body) for row in self.disk.rows]


class Key:
    """A card's number is its guest's name."""

    def ref(self, technology: str, value: str) -> str:
        return f"ref:{technology}:{value}"


class Evenings(RuleBasedStateMachine):
    """What guests, tills and the disk do."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualClockLoop()
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.paid: set[str] = set()
        self.evening: Evening | None = None

    def run_(self, work: Coroutine[Any, Any, None]) -> None:
        async def all_of_it() -> None:
            await work
            await settle()

        self.loop.run_until_complete(all_of_it())

    @initialize(mode=st.sampled_from(sorted(POLICIES)))
    def begin(self, mode: str) -> None:
        async def begin() -> None:
            self.evening = Evening(POLICIES[mode])
            for guest in GUESTS[:2]:
                await self._ask("top_up", {"amount_minor": 3_000, "by": "card", "credential": _shown(guest)})

        self.run_(begin())

    @rule(guest=st.sampled_from(GUESTS), apart=st.booleans())
    def tap_at_two_gates(self, guest: str, *, apart: bool) -> None:
        async def tap() -> None:
            self.evening.entry.tap("north", "em4100", guest, "reader-n")
            if apart:
                await settle()
            self.evening.entry.tap("south", "em4100", guest, "reader-s")

        self.run_(tap())

    @rule(
        verb=st.sampled_from(["charge", "charge", "top_up", "hold", "tip", "deposit"]),
        guest=st.sampled_from(GUESTS),
        amount=AMOUNTS,
        at_reader=st.booleans(),
        taps=st.integers(0, 2),
    )
    def pay(self, verb: str, guest: str, amount: Any, taps: int, *, at_reader: bool) -> None:
        data = {"amount_minor": amount} | ({"by": "cash"} if verb == "top_up" else {})
        data |= {"reader": "till-reader"} if at_reader else {"credential": _shown(guest)}
        self.run_(self._ask(verb, data, guest if at_reader else "", taps))

    @rule(verb=st.sampled_from(["capture", "capture", "refund"]), amount=AMOUNTS, place=st.integers(0, 50))
    def follow_up(self, verb: str, amount: Any, place: int) -> None:
        ledger = self.evening.house.state.ledger
        known = sorted(ledger.holds) if verb == "capture" and place % 4 else sorted(self.paid)
        of = known[place % len(known)] if known else f"{CLIENT}/nobody"
        data = {"transfer": of} | ({"amount_minor": amount} if amount is not None else {})
        self.run_(self._ask(verb, data))

    @rule(who=st.sampled_from([*GUESTS, CREW, CREW]))
    def ask_at_the_gate(self, who: str) -> None:
        self.run_(self._ask("authenticate", {"credential": _shown(who)}))

    @rule(place=st.integers(0, 200), change=st.booleans())
    def ask_again(self, place: int, *, change: bool) -> None:
        """The same id, for the same or for something else."""
        if self.asked:
            name, verb, data = self.asked[place % len(self.asked)]
            other = {"credential": _shown("cem")} if verb == "authenticate" else {"amount_minor": 77}
            self.run_(self._ask(verb, data | (other if change else {}), name=name))

    @rule()
    def crash(self) -> None:
        self.run_(self.evening.crash())

    @rule()
    def lose_what_waits(self) -> None:
        """A guest pays and taps, and the power goes before it is on disk."""

        async def lose() -> None:
            self.evening.house.journal.hold()
            await self._ask("charge", {"amount_minor": 40, "credential": _shown("ada")})
            self.evening.entry.tap("north", "em4100", "bob", "reader-n")
            await self.evening.crash()

        self.run_(lose())

    @rule()
    def fold(self) -> None:
        async def fold() -> None:
            self.evening.house.recorder.fold_if_due(force=True)

        self.run_(fold())

    @rule(seconds=st.sampled_from([0.1, 6.0, 11.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.run_(asyncio.sleep(seconds))

    @rule(lost=st.booleans(), again=st.booleans())
    def talk_to_upstream(self, *, lost: bool, again: bool) -> None:
        async def talk() -> None:
            evening = self.evening
            said, evening.said = evening.said, []
            for statement in reversed(said * (2 if again else 1)):
                answer = evening.treasury.heard(statement, evening.house.recorder.now_ms())
                if not lost:
                    evening.allowances.received(as_grant(answer))

        self.run_(talk())

    async def _ask(self, verb: str, data: dict[str, Any], guest: str = "", taps: int = 0, name: str = "") -> None:
        if not name:
            name = f"r{len(self.asked)}"
            self.asked.append((name, verb, data))
            self.paid.add(f"{CLIENT}/{name}")
        at_gate = verb == "authenticate"
        self.evening.house.ask(
            "north" if at_gate else "wallet", verb, data, id=name, expires_in_s=5 if at_gate else None
        )
        for _ in range(taps):
            self.evening.purchase.tap("till-reader", "em4100", guest)

    # What must be true.

    @invariant()
    def i04_no_ticket_admits_twice(self) -> None:
        if self.evening is not None:
            used = Counter(one.entitlement for one in self.evening.stored() if isinstance(one, e.EntryGranted))
            assert all(count == 1 for ticket, count in used.items() if ticket != "crew")

    @invariant()
    def i02_no_request_opens_a_gate_twice(self) -> None:
        if self.evening is not None:
            granted = [one for one in self.evening.stored() if isinstance(one, e.EntryGranted)]
            opened = [one.request.id for one in granted if one.request is not None]
            assert len(opened) == len(set(opened))

    @invariant()
    def i02_no_request_moves_money_twice(self) -> None:
        if self.evening is not None:
            moved = [
                one.request.id for one in self.evening.stored() if isinstance(one, MOVES) and one.request is not None
            ]
            assert len(moved) == len(set(moved))

    @invariant()
    def i03_money_is_conserved_and_no_wallet_passes_its_limit(self) -> None:
        if self.evening is None:
            return
        naive: Counter[str] = Counter()
        for event in self.evening.stored():
            for leg in event.legs if isinstance(event, w.WalletTransferred) else ():
                assert type(leg.amount_minor) is int
                assert leg.amount_minor > 0
                naive[leg.debit] -= leg.amount_minor
                naive[leg.credit] += leg.amount_minor
        ledger = self.evening.house.state.ledger
        assert {name: one.balance_minor for name, one in ledger.accounts.items()} == {
            name: naive[name] for name in naive
        }
        held = Counter[str]()
        for hold in ledger.holds.values():
            held[f"{WALLET}{hold.holder}"] += hold.amount_minor
        for name, account in ledger.accounts.items():
            assert account.held_minor == held[name]
            if name.startswith(WALLET):
                assert 0 <= account.held_minor <= account.balance_minor
                assert self.evening.policy.upstream or account.balance_minor <= BALANCE_MAX
        ledger.check()
        assert ledger.imbalance_minor == 0

    @invariant()
    def i03_upstream_and_venue_together_have_what_there_was(self) -> None:
        if self.evening is None or self.evening.policy.allowance_margin_ms is None:
            return
        treasury, ledger = self.evening.treasury, self.evening.house.state.ledger
        assert min(treasury.free_minor.values()) >= 0
        for guest in GUESTS:
            part, own = treasury.parts.get((ledger.book, guest)), ledger.allowance(guest)
            granted_minor, returned_minor = (part.granted_minor, part.returned_minor) if part is not None else (0, 0)
            assert own.granted_minor <= granted_minor
            assert own.returned_minor >= returned_minor
            assert treasury.free_minor[guest] == 2_500 - granted_minor + returned_minor

    def teardown(self) -> None:
        if self.evening is not None:
            self.run_(asyncio.sleep(0))
            self._replay()
            self.run_(self.evening.house.crash())
        self.loop.close()

    def _replay(self) -> None:
        """The whole journal gives the same state to the bit, applied to nothing; so does a start from fold and tail."""
        state = self.evening.house.state
        fresh = VenueState(ZONES)
        for row in self.evening.disk.rows:
            fresh.apply(_decode(row.body), row.at_ms)
        assert _in_memory(fresh) == _in_memory(state)
        for kind, key in fresh.dirty:
            if kind not in ON_DISK:
                assert fresh.row(kind, key) == state.row(kind, key)
        self.run_(self._start_again(state))

    async def _start_again(self, state: VenueState) -> None:
        again = House(self.evening.disk, seed=9_999)
        assert _in_memory(again.state) == _in_memory(state)


def _shown(guest: str) -> dict[str, str]:
    return {"technology": "em4100", "value": guest}


def _in_memory(state: VenueState) -> dict[str, Any]:
    return {name: part for name, part in snapshot(state).items() if name not in (*ON_DISK, "requests")}


Evenings.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
test_i02_i03_i04_whatever_happens_in_an_evening = Evenings.TestCase
