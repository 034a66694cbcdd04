"""Vouchers are redeemed: from the tablet's request over the reader's bytes to the journal, and through a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.daemon import command
from tests.e2e.guests import Guest
from tests.e2e.tablet import Tablet
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
DRINK = [{"item": "drink"}]


def with_vouchers(settings: dict[str, Any]) -> None:
    """The bar's tablet may redeem and charge, and the scanner stands at the till: no gate lists it."""
    may = settings["clients"]["bar-tablet"]["may"]
    may["entitlements"] = ["redeem", "undo", "cancel", "why"]
    may["wallet"] = ["charge", "top_up"]
    settings["gates"]["south"]["readers"] = []
    settings["feedback"] = {"languages": ["en", "de"], "outcomes": {"expired": {"tone": "triple"}}}


VENUE = {"parts": ("north", "south", "bar"), "guests": 20, "change": with_vouchers}


async def give(venue: Venue, *rows: dict[str, Any]) -> None:
    """Import the directory again, with these rows."""
    mark = venue.observer.mark
    file = venue.directory / "vouchers.ndjson"
    file.write_text("\n".join([*venue.guests.rows(), *map(json.dumps, rows)]) + "\n")
    finished = await venue.command("directory", "import", file)
    assert finished.status == 0, finished.err
    await venue.observer.event("directory.loaded", since=mark)


def voucher(guest: Guest, item: str, uses: int) -> dict[str, Any]:
    return {
        "type": "entitlement",
        "id": f"{item}-{guest.holder}",
        "holder": guest.holder,
        "item": item,
        "uses": uses,
    }


async def redeem(tablet: Tablet, **data: Any) -> dict[str, Any]:
    return await (await tablet.ask("entitlements", "redeem", data)).final()


async def test_the_next_tap_redeems_several_lines_and_the_one_after_it_asks_for_entry(venue: Venue) -> None:
    guest, other, mark = venue.guests.tag(None), venue.guests.tag(), venue.observer.mark
    await give(venue, voucher(guest, "drink", 3), voucher(guest, "cloakroom", 1))
    pulses = await venue.pulses("north-relay")
    async with venue.client("bar-tablet") as tablet:
        lines = [{"item": "drink", "count": 2}, {"item": "cloakroom"}]
        asked = await tablet.ask("entitlements", "redeem", {"lines": lines, "reader": "north-reader"})
        await asked.accepted(reader="north-reader")
        reader = await venue.device("north-reader")
        await reader.do("tap", uid=guest.value)
        done = await asked.final()
        assert (done["status"], done["message"]) == ("done", "Redeemed: 2 drink, 1 cloakroom.")
        assert done["data"]["left"] == {"drink": 1, "cloakroom": 0}
        assert done["feedback"]["text"] == {
            "en": "Redeemed: 2 drink, 1 cloakroom",
            "de": "Eingelöst: 2 drink, 1 cloakroom",
        }
        made = await venue.observer.event("redemption.made", since=mark, holder=guest.holder)
        assert [used["uses"] for used in made["used"]] == [2, 1]
        assert await venue.pulses("north-relay") == pulses
        await reader.do("tap", uid=other.value)
        await venue.observer.event("entry.granted", since=mark, holder=other.holder)
        await venue.closed("north-relay", pulses + 1)
        # All or nothing, and the one reason of the first line that cannot be served.
        refused = await redeem(tablet, lines=lines, credential=guest.credential)
        assert (refused["status"], refused["reason"], refused["data"]["item"]) == ("denied", "no_uses_left", "drink")
        undo = {"redemption": done["data"]["redemption"], "lines": [{"item": "cloakroom"}]}
        undone = await (await tablet.ask("entitlements", "undo", undo)).final()
        assert undone["message"] == "Given back: 1 cloakroom."
        why = await (await tablet.ask("entitlements", "why", {"credential": guest.credential})).final()
        assert why["data"]["left"] == {"drink": 1, "cloakroom": 1}


async def test_i02_a_crash_forgets_no_voucher_and_repeats_none(start_venue: Any) -> None:
    venue: Venue = await start_venue(**VENUE)
    guest = venue.guests.tag(None)
    await give(venue, voucher(guest, "drink", 2))
    async with venue.client("bar-tablet") as tablet:
        data = {"lines": DRINK, "credential": guest.credential}
        first = await (await tablet.ask("entitlements", "redeem", data, request_id="same")).final()
        at_reader = {"lines": DRINK, "reader": "north-reader"}
        waiting = await tablet.ask("entitlements", "redeem", at_reader, expires_s=50)
        await waiting.accepted()
        await venue.daemon.kill()
        await venue.start_daemon()
        assert (await waiting.final())["reason"] == "redemption_interrupted"
        again = await tablet.ask("entitlements", "redeem", data, request_id="same")
        assert (await again.final())["data"] == first["data"]
        shown = await redeem(tablet, credential=guest.credential)
        assert shown["data"]["left"] == {"drink": 1}


async def test_a_ticket_signed_by_the_command_line_enters_pays_and_redeems(venue: Venue) -> None:
    key = venue.directory / "shop.key"
    made = await command("tickets", "keygen", key, "--id", "e2e-1", "--issuer", "e2e-shop")
    await give(venue, json.loads(made.out))
    claims = venue.directory / "claims.ndjson"
    claims.write_text(json.dumps({"jti": "7", "exp": "2099-01-01T00:00:00Z", "zones": ["hall"], "items": {"drink": 1}}))
    code = (await command("tickets", "sign", key, claims)).out.strip()
    credential = {"technology": "barcode", "value": code}
    scanner = await venue.device("south-scanner")
    async with venue.client("bar-tablet") as tablet, venue.client("entrance") as entrance:
        topped_up = await tablet.ask("wallet", "top_up", {"amount_minor": 500, "by": "cash", "credential": credential})
        assert (await topped_up.final())["data"]["holder"] == "e2e-shop:7"
        charge = await tablet.ask("wallet", "charge", {"amount_minor": 450, "reader": "south-scanner"})
        await charge.accepted()
        await scanner.do("scan", text=code)
        assert (await charge.final())["feedback"]["text"]["de"] == "4,50 EUR bezahlt, Rest 0,50 EUR"
        assert (await redeem(tablet, lines=DRINK, credential=credential))["status"] == "done"
        assert (await redeem(tablet, lines=DRINK, credential=credential))["reason"] == "no_uses_left"
        data = {"credential": credential}
        granted = await (await entrance.ask("vip", "authenticate", data)).final()
        assert granted["feedback"] == {
            "tone": "short",
            "colour": "green",
            "text": {"en": "Welcome", "de": "Willkommen"},
        }
        refused = await (await entrance.ask("turnstile", "authenticate", data)).final()
        assert (refused["reason"], refused["feedback"]["text"]["de"]) == ("no_uses_left", "Bereits eingelöst")


async def test_i07_what_was_not_granted_is_refused(venue: Venue) -> None:
    async with venue.insider("kiosk-tablet") as insider:
        refused = await redeem(insider, lines=DRINK, reader="north-reader")
        assert refused["reason"] in {"not_granted", "unknown_target"}
        assert "feedback" not in refused or refused["feedback"]["colour"] != "green"
