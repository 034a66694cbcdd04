"""Staff let a guest in whatever the rules say, and a tablet asks why a guest may not."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain import events as e
from gateway.domain import zone_events as z
from gateway.domain.access import Entitlement
from gateway.domain.answers import Answer
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler
from gateway.flows.why import WhyFlow
from tests.gateway.domain.samples import snapshot
from tests.gateway.domain.signing import Issuer
from tests.gateway.fakes import FakeKey
from tests.gateway.flows.house import CLIENT
from tests.gateway.flows.test_entry import CARD, OTHER_CARD, Doors

KNOWN = {"technology": "em4100", "value": CARD}


class Desk(Doors):
    """Two doors whose gate `north` takes overrides and questions."""

    def __init__(self) -> None:
        super().__init__()
        why = WhyFlow(self.house.recorder, self.flow)
        handlers = {
            "override": Handler(self.flow.take_override, moves_metal=True),
            "why": Handler(why.take_why, repeatable=True),
        }
        self.house.serve("north", handlers)

    def override(self, request_id: str = "r1", **data: object) -> Answer | None:
        return self.house.ask("north", "override", {"reason": "scanner broken", **data}, id=request_id, expires_in_s=5)

    def why(self, **data: object) -> Answer:
        answer = self.house.ask("north", "why", data)
        assert answer is not None
        return answer


@pytest.fixture
def desk() -> Desk:
    return Desk()


# Override.


async def test_an_override_opens_for_one_passage_and_says_who_and_why(desk: Desk) -> None:
    assert desk.override() is None
    await asyncio.sleep(1)
    desk.walk_through()
    await asyncio.sleep(60)
    assert desk.house.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]
    granted = desk.house.events[0]
    assert (granted.override_by, granted.override_reason, granted.source) == (CLIENT, "scanner broken", CLIENT)
    assert desk.house.statuses() == ["done"]
    assert desk.house.state.where == {}
    assert desk.house.state.uses == {}


async def test_an_override_for_a_named_guest_counts_them_and_uses_nothing_up(desk: Desk) -> None:
    desk.override(credential=KNOWN)
    await asyncio.sleep(1)
    desk.walk_through()
    await asyncio.sleep(1)
    assert desk.house.state.where["guest-1"].zone == "hall"
    assert desk.house.state.uses == {}
    assert desk.house.events[0].credential == FakeKey().ref("em4100", CARD)


async def test_an_override_that_nobody_walks_through_is_handed_back(desk: Desk) -> None:
    desk.override(holder="guest-7")
    await asyncio.sleep(60)
    desk.override("r2")
    await asyncio.sleep(60)
    assert desk.house.kinds() == ["EntryGranted", "GateReleased", "EntryReturned"] * 2
    assert desk.house.state.where == {}
    assert desk.house.state.occupancy["hall"] == 0
    assert desk.gates["north"].refusal() is None


async def test_i02_an_override_sent_twice_opens_once(desk: Desk) -> None:
    desk.override()
    desk.override()
    await asyncio.sleep(1)
    assert desk.override().status == "done"
    await asyncio.sleep(1)
    assert desk.pulses == 1


async def test_an_override_does_not_go_against_an_order_nor_a_gate_that_cannot_open(desk: Desk) -> None:
    await desk.house.recorder.record(z.ZoneLockedDown(zone="hall", client="c", reason="r"))
    desk.override()
    await desk.house.recorder.record(z.ZoneRestored(zone="hall", client="c", reason="r"))
    desk.locks["north"].online = False
    desk.override("r2")
    await asyncio.sleep(1)
    assert desk.decisions() == [Reason.GATE_LOCKED, Reason.GATE_UNAVAILABLE]
    assert desk.house.statuses("r1") == desk.house.statuses("r2") == ["denied"]


@pytest.mark.parametrize("data", [{"reason": ""}, {"credential": KNOWN, "holder": "guest-1"}])
async def test_an_override_gives_a_reason_and_names_one_guest_at_most(desk: Desk, data: dict[str, object]) -> None:
    assert desk.override(**data).reason is Reason.MALFORMED


async def test_an_override_needs_an_expiry_and_a_grant(desk: Desk) -> None:
    assert desk.house.ask("north", "override", {"reason": "r"}).reason is Reason.EXPIRY_REQUIRED
    desk.house.serve("north", {"override": Handler(desk.flow.take_override)}, "why")
    assert desk.override().reason is Reason.NOT_GRANTED


# Why.


async def test_why_gives_every_rules_verdict(desk: Desk) -> None:
    used = Entitlement("old", "guest-1", ("yard",), valid_until_ms=1, uses_total=1)
    desk.directory.add(CARD, "guest-1", used, Entitlement("ticket-1", "guest-1", ("hall",), uses_total=1))
    answer = desk.why(credential=KNOWN)
    assert (answer.status, answer.data["decision"], answer.data["entitlement"]) == ("done", "granted", "ticket-1")
    assert answer.data["rules"] == {"directory": "ok", "credential": "ok", "gate": "ok"}
    assert answer.data["credential_rules"] == {"block_list": "ok", "credential_state": "ok"}
    old, new = answer.data["entitlements"]
    assert (old["admits"], new["admits"]) == (False, True)
    assert old["rules"] | {"zone": "", "validity": ""} == dict.fromkeys(new["rules"], "ok") | {
        "zone": "",
        "validity": "",
    }
    assert (old["rules"]["zone"], old["rules"]["validity"]) == (Reason.WRONG_ZONE, Reason.EXPIRED)
    assert set(new["rules"]) == {
        "zone", "validity", "schedule", "uses", "uses_per_day", "anti_passback", "capacity"
    }  # fmt: skip


async def test_why_says_the_same_as_a_tap_and_touches_nothing(desk: Desk) -> None:
    for prepare in (
        lambda: None,
        lambda: desk.house.recorder.record(z.ZoneLockedDown(zone="hall", client="c", reason="r")),
        lambda: desk.house.recorder.record(z.ZoneRestored(zone="hall", client="c", reason="r")),
        lambda: desk.house.recorder.record(z.CredentialBlocked(holder="guest-1", client="c", reason="r")),
    ):
        prepare()
        await asyncio.sleep(60)
        before = snapshot(desk.house.state), len(desk.house.events)
        answer = desk.why(credential=KNOWN)
        await asyncio.sleep(1)
        assert (snapshot(desk.house.state), len(desk.house.events)) == before
        desk.tap()
        await asyncio.sleep(1)
        assert answer.data.get("reason", "granted") == desk.decisions()[-1]


async def test_why_for_a_holder_needs_no_card(desk: Desk) -> None:
    assert desk.why(holder="guest-1").data["decision"] == "granted"
    assert desk.why(holder="nobody").data["reason"] is Reason.WRONG_ZONE


async def test_why_for_what_nobody_knows(desk: Desk) -> None:
    answer = desk.why(credential={"technology": "em4100", "value": OTHER_CARD})
    assert answer.data["reason"] is Reason.UNKNOWN_CREDENTIAL
    assert "entitlements" not in answer.data
    signed = desk.why(credential={"technology": "barcode", "value": Issuer().ticket()})
    assert signed.data["rules"]["credential"] is Reason.AUTHENTICITY_FAILED


@pytest.mark.parametrize("data", [{}, {"credential": KNOWN, "holder": "guest-1"}])
async def test_why_asks_for_one(desk: Desk, data: dict[str, object]) -> None:
    assert desk.why(**data).reason is Reason.MALFORMED


async def test_a_grant_without_an_order_has_no_override(desk: Desk) -> None:
    desk.tap()
    await asyncio.sleep(1)
    [granted] = [event for event in desk.house.events if isinstance(event, e.EntryGranted)]
    assert (granted.override_by, granted.override_reason, granted.flags) == ("", "", ())
