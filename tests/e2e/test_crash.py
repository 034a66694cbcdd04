"""The daemon killed, stopped and started twice: nothing is done again by itself, and nothing is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.paper import newest, print_text, printed
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("printer", ["bar-printer", "kiosk-printer"])
async def test_i02_a_crash_amid_a_receipt_makes_it_unknown_and_prints_it_no_second_time(
    start_venue: Any, printer: str
) -> None:
    def patient(settings: dict[str, Any]) -> None:
        # Two metres of paper keep this printer, which draws them, from answering for a while.
        settings["devices"][printer]["status_timeout_ms"] = 5000

    part = printer.split("-", maxsplit=1)[0]
    venue: Venue = await start_venue((part,), change=patient)
    control = await venue.device(printer)
    await control.do("stall", after_bytes=400)
    async with venue.client(f"{part}-tablet") as tablet:
        torn = await print_text(tablet, printer, "Abgerissen", *[f"Zeile {number}" for number in range(450)])
        behind = await print_text(tablet, printer, "Dahinter", expires_s=50)
        job = (await torn.accepted())["data"]["job"]
        await behind.accepted()
        await venue.observer.event("print.started", job=job)
        await control.until(lambda s: s["stalled"])
        await venue.daemon.kill()
        await control.do("power_cycle")
        await control.do("stall", on=False)
        await venue.start_daemon()
        unknown = await torn.final()
        assert (unknown["status"], unknown["data"]["job"]) == ("unknown", job)
        # What had not begun goes on by itself, in its turn and once.
        assert (await behind.final())["status"] == "done"
        paper = await printed(venue, printer)
        assert paper.count("Abgerissen") <= 1
        assert (paper.count("Dahinter"), paper.count("KOPIE")) == (1, 0)
        copy = await (await tablet.ask(printer, "reprint", {"job": job})).final()
        assert copy["status"] == "done"
    assert "KOPIE" in await newest(venue, printer)
    assert [row["kind"] for row in venue.journal() if row.get("job") == job] == [
        "print.queued", "print.started", "print.unknown",
    ]  # fmt: skip


async def test_i02_a_crash_before_the_passage_leaves_the_entry_unknown_and_the_ticket_used(start_venue: Any) -> None:
    venue: Venue = await start_venue(("south",))
    guest = venue.guests.code()
    await (await venue.device("south-scanner")).do("scan", text=guest.value)
    released = await venue.observer.event("gate.released")
    before = await venue.pulses("south-board")
    await venue.daemon.kill()
    mark = venue.observer.mark
    await venue.start_daemon()
    unknown = await venue.observer.event("entry.unknown", since=mark)
    assert (unknown["entry"], unknown["why"]) == (released["entry"], "passage_unrecorded")
    await venue.observer.state("devices/south/state", state="locked")
    async with venue.client("entrance") as reader:
        answer = await (await venue.authenticate(reader, "turnstile", guest)).final()
    assert answer["reason"] in {"no_uses_left", "already_inside"}
    assert await venue.pulses("south-board") == before


async def test_i02_answers_outlive_a_crash(start_venue: Any) -> None:
    venue: Venue = await start_venue(("north", "bar"))
    guest = venue.guests.tag(uses=None)
    async with venue.client("entrance") as reader, venue.client("bar-tablet") as tablet:
        entry = await venue.authenticate(reader, "north", guest, request_id="entry", expires_s=50)
        opened = await tablet.ask("bar-drawer", "open", {"reason": "sale"}, request_id="drawer", expires_s=50)
        receipt = await print_text(tablet, "bar-printer", "Einmal", request_id="receipt", expires_s=50)
        first = [await one.final() for one in (entry, opened, receipt)]
        counted = [len(one.answers) for one in (entry, opened, receipt)]
        kicks = (await (await venue.device("bar-printer")).state())["kick_count"]
        await venue.daemon.kill()
        await venue.start_daemon()
        await venue.authenticate(reader, "north", guest, request_id="entry", expires_s=50)
        await tablet.ask("bar-drawer", "open", {"reason": "sale"}, request_id="drawer", expires_s=50)
        await print_text(tablet, "bar-printer", "Einmal", request_id="receipt", expires_s=50)
        again = [await one.answer(since=n) for one, n in zip((entry, opened, receipt), counted, strict=True)]
    assert [(a["status"], a["data"]) for a in again] == [(a["status"], a["data"]) for a in first]
    await venue.closed("north-relay", 1)
    assert (await (await venue.device("bar-printer")).state())["kick_count"] == kicks
    assert (await printed(venue, "bar-printer")).count("Einmal") == 1


async def test_a_stop_is_clean_and_what_waits_goes_on_after_it(start_venue: Any) -> None:
    venue: Venue = await start_venue(("north", "bar"))
    control = await venue.device("bar-printer")
    await control.do("paper", state="out")
    async with venue.client("bar-tablet") as tablet:
        waiting = await print_text(tablet, "bar-printer", "Wartet über Nacht", expires_s=50)
        await waiting.accepted(held="paper_out")
        assert await venue.daemon.stop() == 0
        assert venue.journal()[-1]["kind"] == "gateway.stopped"
        assert "every one fits" in (await venue.command("journal", "verify")).out
        log = venue.daemon.mark
        await venue.start_daemon()
        assert (await venue.daemon.logged("state_restored", since=log))["clean"] is True
        await control.do("paper", state="ok")
        assert (await waiting.final())["status"] == "done"
    assert (await printed(venue, "bar-printer")).count("Wartet über Nacht") == 1


async def test_a_stop_amid_a_pulse_leaves_no_gate_open(start_venue: Any) -> None:
    def long_pulse(settings: dict[str, Any]) -> None:
        settings["gates"]["north"]["pulse_ms"] = 20_000

    venue: Venue = await start_venue(("north",), change=long_pulse)
    relay = await venue.device("north-relay")
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    await relay.until(lambda s: s["relays"][0]["on"])
    assert await venue.daemon.stop() == 0
    # What the cut pulse came to is on record before the end is.
    assert venue.journal()[-1]["kind"] == "gateway.stopped"
    await relay.until(lambda s: not s["relays"][0]["on"])
    await venue.start_daemon()
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    await relay.until(lambda s: s["relays"][0]["on"])
    await venue.daemon.kill()
    # LCUS boards cannot time a pulse: this gate stays open until the gateway is back, a few seconds under systemd.
    assert (await relay.state())["relays"][0]["on"]
    await venue.start_daemon()
    await relay.until(lambda s: not s["relays"][0]["on"])


async def test_a_second_daemon_on_the_same_folder_ends_at_once_and_says_why(start_venue: Any) -> None:
    venue: Venue = await start_venue(("north",))
    second = Daemon(venue.config)
    await second.start()
    assert await second.ended() == 1
    assert "another venue-gateway" in "".join(second.text)
    mark = venue.observer.mark
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    await venue.observer.event("gate.released", since=mark)


async def test_a_journal_that_was_changed_is_found_and_not_started_on(start_venue: Any) -> None:
    venue: Venue = await start_venue(("north",))
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    await venue.observer.event("gate.released")
    await venue.daemon.stop()
    file = venue.state_dir / "journal.db"
    file.write_bytes(file.read_bytes().replace(b'"gate":"north"', b'"gate":"nerth"'))
    finished = await venue.command("journal", "verify")
    assert finished.status == 1
    assert "changed" in finished.out
