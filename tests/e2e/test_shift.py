"""A shift at the bar: from the float over a sale in cash to the Z report on paper, and a clock nobody vouches for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.paper import newest, receipt_count
from tests.e2e.settings import BASE
from tests.e2e.tablet import Answer, Tablet
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHIFT = ["open_shift", "cash_in", "cash_out", "count", "close_shift", "x_report", "z_report", "status"]


def with_a_till(settings: dict[str, Any]) -> None:
    """The bar is a till with a drawer and a printer of its own; an alarm when the drawer stands open for a second."""
    settings["venue"]["name"] = "Klub Grüner Hund"
    settings["devices"]["bar-drawer"]["left_open_s"] = 1
    may = settings["clients"]["bar-tablet"]["may"]
    may["wallet"], may["bar"] = ["sell", "top_up", "charge", "refund", "deposit"], SHIFT
    settings["tills"] = {"bar": {"drawer": "bar-drawer", "printer": "bar-printer", "clients": ["bar-tablet"]}}


VENUE = {"parts": ("bar",), "guests": 4, "change": with_a_till}


async def done(tablet: Tablet, target: str, verb: str, data: Any = None, **options: Any) -> Answer:
    answer = await (await tablet.ask(target, verb, data, **options)).final()
    assert answer["status"] == "done", answer
    return answer


async def refused(tablet: Tablet, target: str, verb: str, data: Any = None) -> str:
    answer = await (await tablet.ask(target, verb, data)).final()
    assert answer["status"] == "denied", answer
    return str(answer["reason"])


async def some_turnover(venue: Venue, tablet: Tablet) -> None:
    guest = venue.guests.tag(None)
    await done(tablet, "wallet", "sell", {"amount_minor": 1250, "tip_minor": 150, "deposit_minor": 200, "by": "cash"})
    await done(tablet, "wallet", "sell", {"amount_minor": 3900, "by": "card"})
    await done(tablet, "wallet", "top_up", {"amount_minor": 2000, "by": "cash", "credential": guest.credential})
    await done(tablet, "wallet", "top_up", {"amount_minor": 1000, "by": "voucher", "credential": guest.credential})
    charge = await done(tablet, "wallet", "charge", {"amount_minor": 750, "credential": guest.credential})
    await done(tablet, "wallet", "refund", {"transfer": charge["data"]["transfer"], "amount_minor": 250})
    await done(tablet, "wallet", "deposit", {"amount_minor": 200, "action": "return", "by": "cash"})
    await done(tablet, "bar", "cash_out", {"amount_minor": 5000, "reason": "in den Tresor"})


EXPECTED_MINOR = 15_000 + 1250 + 150 + 200 + 2000 - 200 - 5000


async def test_a_shift_from_the_float_to_the_z_report_on_paper(venue: Venue) -> None:
    mark, papers = venue.observer.mark, await receipt_count(venue, "bar-printer")
    async with venue.client("bar-tablet") as tablet:
        assert await refused(tablet, "wallet", "sell", {"amount_minor": 450, "by": "cash"}) == "no_shift_open"
        await done(tablet, "bar", "open_shift", {"floats": {"EUR": 15_000}})
        await some_turnover(venue, tablet)
        await done(tablet, "bar-drawer", "open", {"reason": "Wechselgeld für einen Fünfziger"})
        x = await done(tablet, "bar", "x_report")
        await venue.observer.event("print.done", since=mark, job=x["data"]["job"])
        assert "X-Bericht Nr. 1" in await newest(venue, "bar-printer")
        assert await refused(tablet, "bar", "close_shift") == "not_counted"
        counted = await done(
            tablet, "bar", "count", {"counted": [{"pieces": {"5000": 2, "1000": 3, "200": 1, "50": 2}}]}
        )
        assert str(EXPECTED_MINOR) not in str(counted)
        closed = await done(tablet, "bar", "close_shift", request_id="close-once")
        again = await done(tablet, "bar", "close_shift", request_id="close-once")
    assert closed["data"] == again["data"]
    assert closed["data"]["difference"] == {"EUR": 13_300 - EXPECTED_MINOR}
    await venue.observer.event("print.done", since=mark, job=closed["data"]["job"])
    assert await receipt_count(venue, "bar-printer") == papers + 2
    text = await newest(venue, "bar-printer")
    for line in ("Z-Bericht Nr. 1", "Klub Grüner Hund", "Differenz", "-1,00", "bar-tablet: Wechselgeld"):
        assert line in text, text


async def test_i02_a_crash_amid_a_shift_loses_no_cent_of_it_and_no_number(venue: Venue) -> None:
    async with venue.client("bar-tablet") as tablet:
        await done(tablet, "bar", "open_shift", {"floats": {"EUR": 100}})
        await done(tablet, "wallet", "sell", {"amount_minor": 333, "by": "cash"})
        await venue.daemon.kill()
        await venue.start_daemon()
        assert (await done(tablet, "bar", "status"))["data"]["open"] is True
        await done(tablet, "wallet", "sell", {"amount_minor": 667, "by": "cash"})
        await done(tablet, "bar", "count", {"counted": [{"total_minor": 1100}]})
        closed = await done(tablet, "bar", "close_shift")
        assert closed["data"]["difference"] == {"EUR": 0}
        assert closed["data"]["number"] == 2
        mark = venue.observer.mark
        copy = await done(tablet, "bar", "z_report", {"number": 1})
        await venue.observer.event("print.done", since=mark, job=copy["data"]["job"])
        assert "KOPIE" in await newest(venue, "bar-printer")


async def test_a_drawer_left_open_is_an_alarm_after_the_seconds_of_its_yaml(venue: Venue) -> None:
    mark, printer = venue.observer.mark, await venue.device("bar-printer")
    await printer.do("drawer", open=False)
    await venue.observer.state("devices/bar-drawer/state", contact="closed")
    await printer.do("drawer", open=True)
    await venue.observer.event("drawer.forced", since=mark, drawer="bar-drawer")
    await venue.observer.event("drawer.left_open", since=mark, drawer="bar-drawer")
    await printer.do("drawer", open=False)
    await venue.observer.event("drawer.closed", since=mark, drawer="bar-drawer")


def with_a_clock_in_doubt(settings: dict[str, Any]) -> None:
    settings["clock"] = {"trust": "vouched", "untrusted": "deny"}
    settings["clients"]["bar-tablet"]["may"]["gateway"] = ["vouch_clock", "status"]


async def test_i10_until_somebody_vouches_the_state_says_so_and_entries_are_marked(start_venue: Any) -> None:
    venue: Venue = await start_venue(parts=("bar",), guests=2, change=with_a_clock_in_doubt)
    if any(row["kind"] == "clock.vouched" for row in venue.journal()):
        pytest.skip("the kernel of this machine says that NTP keeps its clock")
    assert {row["clock"] for row in venue.journal()} == {"untrusted"}
    async with venue.client("bar-tablet") as tablet:
        await tablet.subscribe(f"{BASE}/gateway/state")
        status = await done(tablet, "gateway", "status")
        assert status["data"]["figures"]["clock_trusted"] == 0
        assert "clock:" in status["message"]
        mark = venue.observer.mark
        finished = await venue.command("clock", "vouch", "--reason", "by the station clock")
        assert finished.status == 0, finished.err
        assert "Europe/Berlin" in finished.out
        vouched = await venue.observer.event("clock.vouched", since=mark, by="technician")
        assert vouched["reason"] == "by the station clock"
        status = await done(tablet, "gateway", "status")
        assert status["data"]["figures"]["clock_trusted"] == 1
        assert "clock" not in venue.journal()[-1]
    # The same start of the machine: the word still counts.
    await venue.daemon.kill()
    await venue.start_daemon()
    assert "clock" not in venue.journal()[-1]


async def test_i10_a_client_with_the_grant_tells_the_time(start_venue: Any) -> None:
    venue: Venue = await start_venue(parts=("bar",), guests=2, change=with_a_clock_in_doubt)
    if any(row["kind"] == "clock.vouched" for row in venue.journal()):
        pytest.skip("the kernel of this machine says that NTP keeps its clock")
    async with venue.client("bar-tablet") as tablet:
        now_ms = 1_900_000_000_000
        told = await done(tablet, "gateway", "vouch_clock", {"reason": "phone", "now_ms": now_ms}, expires_s=None)
        assert told["data"]["at_ms"] == now_ms
        status = await done(tablet, "gateway", "status", expires_s=None)
        assert status["at"].startswith("2030-03-17T17:46")
        assert await refused(tablet, "gateway", "vouch_clock", {"reason": "typo", "now_ms": 5}) == "malformed"
