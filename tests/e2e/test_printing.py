"""Receipts: from a document over MQTT to the paper, once, and the truth about what became of it."""

from __future__ import annotations

import asyncio
import base64
import io

import pytest
from PIL import Image

from tests.e2e.paper import newest, print_text, printed, receipt_count
from tests.e2e.tablet import Tablet
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("bar", "kiosk")}
PRINTERS = [("bar-tablet", "bar-printer"), ("kiosk-tablet", "kiosk-printer")]
NOT_AUTHORIZED = 135


def picture() -> str:
    stream = io.BytesIO()
    Image.effect_noise((64, 32), 90).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


FULL_DOCUMENT = {
    "lines": [
        {"type": "image", "png": picture()},
        {"type": "text", "text": "Café Größenwahn", "align": "center", "bold": True, "double_height": True},
        {"type": "rule"},
        {"type": "columns", "cells": [{"text": "Käsespätzle"}, {"text": "12,50 €", "align": "right"}]},
        {"type": "columns", "cells": [{"text": "Weißbier ½ l"}, {"text": "4,20 €", "align": "right"}], "bold": True},
        {"type": "text", "text": "Straße, Žižkov, Ñandú", "underline": True},
        {"type": "text", "text": "Привет, Ελλάς, 東京"},
        {"type": "barcode", "symbology": "ean13", "data": "4006381333931"},
        {"type": "qr", "data": "https://example.org/ß"},
        {"type": "feed", "lines": 2},
        {"type": "cut"},
    ]
}


@pytest.mark.parametrize(("client", "printer"), PRINTERS)
async def test_a_document_prints_with_umlauts_and_euro(venue: Venue, client: str, printer: str) -> None:
    before = await receipt_count(venue, printer)
    async with venue.client(client) as tablet:
        asked = await tablet.ask(printer, "print", {"document": FULL_DOCUMENT, "title": "Rechnung 7"})
        done = await asked.final()
    assert [answer["status"] for answer in asked.answers] == ["accepted", "done"]
    assert done["data"]["confirmed"] is True
    assert done["data"]["job"] == asked.answers[0]["data"]["job"]
    state = await (await venue.device(printer)).until(lambda s: s["receipt_count"] == before + 1)
    assert state["receipts"][-1]["cut"]
    assert not state["unknown_commands"]
    text = await newest(venue, printer)
    for words in ("Größenwahn", "Käsespätzle", "12,50 €", "Weißbier ½ l", "Straße", "4006381333931", "example.org"):
        assert words in text, words


async def test_raw_bytes_print_where_granted(venue: Venue) -> None:
    before = await receipt_count(venue, "bar-printer")
    raw = base64.b64encode(b"\x1b@Roh gedruckt\n\n\n\n\x1dV\x00").decode()
    async with venue.client("bar-tablet") as tablet:
        assert (await (await tablet.ask("bar-printer", "print_raw", {"data": raw})).final())["status"] == "done"
    await (await venue.device("bar-printer")).until(lambda s: s["receipt_count"] == before + 1)
    assert "Roh gedruckt" in await newest(venue, "bar-printer")


async def test_i07_raw_bytes_are_refused_where_not_granted(venue: Venue) -> None:
    raw = {"data": base64.b64encode(b"Verboten\n").decode()}
    async with venue.client("kiosk-tablet") as tablet:
        topic = f"{tablet.prefix}/requests/kiosk-printer/print_raw"
        assert await tablet.publish(topic, b"{}") == NOT_AUTHORIZED
    async with venue.insider("kiosk-tablet") as tablet:
        answer = await (await tablet.ask("kiosk-printer", "print_raw", raw)).final()
        assert (answer["status"], answer["reason"]) == ("denied", "not_granted")
    assert "Verboten" not in await printed(venue, "kiosk-printer")


async def test_i02_the_same_print_request_twice_is_one_receipt(venue: Venue) -> None:
    async with venue.client("bar-tablet") as tablet:
        first = await print_text(tablet, "bar-printer", "Nur einmal", request_id="print-once")
        await print_text(tablet, "bar-printer", "Nur einmal", request_id="print-once")
        await first.final()
        await print_text(tablet, "bar-printer", "Nur einmal", request_id="print-once")
        await first.answer(since=2)
        clash = await print_text(tablet, "bar-printer", "Etwas anderes", request_id="print-once")
        await clash.answer(status="denied")
        await settled(tablet)
    paper = await printed(venue, "bar-printer")
    assert (paper.count("Nur einmal"), paper.count("Etwas anderes")) == (1, 0)


TROUBLE = [
    ("paper_out", {"do": "paper", "state": "out"}, {"do": "paper", "state": "ok"}),
    ("cover_open", {"do": "cover", "open": True}, {"do": "cover", "open": False}),
]


@pytest.mark.parametrize(("why", "break_it", "mend_it"), TROUBLE, ids=[one[0] for one in TROUBLE])
@pytest.mark.parametrize(("client", "printer"), PRINTERS)
async def test_a_printer_in_trouble_holds_the_job_and_prints_it_once(
    venue: Venue, client: str, printer: str, why: str, break_it: dict, mend_it: dict
) -> None:
    control, text = await venue.device(printer), f"Held by {why} {printer}"
    await control.do(**{"command": break_it["do"], **{k: v for k, v in break_it.items() if k != "do"}})
    async with venue.client(client) as tablet:
        asked = await print_text(tablet, printer, text)
        held = await asked.accepted(held=why)
        assert why.replace("_", " ") in held["message"]
        await venue.observer.state(f"devices/{printer}/state", **{why: True})
        status = await (await tablet.ask(printer, "status")).final()
        assert [job["why"] for job in status["data"]["jobs"]] == [why]
        assert text not in await printed(venue, printer)
        await control.do(**{"command": mend_it["do"], **{k: v for k, v in mend_it.items() if k != "do"}})
        assert (await asked.final())["status"] == "done"
    assert (await printed(venue, printer)).count(text) == 1


async def test_paper_that_ends_during_a_job_makes_it_unknown_and_no_second_copy(venue: Venue) -> None:
    control = await venue.device("bar-printer")
    await control.do("paper", state="out", after_lines=2)
    async with venue.client("bar-tablet") as tablet:
        asked = await print_text(tablet, "bar-printer", "Erste", "Zweite", "Dritte Zeile im Job", "Vierte")
        answer = await asked.final()
        assert (answer["status"], answer["reason"]) == ("unknown", "outcome_unknown")
        await control.do("paper", state="ok")
        await settled(tablet)
    assert (await printed(venue, "bar-printer")).count("Dritte Zeile im Job") == 1


async def test_a_printer_unplugged_amid_a_job_leaves_it_unknown_and_prints_no_second_copy(venue: Venue) -> None:
    await (await venue.device("bar-printer")).do("drop", after_bytes=600)
    lines = [f"Zeile {number} vor dem Abriss" for number in range(60)]
    async with venue.client("bar-tablet") as tablet:
        asked = await print_text(tablet, "bar-printer", *lines)
        answer = await asked.final()
        assert (answer["status"], answer["reason"]) == ("unknown", "outcome_unknown")
        assert (await (await print_text(tablet, "bar-printer", "Danach")).final())["status"] == "done"
    paper = await printed(venue, "bar-printer")
    assert paper.count("Zeile 0 vor dem Abriss") <= 1
    assert paper.count("Danach") == 1


async def test_a_serial_printer_unplugged_amid_a_job_leaves_it_unknown(venue: Venue) -> None:
    control, mark = await venue.device("kiosk-printer"), venue.observer.mark
    await control.do("stall", after_bytes=300)
    async with venue.client("kiosk-tablet") as tablet:
        asked = await print_text(tablet, "kiosk-printer", *[f"Reihe {number} am Kabel" for number in range(400)])
        await control.until(lambda s: s["stalled"])
        await control.do("unplug")
        answer = await asked.final()
        assert answer["status"] == "unknown"
        await control.do("stall", on=False)
        await control.do("power_cycle")
        await control.do("plug")
        await venue.observer.event("device.online", since=mark, device="kiosk-printer")
        assert (await (await print_text(tablet, "kiosk-printer", "Wieder da")).final())["status"] == "done"
    paper = await printed(venue, "kiosk-printer")
    assert paper.count("Reihe 0 am Kabel") <= 1
    assert paper.count("Wieder da") == 1


async def test_an_offline_printer_holds_the_job_until_it_is_back(venue: Venue) -> None:
    control = await venue.device("bar-printer")
    await control.do("unplug")
    await venue.observer.state("devices/bar-printer/state", state="offline")
    async with venue.client("bar-tablet") as tablet:
        asked = await print_text(tablet, "bar-printer", "Nach dem Stecker")
        await asked.accepted(held="offline")
        await control.do("plug")
        assert (await asked.final())["status"] == "done"
    assert (await printed(venue, "bar-printer")).count("Nach dem Stecker") == 1


async def test_a_reprint_is_marked_as_a_copy(venue: Venue) -> None:
    async with venue.client("bar-tablet") as tablet:
        asked = await print_text(tablet, "bar-printer", "Beleg 4711")
        job = (await asked.final())["data"]["job"]
        copy = await (await tablet.ask("bar-printer", "reprint", {"job": job})).final()
        assert copy["status"] == "done"
        assert copy["data"]["job"] != job
        missing = await (await tablet.ask("bar-printer", "reprint", {"job": "no-such-job"})).final()
        assert missing["reason"] == "unknown_job"
    paper = await printed(venue, "bar-printer")
    assert paper.count("Beleg 4711") == 2
    assert "KOPIE" in await newest(venue, "bar-printer")
    assert "KOPIE" not in paper[: paper.index("Beleg 4711")]


async def test_a_job_that_waits_can_be_cancelled(venue: Venue) -> None:
    control = await venue.device("bar-printer")
    await control.do("paper", state="out")
    async with venue.client("bar-tablet") as tablet:
        first = await print_text(tablet, "bar-printer", "Bleibt")
        second = await print_text(tablet, "bar-printer", "Wird storniert")
        await first.accepted(held="paper_out")
        job = (await second.accepted())["data"]["job"]
        assert (await (await tablet.ask("bar-printer", "cancel", {"job": job})).final())["status"] == "done"
        end = await second.final()
        assert (end["status"], end["reason"]) == ("failed", "job_cancelled")
        again = await (await tablet.ask("bar-printer", "cancel", {"job": job})).final()
        assert again["reason"] == "wrong_job_state"
        await control.do("paper", state="ok")
        assert (await first.final())["status"] == "done"
    paper = await printed(venue, "bar-printer")
    assert (paper.count("Bleibt"), paper.count("Wird storniert")) == (1, 0)


async def test_a_job_that_expires_before_it_is_printed_never_is(venue: Venue) -> None:
    control = await venue.device("bar-printer")
    await control.do("paper", state="out")
    async with venue.client("bar-tablet") as tablet:
        asked = await print_text(tablet, "bar-printer", "Zu spät", expires_s=0.5)
        end = await asked.final()
        assert (end["status"], end["reason"]) == ("failed", "job_expired")
        await control.do("paper", state="ok")
        await settled(tablet)
    assert "Zu spät" not in await printed(venue, "bar-printer")


async def test_i09_a_full_queue_is_busy_at_once_and_what_was_accepted_prints_in_order(venue: Venue) -> None:
    control = await venue.device("bar-printer")
    await control.do("paper", state="out")
    async with venue.client("bar-tablet") as tablet:
        asked = [await print_text(tablet, "bar-printer", f"Schlange {number}") for number in range(5)]
        for one in asked:
            await one.accepted()
        refused = await (await print_text(tablet, "bar-printer", "Einer zu viel")).final(wait_s=1)
        assert (refused["status"], refused["reason"]) == ("denied", "busy")
        await control.do("paper", state="ok")
        assert [(await one.final())["status"] for one in asked] == ["done"] * 5
    paper = await printed(venue, "bar-printer")
    places = [paper.index(f"Schlange {number}") for number in range(5)]
    assert places == sorted(places)
    assert "Einer zu viel" not in paper


async def test_two_printers_print_at_the_same_time(venue: Venue) -> None:
    async with venue.client("bar-tablet") as one, venue.client("kiosk-tablet") as two:
        asked = await asyncio.gather(print_text(one, "bar-printer", "Bar"), print_text(two, "kiosk-printer", "Kiosk"))
        assert [(await conversation.final())["status"] for conversation in asked] == ["done", "done"]


async def settled(tablet: Tablet) -> None:
    """A later receipt is printed, so whatever would still have come before it has come."""
    assert (await (await print_text(tablet, "bar-printer", "-")).final())["status"] == "done"
