"""A card pays: from the tablet's request over the reader's bytes to the journal, and through a crash."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.settings import BASE
from tests.e2e.tablet import Tablet, envelope
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VERBS = ["charge", "top_up", "refund", "deposit", "balance", "cancel"]


def with_wallets(settings: dict[str, Any]) -> None:
    """The bar's tablet may ask for money, and the scanner stands at the till: no gate lists it."""
    settings["clients"]["bar-tablet"]["may"]["wallet"] = VERBS
    settings["gates"]["south"]["readers"] = []


VENUE = {"parts": ("north", "south", "bar"), "guests": 20, "change": with_wallets}


async def fund(tablet: Tablet, guest: Any, amount_minor: int) -> None:
    data = {"amount_minor": amount_minor, "by": "cash", "credential": guest.credential}
    assert (await (await tablet.ask("wallet", "top_up", data)).final())["status"] == "done"


async def tap(venue: Venue, guest: Any) -> None:
    await (await venue.device("north-reader")).do("tap", uid=guest.value)


async def test_the_next_tap_pays_and_the_one_after_it_asks_for_entry(venue: Venue) -> None:
    guest, pulses, mark = venue.guests.tag(None), await venue.pulses("north-relay"), venue.observer.mark
    async with venue.client("bar-tablet") as tablet:
        await fund(tablet, guest, 2000)
        charge = await tablet.ask("wallet", "charge", {"amount_minor": 1250, "tip_minor": 50, "reader": "north-reader"})
        await charge.accepted(reader="north-reader")
        await tap(venue, guest)
        paid = await charge.final()
        assert (paid["status"], paid["message"], paid["data"]["balance_minor"]) == ("done", "Paid 13.00 EUR.", 700)
        moved = await venue.observer.event("wallet.transferred", since=mark, action="charge")
        assert moved["balances"] == {f"wallet:{guest.holder}": 700, "sales:bar-tablet": 1250, "tips:bar-tablet": 50}
        assert await venue.pulses("north-relay") == pulses
        # A tag that is still held there is no second tap, so the next guest comes.
        await tap(venue, other := venue.guests.tag())
        await venue.observer.event("entry.granted", since=mark, holder=other.holder)
        await venue.closed("north-relay", pulses + 1)


async def test_a_code_at_a_till_pays_when_asked_and_is_else_only_announced(venue: Venue) -> None:
    guest, mark = venue.guests.code(), venue.observer.mark
    scanner = await venue.device("south-scanner")
    async with venue.client("bar-tablet") as tablet:
        await fund(tablet, guest, 500)
        topic = f"{BASE}/devices/south-scanner/events"
        await scanner.do("scan", text=guest.value)
        await venue.observer.until(lambda: any(one.topic == topic for one in venue.observer.seen), "the scan, live")
        charge = await tablet.ask("wallet", "charge", {"amount_minor": 300, "reader": "south-scanner"})
        await charge.accepted()
        other = venue.guests.code()
        await scanner.do("scan", text=other.value)
        refused = await charge.final()
        assert (refused["status"], refused["reason"]) == ("denied", "insufficient_funds")
    await venue.observer.event("wallet.denied", since=mark)
    assert venue.observer.events("entry.denied", since=mark) == []
    assert len(venue.observer.events("wallet.denied", since=mark)) == 1


async def test_a_request_that_is_cancelled_or_too_late_charges_nobody(venue: Venue) -> None:
    guest = venue.guests.tag(None)
    async with venue.client("bar-tablet") as tablet:
        await fund(tablet, guest, 500)
        charge = await tablet.ask("wallet", "charge", {"amount_minor": 300, "reader": "north-reader"})
        await charge.accepted()
        busy = await tablet.ask("wallet", "charge", {"amount_minor": 400, "reader": "north-reader"})
        assert (await busy.final())["reason"] == "busy"
        cancel = await tablet.ask("wallet", "cancel", {"request": charge.id})
        assert (await cancel.final())["status"] == "done"
        assert (await charge.final())["reason"] == "payment_cancelled"
        late = await tablet.ask("wallet", "charge", {"amount_minor": 300, "reader": "north-reader"}, expires_s=0.5)
        assert (await late.final())["reason"] == "payment_timed_out"
        left = await (await tablet.ask("wallet", "balance", {"credential": guest.credential})).final()
        assert left["data"]["balance_minor"] == 500


@pytest.mark.parametrize("amount", ["12.5", "-1", "0", "1e3", '"12"', "10000000000"])
async def test_i03_what_is_no_amount_is_named_and_does_nothing(venue: Venue, amount: str) -> None:
    before = len(venue.journal())
    async with venue.client("bar-tablet") as tablet:
        payload = envelope("r", {"amount_minor": 0, "reader": "north-reader"}).replace(
            b'"amount_minor": 0', f'"amount_minor": {amount}'.encode()
        )
        refused = await (await tablet.send("wallet", "charge", payload, request_id="r")).final()
    assert refused["reason"] == "malformed"
    assert refused["message"].startswith("`data.amount_minor`")
    assert len(venue.journal()) == before


async def test_i07_what_was_not_granted_is_stopped_by_the_broker_and_by_the_gateway(venue: Venue) -> None:
    data = {"credential": venue.guests.tag().credential}
    async with venue.client("bar-tablet") as tablet:
        topic = f"{tablet.prefix}/requests/wallet/close_out"
        assert await tablet.publish(topic, envelope("r", data)) == 135
    async with venue.insider("bar-tablet") as insider:
        refused = await (await insider.ask("wallet", "close_out", data)).final()
        assert refused["reason"] == "not_granted"


async def test_i02_a_crash_while_a_reader_waits_charges_nobody_and_forgets_no_cent(start_venue: Any) -> None:
    venue: Venue = await start_venue(**VENUE)
    guest = venue.guests.tag(None)
    async with venue.client("bar-tablet") as tablet:
        await fund(tablet, guest, 2000)
        first = await tablet.ask("wallet", "charge", {"amount_minor": 450, "credential": guest.credential})
        assert (await first.final())["status"] == "done"
        charge = {"amount_minor": 300, "reader": "north-reader"}
        waiting = await tablet.ask("wallet", "charge", charge, expires_s=50)
        await waiting.accepted()
        await venue.daemon.kill()
        await venue.start_daemon()
        assert (await waiting.final())["reason"] == "payment_interrupted"
        mark = venue.observer.mark
        await tap(venue, guest)
        await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
        left = await (await tablet.ask("wallet", "balance", {"credential": guest.credential})).final()
        assert left["data"]["balance_minor"] == 1550
        refund = await tablet.ask("wallet", "refund", {"transfer": f"bar-tablet/{first.id}"})
        assert (await refund.final())["data"]["balance_minor"] == 2000
