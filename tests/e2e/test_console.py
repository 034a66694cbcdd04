"""The console over HTTP: who may what, what is shown, and what is done at the desk with the user's name on it."""

from __future__ import annotations

import secrets
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.web.users import Users
from tests.e2e.bulletin import poll
from tests.e2e.console import Visitor, address, with_console
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "bar", "kiosk"), "change": with_console}
HOSTILE = "<img src=x onerror=alert(1)>\"'&</script>"


@pytest_asyncio.fixture(loop_scope="module")
async def ada(venue: Venue) -> AsyncIterator[Visitor]:
    async with Visitor(address(venue)) as visitor:
        assert await visitor.sign_in("ada") == 200
        yield visitor


@pytest_asyncio.fixture(loop_scope="module")
async def bea(venue: Venue) -> AsyncIterator[Visitor]:
    async with Visitor(address(venue)) as visitor:
        assert await visitor.sign_in("bea") == 200
        yield visitor


@pytest_asyncio.fixture(loop_scope="module")
async def vic(venue: Venue) -> AsyncIterator[Visitor]:
    async with Visitor(address(venue)) as visitor:
        assert await visitor.sign_in("vic") == 200
        yield visitor


async def test_everything_of_the_venue_is_shown(vic: Visitor) -> None:
    status, state = await vic.get("/api/state")
    assert status == 200
    assert {one["name"]: one["state"] for one in state["devices"]} == {
        "north-reader": "online", "north-relay": "online", "bar-printer": "online", "kiosk-printer": "online",
    }  # fmt: skip
    assert {one["name"] for one in state["gates"]} >= {"north", "turnstile"}
    assert [one["name"] for one in state["drawers"]] == ["bar-drawer", "kiosk-drawer"]
    assert state["gateway"]["state"] == "online"
    assert state["sync"]["credentials"] > 100
    assert "charts" in state


async def test_a_tap_appears_in_the_stream_with_its_decision(venue: Venue, bea: Visitor, vic: Visitor) -> None:
    guest, stranger = venue.guests.tag(), venue.guests.stranger()
    async with bea.stream() as staff, vic.stream() as viewer, venue.client("entrance") as entrance:
        await (await venue.authenticate(entrance, "turnstile", guest)).final()
        await (await venue.authenticate(entrance, "turnstile", stranger)).final()

        def both(event: str, data: object) -> bool:
            return event == "rows" and any(row["kind"] == "entry.denied" for row in data)

        await staff.until(both)
        await viewer.until(both)
    rows = [row for event, data in staff.seen if event == "rows" for row in data]
    granted = next(row for row in rows if row["kind"] == "entry.granted" and row.get("holder") == guest.holder)
    assert (granted["tone"], granted["place"], len(granted["credential"])) == ("good", "turnstile", 8)
    assert any(row.get("reason") == "unknown_credential" and row["tone"] == "bad" for row in rows)
    seen = str(viewer.seen)
    assert guest.holder not in seen
    assert granted["credential"] not in seen
    assert not venue.secrets_in([str(staff.seen), seen])


async def test_a_receipt_has_a_picture_and_is_reprinted_as_a_copy(venue: Venue, bea: Visitor, vic: Visitor) -> None:
    async with venue.client("bar-tablet") as tablet:
        document = {
            "lines": [{"type": "text", "text": f"Grüße {HOSTILE}"}, {"type": "qr", "data": "x"}, {"type": "cut"}]
        }
        done = await (await tablet.ask("bar-printer", "print", {"document": document})).final()
    job = done["data"]["job"]
    status, picture = await bea.get(f"/api/receipts/{job}.png")
    assert (status, picture[:8]) == (200, b"\x89PNG\r\n\x1a\n")
    assert (await vic.get(f"/api/receipts/{job}.png"))[0] == 403
    assert (await bea.ask("bar-printer", "reprint", {"job": job}))["status"] == "accepted"

    async def copied() -> bool:
        jobs = (await bea.get("/api/state"))[1]["printers"][0]["jobs"]
        return any(one["copy"] and one["status"] == "done" and one["client"] == "console/bea" for one in jobs)

    await poll(copied, "the copy is printed")
    queued = [row for row in venue.journal() if row["kind"] == "print.queued" and row.get("copy_of") == job]
    assert [row["client"] for row in queued] == ["console/bea"]


async def test_a_drawer_opens_once_with_user_and_reason(venue: Venue, bea: Visitor) -> None:
    asked_id = secrets.token_hex(8)
    first = await bea.ask("bar-drawer", "open", {"reason": "change"}, id=asked_id)
    again = await bea.ask("bar-drawer", "open", {"reason": "change"}, id=asked_id)
    assert (first["status"], again["status"]) == ("accepted", "accepted") or again["status"] == "done"
    opened = [row for row in venue.journal() if row["kind"] == "drawer.opening"]
    assert [(row["client"], row["reason"]) for row in opened] == [("console/bea", "change")]


async def test_the_bench_pulses_a_relay_and_says_so_in_the_journal(venue: Venue, ada: Visitor, bea: Visitor) -> None:
    before = await venue.pulses("north-relay", 2)
    asked = {"reason": "does it click", "channel": 2, "pulse_ms": 60}
    assert (await bea.ask("north-relay", "pulse", asked))["reason"] == "not_granted"
    async with ada.stream() as stream:
        assert (await ada.ask("north-relay", "pulse", asked))["status"] == "accepted"
        await stream.until(lambda event, data: event == "answer" and data["status"] == "done")
    await venue.closed("north-relay", before + 1, 2)
    told = [row for row in venue.journal() if row["kind"].startswith("bench.")]
    assert [(row["kind"], row.get("client"), row.get("outcome")) for row in told] == [
        ("bench.started", "console/ada", None), ("bench.ended", None, "done")
    ]  # fmt: skip
    assert (await ada.ask("north-reader", "beep", {"reason": "x"}))["reason"] == "unknown_verb"
    assert (await ada.ask("north-relay", "pulse", {**asked, "channel": 99}))["reason"] == "malformed"


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("bar", "So it is configured already."),
        ("kiosk", "kiosk-drawer: {driver: drawer-kick, printer: kiosk-printer, open_is_high: true}"),
    ],
)
async def test_a_drawers_contact_is_calibrated_while_everything_runs(
    venue: Venue, ada: Visitor, bea: Visitor, place: str, advice: str
) -> None:
    drawer, printer = f"{place}-drawer", await venue.device(f"{place}-printer")
    await printer.do("drawer", open=False)
    before, mark = int((await printer.state())["kick_count"]), venue.observer.mark
    assert (await bea.ask(drawer, "calibrate", {"reason": "first evening"}))["reason"] == "not_granted"
    async with ada.stream() as stream:
        assert (await ada.ask(drawer, "calibrate", {"reason": "first evening"}))["status"] == "accepted"
        told = await stream.until(lambda event, data: event == "answer" and "it reads" in data["message"])
    assert told["message"].startswith("Shut it reads low, open high.")
    assert told["message"].endswith(advice)
    started = await venue.observer.event("bench.started", since=mark, action="calibrate")
    assert (started["client"], started["reason"], started["device"]) == ("console/ada", "first evening", drawer)
    opening = await venue.observer.event("drawer.opening", since=mark)
    assert (opening["client"], opening["reason"]) == ("console/ada", "calibrating: first evening")
    assert int((await printer.state())["kick_count"]) == before + 1
    assert not venue.observer.events("drawer.forced", since=mark)


async def test_i12_a_guest_is_looked_up_and_their_number_never_comes_back(venue: Venue, bea: Visitor) -> None:
    guest = venue.guests.tag()
    status, found = await bea.post("/api/lookup", {"credential": guest.credential})
    assert (status, found["holder"], found["credential"]["state"]) == (200, guest.holder, "active")
    north = next(one for one in found["gates"] if one["gate"] == "north")
    assert north["decision"] == "granted"
    assert north["rules"] == {"directory": "ok", "credential": "ok", "gate": "ok"}
    again = (await bea.post("/api/lookup", {"ref": found["ref"]}))[1]
    assert (again["holder"], again["gates"]) == (guest.holder, found["gates"])
    named = (await bea.post("/api/lookup", {"holder": guest.holder}))[1]
    assert [one["zones"] for one in named["entitlements"]] == [["hall"]]
    stranger = venue.guests.stranger()
    unknown = (await bea.post("/api/lookup", {"credential": stranger.credential}))[1]
    assert (unknown["holder"], unknown["fault"]) == ("", "unknown_credential")
    assert not venue.secrets_in([str(found), str(named), str(unknown)])


async def test_the_configuration_is_shown_with_findings_and_without_secrets(
    venue: Venue, ada: Visitor, bea: Visitor
) -> None:
    status, right = await ada.get("/api/configuration")
    assert (status, right["digest"]) == (200, right["in_force"])
    assert (await bea.get("/api/configuration"))[0] == 403
    text = venue.config.read_text()
    try:
        venue.config.write_text(text + "zonees: {}\npassword: hunter2-secret\n")
        wrong = (await ada.get("/api/configuration"))[1]
    finally:
        venue.config.write_text(text)
    last = len(text.splitlines())
    found = [(one["line"], one["level"]) for one in wrong["findings"] if one["level"] == "problem"]
    assert found == [(last + 1, "problem"), (last + 2, "problem")]
    assert wrong["lines"][last + 1] == "password: •••"
    assert "hunter2" not in str(wrong)


async def test_whoever_is_taken_out_is_out_at_once(venue: Venue) -> None:
    users = Users(venue.state_dir / "console-users.json")
    users.put("eve", "staff", "a password of eve")
    async with Visitor(address(venue)) as eve:
        assert await eve.sign_in("eve", "a password of eve") == 200
        async with eve.stream() as stream:
            users.remove("eve")
            await stream.until(lambda event, _: event == "bye")
        assert (await eve.get("/api/state"))[0] == 401
        assert (await eve.post("/api/ask", {"id": "12345678", "target": "bar-drawer", "verb": "open"}))[0] == 401


async def test_a_reload_moves_the_console_and_takes_it_away(start_venue) -> None:
    venue = await start_venue(("north",), change=with_console, start=("broker", "daemon"))
    before = address(venue)
    venue.settings["console"]["idle_timeout_min"] = 1
    with_console(venue.settings)
    venue.write_config()
    mark = venue.daemon.mark
    venue.daemon.signal(signal.SIGHUP)
    await venue.daemon.logged("configuration_loaded", since=mark)
    async with Visitor(address(venue)) as visitor, Visitor(before) as old:
        assert (await visitor.get("/"))[0] == 200
        with pytest.raises(OSError, match="connect"):
            await old.get("/")
        del venue.settings["console"]
        venue.write_config()
        mark = venue.daemon.mark
        venue.daemon.signal(signal.SIGHUP)
        await venue.daemon.logged("configuration_loaded", since=mark)
        with pytest.raises(OSError, match="connect"):
            await visitor.get("/")
