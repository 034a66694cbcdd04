"""I8: a dead, slow or babbling device harms no other."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.paper import print_text, printed
from tests.e2e.venue import Venue

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timed]
VENUE = {"parts": ("north", "south", "bar", "kiosk")}
SOON_S = 0.5
"""Far more than a gate needs and far less than any timeout of a printer; the machine may be busy with other tests."""


@pytest_asyncio.fixture(loop_scope="module")
async def whole(venue: Venue) -> AsyncIterator[Venue]:
    """The venue with every device back as it should be after the test."""
    yield venue
    for name in venue.simulators.devices:
        control = await venue.device(name)
        if name.endswith("printer"):
            await control.do("stall", on=False)
            await control.do("mute", on=False)
            await control.do("paper", state="ok")
        await control.do("plug")
        await venue.observer.state(f"devices/{name}/state", state="online")


async def gates_are_quick(venue: Venue, rounds: int = 10) -> None:
    """Every tap, wired and networked, is decided and the relay closed soon."""
    reader, relay = await venue.device("north-reader"), await venue.device("north-relay")
    async with venue.client("entrance") as entrance:
        for _ in range(rounds):
            began = time.monotonic()
            answer = await (await venue.authenticate(entrance, "turnstile", venue.guests.code())).final()
            assert (answer["status"], time.monotonic() - began < SOON_S) == ("done", True)
            before, began = await venue.pulses("north-relay"), time.monotonic()
            await reader.do("tap", uid=venue.guests.tag().value, ms=50)
            await relay.until(lambda s: s["relays"][0]["switched_on"] == before + 1)  # noqa: B023
            assert time.monotonic() - began < SOON_S
            await relay.until(lambda s: not s["relays"][0]["on"])


async def drawer_is_quick(venue: Venue, drawer: str, client: str) -> None:
    began = time.monotonic()
    async with venue.client(client) as tablet:
        answer = await (await tablet.ask(drawer, "open", {"reason": "sale"})).final()
    assert (answer["status"], time.monotonic() - began < 2 * SOON_S) == ("done", True)
    if drawer == "bar-drawer":
        await (await venue.device("bar-printer")).do("drawer", open=False)
        await venue.observer.state("devices/bar-drawer/state", contact="closed")


async def test_i08_an_unplugged_printer_delays_no_gate_and_no_other_drawer(whole: Venue) -> None:
    await (await whole.device("bar-printer")).do("unplug")
    async with whole.client("bar-tablet") as tablet:
        waiting = [await print_text(tablet, "bar-printer", f"Ohne Strom {number}") for number in range(5)]
        await waiting[0].accepted(held="offline")
        await gates_are_quick(whole)
        await drawer_is_quick(whole, "kiosk-drawer", "kiosk-tablet")
        await (await whole.device("bar-printer")).do("plug")
        assert [(await one.final())["status"] for one in waiting] == ["done"] * 5
    paper = await printed(whole, "bar-printer")
    assert [paper.count(f"Ohne Strom {number}") for number in range(5)] == [1] * 5


async def test_i08_a_printer_that_stops_reading_delays_no_gate_and_no_other_drawer(whole: Venue) -> None:
    control = await whole.device("bar-printer")
    await control.do("stall")
    async with whole.client("bar-tablet") as tablet:
        stuck = await print_text(tablet, "bar-printer", *[f"Stau {number}" for number in range(450)])
        await gates_are_quick(whole)
        await drawer_is_quick(whole, "kiosk-drawer", "kiosk-tablet")
        await control.do("stall", on=False)
        assert (await stuck.final())["status"] in {"done", "unknown"}


async def test_i08_a_printer_that_goes_mute_delays_nobody(whole: Venue) -> None:
    control = await whole.device("kiosk-printer")
    await control.do("mute")
    async with whole.client("kiosk-tablet") as tablet:
        asked = await print_text(tablet, "kiosk-printer", "Stumm")
        await gates_are_quick(whole)
        await drawer_is_quick(whole, "bar-drawer", "bar-tablet")
        await control.do("mute", on=False)
        # It could speak before, so its silence is no proof that the receipt came out.
        assert (await asked.final())["status"] in {"done", "unknown"}
    assert (await printed(whole, "kiosk-printer")).count("Stumm") <= 1


async def test_i08_babbling_lines_delay_no_gate_and_admit_nobody(whole: Venue) -> None:
    noise = random.Random(1)
    mark, scanner = whole.observer.mark, await whole.device("south-scanner")
    for _ in range(40):
        await scanner.do("raw", hex=noise.randbytes(1500).hex())
    await gates_are_quick(whole, rounds=5)
    for name in ("bar-printer", "kiosk-printer", "south-board", "north-relay"):
        for _ in range(10):
            await (await whole.device(name)).do("raw", hex=noise.randbytes(1000).hex())
    await gates_are_quick(whole, rounds=5)
    assert not whole.observer.events("entry.granted", since=mark, gate="south")
    await whole.daemon.logged("device_noise", device="south-scanner")


async def test_i08_dead_boards_delay_no_other_gate(whole: Venue) -> None:
    await (await whole.device("south-board")).do("unplug")
    await (await whole.device("south-scanner")).do("unplug")
    await gates_are_quick(whole)
    async with whole.client("entrance") as entrance:
        answer = await (await whole.authenticate(entrance, "south", whole.guests.code())).final()
    assert (answer["status"], answer["reason"]) == ("denied", "gate_unavailable")
