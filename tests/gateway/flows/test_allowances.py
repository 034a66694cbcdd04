"""Allowances through the recorder: what is said is on disk, what is lost is said again, and nothing is there twice."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import msgspec
import pytest

from gateway.domain import events as e
from gateway.domain.allowances import Statement
from gateway.domain.clock import Doubt
from gateway.domain.ledger import Ledger
from gateway.domain.reasons import Reason
from gateway.domain.wallet import Opening, Policy
from gateway.flows import allowances as module
from gateway.flows.allowances import AllowanceFlow, Terms
from gateway.flows.purchase import PurchaseFlow
from gateway.store.journal import StorageUnavailable
from simulators.allowances import Treasury
from tests.gateway.domain.cutoff import as_grant
from tests.gateway.fakes import Disk, FakeDirectory, FakeKey, settle
from tests.gateway.flows.house import House

POLICY = Policy(currency="EUR", upstream=True, allowance_margin_ms=10_000)
TERMS = Terms(ask_minor=2_000, low_minor=500)
DURATION_MS = 100_000


class Courier:
    """Keeps what it was given, until a test delivers it."""

    def __init__(self) -> None:
        self.online = True
        self.said: list[Statement] = []

    def send(self, statement: Statement) -> None:
        self.said.append(statement)


class Bar:
    """A venue with one till, which holds allowances."""

    def __init__(self, disk: Disk | None = None, seed: int = 1, policy: Policy = POLICY) -> None:
        self.house = House(disk, seed=seed)
        self.directory = FakeDirectory()
        for guest in ("ada", "bob"):
            self.directory.add(guest, guest)
            self.directory.wallets[guest] = Opening(5_000, "EUR")
        self.purchase = PurchaseFlow(self.house.recorder, self.directory, FakeKey())
        self.purchase.configure(policy, 30.0, {})
        self.house.serve("wallet", self.purchase.handlers())
        self.flow = AllowanceFlow(self.house.recorder)
        self.house.recorder.listeners.append(self.flow.committed)
        self.courier = Courier()
        self.flow.configure(policy, TERMS if policy.allowance_margin_ms is not None else None)
        self.flow.connect(self.courier)
        self.number = 0

    def charge(self, amount_minor: int, guest: str = "ada") -> str:
        self.number += 1
        name = f"charge-{self.house.journal.last_seq}-{self.number}"
        shown = {"technology": "em4100", "value": guest}
        self.house.ask("wallet", "charge", {"amount_minor": amount_minor, "credential": shown}, id=name)
        return name

    def reason(self, name: str) -> str | None:
        return [answer.reason for one, answer in self.house.told if one == name][-1]

    def balance(self, guest: str = "ada") -> int:
        return self.house.state.ledger.account(f"wallet:{guest}").balance_minor

    def heard_by(self, treasury: Treasury) -> None:
        """Deliver all that was said, and the answers."""
        said, self.courier.said = self.courier.said, []
        for statement in said:
            self.flow.received(as_grant(treasury.heard(wire(statement), self.now_ms())))

    def now_ms(self) -> int:
        return self.house.recorder.now_ms()


def wire(statement: Statement) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(statement))


async def online() -> tuple[Treasury, Bar]:
    treasury, bar = Treasury({"ada": 5_000, "bob": 100}, duration_ms=DURATION_MS, margin_ms=10_000), Bar()
    await settle()
    return treasury, bar


async def test_the_first_payment_asks_and_the_second_is_paid() -> None:
    treasury, bar = await online()
    first = bar.charge(300)
    await settle()
    assert bar.reason(first) is Reason.OVER_ALLOWANCE
    assert [one.wanted_minor for one in bar.courier.said] == [2_000]
    bar.heard_by(treasury)
    await settle()
    second = bar.charge(300)
    await settle()
    assert bar.reason(second) is None
    assert (bar.balance(), treasury.free_minor["ada"]) == (1_700, 3_000)


async def test_more_is_asked_for_before_it_runs_out() -> None:
    treasury, bar = await online()
    bar.flow.want("ada", 1_000)
    await settle()
    bar.heard_by(treasury)
    await settle()
    bar.heard_by(treasury)
    bar.charge(600)
    await settle()
    assert [(one.version, one.wanted_minor) for one in bar.courier.said] == [(1, 1_600)]


async def test_a_guest_who_comes_in_has_something_to_spend_before_the_first_drink() -> None:
    treasury, bar = await online()
    granted = e.EntryGranted(
        entry="e", gate="g", credential="c", holder="ada", entitlement="t", zone="hall", uses=1, source="reader"
    )
    bar.house.recorder.record(granted)
    await settle()
    bar.heard_by(treasury)
    await settle()
    assert bar.balance() == 2_000


async def test_upstream_that_has_no_more_is_not_asked_for_ever() -> None:
    treasury, bar = await online()
    bar.charge(300, "bob")
    await settle()
    bar.heard_by(treasury)
    await settle()
    bar.heard_by(treasury)
    await asyncio.sleep(60)
    assert bar.courier.said == []


async def test_what_is_lost_is_said_again_until_upstream_has_heard_it() -> None:
    treasury, bar = await online()
    bar.charge(300)
    await asyncio.sleep(21)
    assert len(bar.courier.said) >= 4
    bar.heard_by(treasury)
    await settle()
    bar.heard_by(treasury)
    await asyncio.sleep(30)
    assert bar.courier.said == []
    assert bar.flow.open_statements == 0


async def test_without_a_connection_nothing_is_sent_and_all_of_it_when_it_is_back() -> None:
    _, bar = await online()
    bar.courier.online = False
    bar.charge(300)
    await asyncio.sleep(30)
    assert bar.courier.said == []
    bar.courier.online = True
    bar.flow.online_again()
    assert [one.holder for one in bar.courier.said] == ["ada"]


async def test_what_is_over_goes_back_by_itself() -> None:
    treasury, bar = await online()
    bar.flow.want("ada", 1_000)
    await settle()
    bar.heard_by(treasury)
    bar.charge(600)
    await settle()
    bar.courier.online = False
    await asyncio.sleep(DURATION_MS / 1000 - 9)
    assert bar.balance() == 0
    bar.flow._wanted.clear()
    bar.courier.said.clear()
    bar.courier.online = True
    bar.flow.online_again()
    bar.heard_by(treasury)
    assert treasury.free_minor["ada"] == 4_400


async def test_i01_nothing_is_said_of_a_return_before_it_is_on_disk() -> None:
    treasury, bar = await online()
    bar.flow.want("ada", 1_000)
    await settle()
    bar.heard_by(treasury)
    await settle()
    bar.heard_by(treasury)
    await settle()
    book = bar.house.state.ledger.book
    bar.house.journal.hold()
    bar.flow.received(as_grant(treasury.recall(book, "ada", 1_000)))
    await asyncio.sleep(20)
    assert bar.balance() == 0
    assert bar.courier.said == [], "a crash now would leave the money here and upstream"
    bar.house.journal.release()
    await settle()
    assert [one.returned_minor for one in bar.courier.said] == [1_000]


async def test_i02_after_a_crash_a_grant_that_comes_again_counts_once() -> None:
    treasury, bar = await online()
    bar.flow.want("ada", 1_000)
    await settle()
    said = wire(bar.courier.said[-1])
    grant = as_grant(treasury.heard(said, bar.now_ms()))
    bar.flow.received(grant)
    await settle()
    bar.charge(400)
    await settle()
    await bar.house.crash()
    again = Bar(bar.house.journal.disk, seed=2)
    again.flow.received(grant)
    again.flow.received(as_grant(treasury.heard(said, again.now_ms())))
    await settle()
    assert again.balance() == 600


async def test_a_disk_that_takes_nothing_takes_no_grant_and_the_next_one_brings_it() -> None:
    treasury, bar = await online()
    book = bar.house.state.ledger.book
    bar.house.journal.fail()
    bar.flow.received(as_grant(treasury.grant(book, "ada", 700, bar.now_ms())))
    await settle()
    bar.flow.received(as_grant(treasury.terms(book, "ada")))
    with pytest.raises(StorageUnavailable):
        bar.flow.received(as_grant(treasury.grant(book, "ada", 1, bar.now_ms())))
    assert bar.courier.said == [], "what is only in memory is told to nobody"
    bar.house.recorder.recover()
    bar.flow.storage_recovered()
    assert bar.balance() == 0
    bar.flow.received(as_grant(treasury.terms(book, "ada")))
    await settle()
    assert bar.balance() == 701


async def test_a_grant_that_cannot_be_true_changes_nothing() -> None:
    treasury, bar = await online()
    assert bar.flow.received(as_grant(treasury.grant("somebody-else", "ada", 700, bar.now_ms()))) is None
    await settle()
    assert bar.balance() == 0


async def test_i09_the_wishes_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    _, bar = await online()
    monkeypatch.setattr(module, "WANTS_MAX", 3)
    for number in range(5):
        bar.flow.want(f"guest-{number}", 1)
    assert bar.flow.open_statements == 3


async def test_a_venue_that_is_the_authority_itself_asks_nobody_and_never_wakes_up() -> None:
    bar = Bar(policy=Policy(currency="EUR"))
    bar.charge(300)
    await settle()
    assert bar.courier.said == []
    assert bar.flow._timer is None
    assert bar.house.state.ledger.book == ""


async def test_i10_in_doubt_about_the_time_an_allowance_is_kept_and_not_spent_nor_asked_for_again() -> None:
    treasury, bar = await online()
    bar.flow.want("ada", 2_000)
    await settle()
    bar.heard_by(treasury)
    await settle()
    bar.heard_by(treasury)
    known_ms = bar.now_ms()
    bar.house.recorder.doubt = Doubt("flag", known_ms)
    # The clock that nobody vouches for says that it is over.
    await asyncio.sleep(2 * DURATION_MS / 1_000)
    refused = bar.charge(300)
    await settle()
    assert bar.reason(refused) is Reason.CLOCK_UNTRUSTED
    assert bar.balance() == 2_000
    assert bar.courier.said == []
    bar.house.recorder.doubt = Doubt("flag", known_ms + 2 * DURATION_MS)
    await asyncio.sleep(module.TICK_S)
    assert bar.balance() == 0
    assert [one.returned_minor for one in bar.courier.said][-1] == 2_000


class Pair:
    """Two venues, upstream, and what was lost between them: one random schedule."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.treasury = Treasury({"ada": 5_000, "bob": 600}, duration_ms=DURATION_MS, margin_ms=10_000)
        self.bars = [Bar(seed=1), Bar(seed=7)]
        self.lost: list[dict[str, Any]] = []
        self.lives = 100

    async def step(self) -> None:
        random, place = self.random, self.random.randrange(2)
        bar = self.bars[place]
        if (disk := random.randrange(8)) < 3:
            (bar.house.journal.hold if disk == 0 else bar.house.journal.release)()
        kind = random.random()
        if kind < 0.5:
            bar.charge(random.choice((30, 200, 700)), random.choice(("ada", "ada", "bob")))
        elif kind < 0.63:
            self.deliver(bar)
        elif kind < 0.75 and self.lost:
            self.treasury.heard(random.choice(self.lost), bar.now_ms())
        elif kind < 0.9:
            bar.flow.received(as_grant(self.treasury.recall(bar.house.state.ledger.book, "ada", 400)))
            bar.flow.online_again()
        elif kind < 0.98:
            await self.crash(place)
        await asyncio.sleep(random.choice((0.0, 0.000_001, 0.4, 6.0)))

    def deliver(self, bar: Bar) -> None:
        for said in self.random.sample(bar.courier.said, len(bar.courier.said)):
            self.lost.append(wire(said))
            if self.random.random() < 0.7:
                bar.flow.received(as_grant(self.treasury.heard(wire(said), bar.now_ms())))
        bar.courier.said.clear()

    async def crash(self, place: int) -> None:
        bar, self.lives = self.bars[place], self.lives + 1
        await bar.house.crash()
        bar.flow.close()
        self.bars[place] = Bar(bar.house.journal.disk, seed=self.lives)

    def own(self, book: str) -> Ledger:
        [found] = [bar.house.state.ledger for bar in self.bars if bar.house.state.ledger.book == book]
        return found

    def check(self) -> None:
        balances = [each for bar in self.bars for each in bar.house.state.ledger.accounts.items()]
        sold_minor = sum(account.balance_minor for name, account in balances if name.startswith("sales:"))
        held_minor = sum(account.balance_minor for name, account in balances if name.startswith("wallet:"))
        on_the_way = 0
        for (book, holder), part in self.treasury.parts.items():
            own = self.own(book).allowance(holder)
            assert part.returned_minor <= own.returned_minor
            on_the_way += part.granted_minor - own.granted_minor + own.returned_minor - part.returned_minor
        assert sold_minor > 0
        assert sold_minor + held_minor + on_the_way + sum(self.treasury.free_minor.values()) == 5_600
        assert min(self.treasury.free_minor.values()) >= 0


@pytest.mark.parametrize("seed", range(25))
async def test_i03_venues_that_crash_and_are_cut_off_spend_no_cent_more_than_there_is(seed: int) -> None:
    pair = Pair(seed)
    await settle()
    for _ in range(120):
        await pair.step()
    for bar in pair.bars:
        bar.house.journal.release()
    await settle()
    pair.check()
