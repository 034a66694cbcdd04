"""OSDP, TWN4 and Wiegand readers at one gate, from the bytes on their lines to the relay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.codecs.wiegand import frame_of
from tests.e2e.guests import Guest
from tests.e2e.settings import OSDP_KEY
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")


def with_key(settings: dict[str, Any]) -> None:
    file = Path(settings["devices"]["access-reader"]["key_file"])
    file.write_text(OSDP_KEY)
    file.chmod(0o600)


VENUE = {"parts": ("access",), "change": with_key, "guests": 4}
CARDS = {"wiegand": ("D41B81", "D41B82"), "nfc": ("04DE5F1EACC040",)}


async def guests_known(venue: Venue) -> None:
    """Have the directory know the holders of these cards."""
    for technology, values in CARDS.items():
        for value in values:
            guest = Guest(f"holder-{value.lower()}", technology, value)
            ticket = {"id": f"ticket-{guest.holder}", "holder": guest.holder, "zones": ["hall"]}
            venue.guests._rows.append({"type": "credential", "holder": guest.holder, **guest.credential})
            venue.guests._rows.append({"type": "entitlement", **ticket})
    mark = venue.daemon.mark
    await venue.import_directory()
    await venue.daemon.logged("directory_loaded", since=mark)


async def test_cards_at_each_reader_open_the_gate_once(venue: Venue) -> None:
    await guests_known(venue)
    bus, twn4, bridge = [await venue.device(f"access-{name}") for name in ("bus", "twn4", "bridge")]
    taps = [
        (bus.do("present", address=3, bits=frame_of(0xD41B81, 26)), "access-reader", "holder-d41b81"),
        (twn4.do("tap", uid="04DE5F1EACC040"), "access-twn4", "holder-04de5f1eacc040"),
        (bridge.do("present", data="D41B82"), "access-bridge", "holder-d41b82"),
    ]
    for count, (tap, source, holder) in enumerate(taps, start=1):
        mark = venue.observer.mark
        await tap
        granted = await venue.observer.event("entry.granted", since=mark, gate="access")
        assert (granted["source"], granted["holder"]) == (source, holder)
        await venue.closed("access-relay", count)
        if source == "access-reader":
            await bus.until(lambda state: state["readers"]["3"]["display"] == ["Willkommen", ""])
        await venue.observer.state("devices/access/state", state="locked")
    assert not [value for values in CARDS.values() for value in values if value in "".join(venue.daemon.text).upper()]
    assert OSDP_KEY not in "".join(venue.daemon.text)


async def test_a_network_reader_publishes_the_same_card_and_hears_the_same_decision(venue: Venue) -> None:
    """docs/hardware/network-readers.md: a client that asks at its gate, as the gateway's own readers do."""
    mark, before = venue.observer.mark, await venue.pulses("access-relay")
    guest = Guest("holder-d41b81", "wiegand", "D41B81")
    async with venue.client("entrance") as reader:
        answer = await (await venue.authenticate(reader, "access", guest)).final()
    assert (answer["status"], answer["data"]["decision"]) == ("done", "granted")
    granted = await venue.observer.event("entry.granted", since=mark, gate="access")
    assert granted["holder"] == guest.holder
    await venue.closed("access-relay", before + 1)


async def test_an_unplugged_bus_takes_its_reader_along_and_both_come_back(venue: Venue) -> None:
    bus, mark = await venue.device("access-bus"), venue.daemon.mark
    await bus.do("unplug")
    for name in ("access-bus", "access-reader"):
        await venue.daemon.logged("device_status", since=mark, device=name, status="offline")
    mark = venue.daemon.mark
    await bus.do("plug")
    for name in ("access-bus", "access-reader"):
        await venue.daemon.logged("device_status", since=mark, device=name, status="online")
    assert {one["device"] for one in venue.daemon.lines[mark:] if one["event"] == "device_status"} == {
        "access-bus",
        "access-reader",
    }


async def test_a_torn_off_reader_is_told(venue: Venue) -> None:
    mark = venue.daemon.mark
    await (await venue.device("access-bus")).do("tamper", address=3)
    await venue.daemon.logged("device_tampered", since=mark, device="access-reader", active=True)
