"""Redeeming at a till: each answer once and from the journal, over crashes, full disks and impatient tablets."""

from __future__ import annotations

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.access import Entitlement
from gateway.domain.answers import Answer
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.domain.wallet import Policy
from gateway.flows.lookup import Lookup
from gateway.flows.purchase import PurchaseFlow
from gateway.flows.redeem import RedeemFlow
from gateway.store.journal import StorageUnavailable
from tests.gateway.domain.signing import Issuer
from tests.gateway.fakes import Disk, FakeDirectory, FakeKey, settle
from tests.gateway.flows.house import CLIENT, House, request

ANNA, BEN = "0000000A01", "0000000B01"
ISSUER = Issuer()
DRINK = [{"item": "drink"}]


class Reader:
    def __init__(self) -> None:
        self.online = True


class Bar:
    """A house with a reader, a wallet flow beside it, and Anna with three drinks and a coat."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.house = House(disk, seed=2 if disk else 1)
        self.directory = FakeDirectory()
        self.directory.issuer_keys = (ISSUER.key(),)
        self.directory.add(
            ANNA,
            "anna",
            Entitlement("drinks", "anna", (), uses_total=3, item="drink"),
            Entitlement("coat", "anna", (), uses_total=1, item="cloakroom"),
            Entitlement("ticket", "anna", ("hall",), uses_total=1),
        )
        self.directory.add(BEN, "ben", state="blocked")
        self.readers = {"reader": Reader()}
        self.flow = RedeemFlow(self.house.recorder, Lookup(self.directory, FakeKey(), "club"))
        self.flow.configure(ZoneInfo("UTC"), 30.0, self.readers)
        self.purchase = PurchaseFlow(self.house.recorder, self.directory, FakeKey())
        self.purchase.configure(Policy(currency="EUR"), 30.0, self.readers)
        handlers = {"entitlements": self.flow.handlers(), "wallet": self.purchase.handlers()}
        grants = {CLIENT: {target: frozenset(verbs) for target, verbs in handlers.items()}}
        self.house.desk.configure(handlers, grants, 60_000)

    def ask(self, verb: str, id: str = "r1", target: str = "entitlements", **data: Any) -> Answer | None:  # noqa: A002
        answer = self.house.ask(target, verb, data, id=id)
        if answer is not None:
            self.house.told.append((id, answer))
        return answer

    def tap(self, card: str = ANNA) -> bool:
        return self.flow.tap("reader", "em4100", card)

    def answer(self, id: str = "r1") -> Answer:  # noqa: A002
        return [answer for one, answer in self.house.told if one == id][-1]

    @property
    def uses(self) -> dict[str, int]:
        return {name: uses for name, uses in self.house.state.uses.items() if uses}


def shown(card: str = ANNA) -> dict[str, str]:
    return {"technology": "em4100", "value": card}


@pytest.fixture
def bar() -> Bar:
    return Bar()


async def test_the_answer_tells_what_was_used_and_what_is_left(bar: Bar) -> None:
    bar.ask("redeem", lines=[{"item": "drink", "count": 2}], credential=shown())
    assert bar.house.told == [], "nothing is answered before it is on disk"
    await settle()
    assert bar.answer().data == {
        "redemption": "bar-tablet/r1",
        "holder": "anna",
        "credential": f"ref:em4100:{ANNA}",
        "used": [{"entitlement": "drinks", "item": "drink", "count": 2}],
        "left": {"drink": 1, "cloakroom": 1},
    }


async def test_i02_the_same_request_again_uses_nothing_twice(bar: Bar) -> None:
    for _ in range(3):
        bar.ask("redeem", lines=DRINK, credential=shown())
        await settle()
    assert bar.uses == {"drinks": 1}
    assert bar.house.kinds() == ["RedemptionMade"]
    assert {answer.message for _, answer in bar.house.told} == {"Redeemed: 1 drink."}
    assert bar.ask("redeem", lines=[{"item": "cloakroom"}], credential=shown()).reason is Reason.IDEMPOTENCY_CONFLICT
    assert bar.uses == {"drinks": 1}


async def test_i02_it_is_remembered_when_its_answer_was_let_go(bar: Bar) -> None:
    bar.ask("redeem", lines=DRINK, credential=shown())
    await settle()
    await bar.house.recorder.fold_everything()
    bar.house.state.requests.clear()
    bar.house.recorder.forget_answers([f"{CLIENT}\x1fr1"])
    await bar.house.recorder.fold_everything()
    again = Bar(bar.house.journal.disk)
    assert again.ask("redeem", lines=DRINK, credential=shown()).message == "This was done before."
    assert again.ask("redeem", lines=[], credential=shown()).reason is Reason.IDEMPOTENCY_CONFLICT
    assert again.uses == {"drinks": 1}
    again.ask("undo", "u1", redemption="bar-tablet/r1")
    await settle()
    assert (again.answer("u1").status, again.uses) == ("done", {})


async def test_i02_an_undoing_is_done_once(bar: Bar) -> None:
    bar.ask("redeem", lines=[{"item": "drink", "count": 3}], credential=shown())
    await settle()
    for _ in range(3):
        bar.ask("undo", "u1", redemption="bar-tablet/r1", lines=DRINK)
        await settle()
    assert bar.uses == {"drinks": 2}
    assert bar.ask("undo", "u2", redemption="bar-tablet/u1").reason is Reason.UNKNOWN_REDEMPTION


async def test_i04_two_taps_in_the_same_moment_use_one_voucher_once(bar: Bar) -> None:
    bar.ask("redeem", "r1", lines=[{"item": "cloakroom"}], credential=shown())
    bar.ask("redeem", "r2", lines=[{"item": "cloakroom"}], credential=shown())
    await settle()
    assert (bar.answer("r1").status, bar.answer("r2").reason) == ("done", Reason.NO_USES_LEFT)


async def test_a_crash_forgets_nothing_and_no_reader_waits_after_it(bar: Bar) -> None:
    bar.ask("redeem", "r1", lines=DRINK, credential=shown())
    bar.ask("redeem", "r2", lines=DRINK, reader="reader")
    await settle()
    await bar.house.crash()
    again = Bar(bar.house.journal.disk)
    again.house.settle_the_past()
    await settle()
    assert again.answer("r2").reason is Reason.REDEMPTION_INTERRUPTED
    assert not again.tap()
    assert again.uses == {"drinks": 1}


async def test_i01_what_cannot_be_stored_uses_nothing(bar: Bar) -> None:
    bar.ask("redeem", "r2", lines=DRINK, reader="reader")
    await settle()
    bar.house.journal.fail()
    bar.tap()
    await settle()
    assert bar.ask("redeem", "r3", lines=DRINK, credential=shown()).reason is Reason.STORAGE_UNAVAILABLE
    bar.house.recorder.recover()
    bar.flow.storage_recovered()
    assert bar.uses == {}
    assert bar.tap()
    await settle()
    assert (bar.answer("r2").status, bar.uses) == ("done", {"drinks": 1})


async def test_i01_a_tap_at_a_full_disk_is_refused_and_the_reader_waits_on_till_the_disk_is_well(bar: Bar) -> None:
    bar.ask("redeem", "r2", lines=DRINK, reader="reader")
    await settle()
    bar.house.journal.failed = StorageUnavailable("the disk is full")
    with pytest.raises(StorageUnavailable):
        bar.tap()
    await asyncio.sleep(40)
    bar.house.journal.failed = None
    await asyncio.sleep(2)
    assert bar.answer("r2").reason is Reason.REDEMPTION_TIMED_OUT


async def test_a_reader_waits_for_a_card_or_for_money_never_for_both(bar: Bar) -> None:
    bar.ask("redeem", "r1", lines=DRINK, reader="reader")
    busy = bar.ask("charge", "c1", target="wallet", amount_minor=100, reader="reader")
    assert busy.reason is Reason.BUSY
    assert bar.tap()
    bar.ask("charge", "c2", target="wallet", amount_minor=100, reader="reader")
    assert bar.ask("redeem", "r2", lines=DRINK, reader="reader").reason is Reason.BUSY
    assert not bar.tap()


async def test_a_reader_that_is_away_or_gone_does_not_wait(bar: Bar) -> None:
    bar.readers["reader"].online = False
    assert bar.ask("redeem", "r1", lines=DRINK, reader="reader").reason is Reason.DEVICE_OFFLINE
    bar.readers["reader"].online = True
    bar.ask("redeem", "r2", lines=DRINK, reader="reader")
    bar.flow.configure(ZoneInfo("UTC"), 30.0, {})
    await settle()
    assert bar.answer("r2").reason is Reason.CONFIGURATION_CHANGED


async def test_the_request_may_end_the_wait_earlier(bar: Bar) -> None:
    asked = request("entitlements", "redeem", {"lines": DRINK, "reader": "reader"}, expires_in_s=2)
    assert bar.house.desk.handle(asked) is None
    await asyncio.sleep(3)
    assert bar.answer().reason is Reason.REDEMPTION_TIMED_OUT


@pytest.mark.parametrize(
    ("verb", "data", "field"),
    [
        ("redeem", {"lines": DRINK}, "`data`: give either"),
        ("redeem", {"lines": DRINK, "reader": "reader", "credential": shown()}, "`data`: give either"),
        ("redeem", {"lines": [{}], "reader": "reader"}, "`data.lines[0]`"),
        ("redeem", {"lines": [{"item": "drink", "count": 0}], "reader": "reader"}, "`data.lines[0].count`"),
        ("redeem", {"lines": [{"item": "drink", "count": 1.5}], "reader": "reader"}, "`data.lines[0].count`"),
        ("redeem", {"lines": [{"item": "Drink"}], "reader": "reader"}, "`data.lines[0].item`"),
        ("redeem", {"lines": DRINK * 17, "reader": "reader"}, "`data.lines`"),
        ("undo", {"redemption": "bar-tablet/r1", "lines": [{"count": 1}]}, "`data.lines[0]`"),
        ("why", {}, "Ask for"),
    ],
)
async def test_what_is_wrong_is_named_and_does_nothing(bar: Bar, verb: str, data: dict[str, Any], field: str) -> None:
    refused = bar.ask(verb, **data)
    assert refused.reason is Reason.MALFORMED
    assert field in refused.message
    assert bar.house.journal.disk.rows == []


async def test_why_tells_every_rule_and_touches_nothing(bar: Bar) -> None:
    bar.ask("redeem", lines=[{"item": "cloakroom"}], credential=shown())
    await settle()
    before = len(bar.house.events)
    answer = bar.ask("why", "w1", credential=shown())
    drinks, coat = answer.data["entitlements"]
    assert answer.data["decision"] == "granted"
    assert drinks["rules"] == {"validity": "ok", "schedule": "ok", "uses": "ok", "uses_per_day": "ok"}
    assert (coat["item"], coat["left"], coat["rules"]["uses"]) == ("cloakroom", 0, "no_uses_left")
    assert answer.data["left"] == {"drink": 3, "cloakroom": 0}
    assert bar.ask("why", "w2", holder="anna").data["left"] == {"drink": 3, "cloakroom": 0}
    refused = bar.ask("why", "w3", credential=shown(BEN))
    assert (refused.data["decision"], refused.data["reason"]) == ("denied", Reason.BLOCKED)
    assert len(bar.house.events) == before


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        (None, Reason.EXPIRED),
        (Doubt("flag"), None),
        (Doubt("deny"), Reason.CLOCK_UNTRUSTED),
        (Doubt("last_known"), Reason.EXPIRED),
        (Doubt("flag", known_ms=2), Reason.EXPIRED),
    ],
)
async def test_i10_what_has_a_time_goes_by_the_policy_while_nobody_vouches_for_it(
    bar: Bar, doubt: Doubt | None, reason: Reason | None
) -> None:
    bar.directory.add(ANNA, "anna", Entitlement("drinks", "anna", (), valid_until_ms=2, uses_total=3, item="drink"))
    bar.house.recorder.doubt = doubt
    bar.ask("redeem", lines=DRINK, credential=shown())
    await settle()
    assert bar.answer().reason is reason
    assert bar.uses == ({} if reason else {"drinks": 1})


# A signed ticket at a till.


async def test_a_signed_ticket_nobody_has_heard_of_has_things_to_redeem(bar: Bar) -> None:
    code = {"technology": "barcode", "value": ISSUER.ticket(items={"drink": 2})}
    bar.ask("redeem", "r1", lines=[{"item": "drink", "count": 2}], credential=code)
    bar.ask("redeem", "r2", lines=DRINK, credential=code)
    await settle()
    assert (bar.answer("r1").message, bar.answer("r2").reason) == ("Redeemed: 2 drink.", Reason.NO_USES_LEFT)
    assert bar.uses == {"drink@tickets-online:t-1": 2}


async def test_a_signed_ticket_pays_at_a_till(bar: Bar) -> None:
    code = {"technology": "barcode", "value": ISSUER.ticket()}
    bar.ask("top_up", "t1", target="wallet", amount_minor=500, by="cash", credential=code)
    await settle()
    assert bar.answer("t1").data["holder"] == "tickets-online:t-1"
    bar.ask("charge", "c1", target="wallet", amount_minor=450, reader="reader")
    assert bar.purchase.tap("reader", "barcode", code["value"])
    await settle()
    assert bar.answer("c1").data["balance_minor"] == 50


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": "2026-01-01T00:00:00Z"}, Reason.EXPIRED),
        ({"aud": "other"}, Reason.WRONG_VENUE),
        ({"zones": []}, Reason.AUTHENTICITY_FAILED),
    ],
)
async def test_a_signed_ticket_that_does_not_count_says_why(bar: Bar, claims: dict[str, Any], reason: Reason) -> None:
    code = {"technology": "barcode", "value": ISSUER.ticket(**claims)}
    bar.purchase.lookup.venue_id = "club"
    bar.ask("redeem", "r1", lines=DRINK, credential=code)
    bar.ask("charge", "c1", target="wallet", amount_minor=100, credential=code)
    await settle()
    assert (bar.answer("r1").reason, bar.answer("c1").reason) == (reason, reason)
