"""The cash drawer: one pulse for a named client with a reason, and alarms for what nobody asked."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("bar", "kiosk")}
STATE = "devices/bar-drawer/state"


async def kicks(venue: Venue, printer: str = "bar-printer") -> int:
    return int((await (await venue.device(printer)).state())["kick_count"])


async def shut(venue: Venue) -> None:
    await (await venue.device("bar-printer")).do("drawer", open=False)
    await venue.observer.state(STATE, contact="closed")


async def test_the_drawer_opens_once_and_its_contact_says_so(venue: Venue) -> None:
    await shut(venue)
    before, mark = await kicks(venue), venue.observer.mark
    async with venue.client("bar-tablet") as tablet:
        asked = await tablet.ask("bar-drawer", "open", {"reason": "Verkauf 12,50 €"})
        done = await asked.final()
    assert [answer["status"] for answer in asked.answers] == ["accepted", "done"]
    assert done["data"]["confirmed"] is True
    opening = await venue.observer.event("drawer.opening", since=mark)
    assert (opening["client"], opening["reason"]) == ("bar-tablet", "Verkauf 12,50 €")
    await venue.observer.event("drawer.opened", since=mark, opening=opening["opening"])
    await venue.observer.state(STATE, contact="open")
    await shut(venue)
    await venue.observer.event("drawer.closed", since=mark, drawer="bar-drawer")
    assert await kicks(venue) == before + 1
    assert not venue.observer.events("drawer.forced", since=mark)


async def test_i02_the_same_open_request_twice_is_one_pulse(venue: Venue) -> None:
    before = await kicks(venue)
    async with venue.client("bar-tablet") as tablet:
        first = await tablet.ask("bar-drawer", "open", {"reason": "sale"}, request_id="open-once")
        await tablet.ask("bar-drawer", "open", {"reason": "sale"}, request_id="open-once")
        await first.final()
        await tablet.ask("bar-drawer", "open", {"reason": "sale"}, request_id="open-once")
        await first.answer(since=2)
        assert {answer["data"]["opening"] for answer in first.answers} == {first.answers[0]["data"]["opening"]}
    assert await kicks(venue) == before + 1
    await shut(venue)


async def test_a_second_request_while_it_opens_is_busy(venue: Venue) -> None:
    before = await kicks(venue)
    async with venue.client("bar-tablet") as tablet:
        asked = await asyncio.gather(*(tablet.ask("bar-drawer", "open", {"reason": "sale"}) for _ in range(4)))
        answers = [await conversation.final() for conversation in asked]
    done = [answer for answer in answers if answer["status"] == "done"]
    assert {answer["reason"] for answer in answers if answer not in done} <= {"busy"}
    assert 1 <= len(done) == await kicks(venue) - before
    await shut(venue)


async def test_a_drawer_without_a_contact_opens_and_cannot_confirm_it(venue: Venue) -> None:
    before = await kicks(venue, "kiosk-printer")
    async with venue.client("kiosk-tablet") as tablet:
        done = await (await tablet.ask("kiosk-drawer", "open", {"reason": "change"})).final()
    assert (done["status"], done["data"]["confirmed"]) == ("done", False)
    await (await venue.device("kiosk-printer")).until(lambda s: s["kick_count"] == before + 1)


@pytest.mark.parametrize("data", [{"reason": "  "}, {"reason": ""}, {}, None, {"reason": "x" * 500}])
async def test_a_drawer_does_not_open_without_a_reason(venue: Venue, data: dict[str, str] | None) -> None:
    before = await kicks(venue)
    async with venue.client("bar-tablet") as tablet:
        answer = await (await tablet.ask("bar-drawer", "open", data)).final()
    assert (answer["status"], answer["reason"]) == ("denied", "malformed")
    assert await kicks(venue) == before


async def test_a_drawer_that_opens_unasked_is_an_alarm_until_it_is_shut(venue: Venue) -> None:
    await shut(venue)
    mark = venue.observer.mark
    await (await venue.device("bar-printer")).do("drawer", open=True)
    await venue.observer.event("drawer.forced", since=mark, drawer="bar-drawer")
    await venue.observer.state(STATE, contact="open", alarm="forced")
    await shut(venue)
    await venue.observer.event("drawer.closed", since=mark, drawer="bar-drawer")
    state = await venue.observer.state(STATE, contact="closed")
    assert "alarm" not in state["status"]


async def test_a_drawer_at_a_printer_without_paper_still_opens_at_once(venue: Venue) -> None:
    control, before = await venue.device("bar-printer"), await kicks(venue)
    await control.do("paper", state="out")
    await venue.observer.state("devices/bar-printer/state", paper_out=True)
    async with venue.client("bar-tablet") as tablet:
        assert (await (await tablet.ask("bar-drawer", "open", {"reason": "sale"})).final())["status"] == "done"
    assert await kicks(venue) == before + 1
    await control.do("paper", state="ok")
    await shut(venue)


async def test_a_drawer_at_an_absent_printer_fails_and_never_opens_later(venue: Venue) -> None:
    control, before, mark = await venue.device("bar-printer"), await kicks(venue), venue.observer.mark
    await control.do("unplug")
    await venue.observer.state("devices/bar-printer/state", state="offline")
    await venue.observer.state(STATE, state="offline")
    async with venue.client("bar-tablet") as tablet:
        answer = await (await tablet.ask("bar-drawer", "open", {"reason": "sale"})).final()
        assert (answer["status"], answer["reason"]) == ("failed", "device_offline")
        await control.do("plug")
        await venue.observer.event("device.online", since=mark, device="bar-printer")
        await venue.observer.state(STATE, state="online")
        assert await kicks(venue) == before
        assert (await (await tablet.ask("bar-drawer", "open", {"reason": "sale"})).final())["status"] == "done"
    assert await kicks(venue) == before + 1
    await shut(venue)
