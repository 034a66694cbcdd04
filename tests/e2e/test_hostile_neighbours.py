"""I8, I9: whoever else is on the broker or on a cable, a guest at a wired reader is let in as soon as ever.

`make prove` holds the p99 of the best of three rounds to 20 ms and reports it. In `make test`, beside other tests on
two cores, every tap is served, and half of them within a bound that only a gateway breaks which stands still.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.guests import Guests
from tests.e2e.neighbours import Meter, Neighbour, p99_ms, together
from tests.e2e.settings import BASE
from tests.e2e.venue import Venue
from tests.length import PROVING, length

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600), pytest.mark.timed]

LIMIT_MS = length(150.0, 20.0)
TAPS = length(60, 800)
ROUNDS = length(1, 3)
PAUSE_MS = length(10, 20)
FLOOD_PER_S = 10_000
CROWD = 500
RETAINED = length(20_000, 1_000_000)
RETAINED_REQUESTS = length(2_000, 50_000)


class Town:
    """A venue with a wired gate that is measured, and a scanner that babbles."""

    def __init__(self, venue: Venue, meter: Meter) -> None:
        self.venue = venue
        self.meter = meter

    def login(self, name: str) -> dict[str, object]:
        """How one of the venue's own clients reaches the broker."""
        password = (self.venue.state_dir / "clients" / f"{name}.password").read_text().strip()
        return {"port": self.venue.broker.port, "name": name, "password": password}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    venue_guests = Guests(120)
    tags = [venue_guests.tag(uses=None).value for _ in range(100)]
    async with AsyncExitStack() as stack:
        meter = await stack.enter_async_context(Meter(tags, PAUSE_MS))
        babbler = await stack.enter_async_context(Neighbour("babble"))

        def change(settings: dict[str, Any]) -> None:
            reader, relay = meter.ports
            settings["devices"] |= {
                "meter-reader": {"driver": "rdm6300", "port": reader},
                "meter-relay": {"driver": "lcus", "port": relay},
                "babbler": {"driver": "serial-scanner", "port": babbler.told[0]},
            }
            settings["gates"]["meter"] = {
                "to": "hall", "readers": ["meter-reader"], "lock": "meter-relay.1", "pulse_ms": 500,
                "anti_passback": "off",
            }  # fmt: skip

        venue = Venue(("north",), change=change, start=("directory",))
        await stack.enter_async_context(venue)
        stack.callback(venue.remove)
        await venue.broker.start()
        await venue.start_daemon()
        await venue.daemon.logged("mqtt.connected")
        await venue.daemon.logged("device_status", device="meter-relay", status="online")
        yield Town(venue, meter)
        assert not venue.problems(stored=True)


Neighbours = Callable[[Town], list[Neighbour]]


def flooding(town: Town) -> list[Neighbour]:
    topic = f"{BASE}/clients/entrance/requests/vip/authenticate"
    return [Neighbour("flood", **town.login("entrance"), topic=topic, per_s=FLOOD_PER_S)]


def bursting(town: Town) -> list[Neighbour]:
    topic = f"{BASE}/clients/entrance/requests/vip/authenticate"
    return [Neighbour("flood", **town.login("entrance"), topic=topic, per_s=FLOOD_PER_S, turn_s=0.5)]


def deaf(town: Town) -> list[Neighbour]:
    topics = f"{BASE}/events,{BASE}/clients/screens/#,{BASE}/gateway/+,{BASE}/devices/+/state"
    return [Neighbour("deaf", **town.login("screens"), topics=topics) for _ in range(3)]


def crowding(town: Town) -> list[Neighbour]:
    return [Neighbour("crowd", **town.login("screens"), count=CROWD)]


def hoarding(town: Town) -> list[Neighbour]:
    socket = town.venue.broker.socket
    requests = f"{BASE}/clients/entrance/requests/vip/hoardN"
    return [
        Neighbour("retain", unix=socket, prefix="elsewhere/N", count=RETAINED),
        Neighbour("retain", unix=socket, prefix=requests, count=RETAINED_REQUESTS),
    ]


def everybody(town: Town) -> list[Neighbour]:
    return [*flooding(town), *deaf(town), *crowding(town)]


WHO = (flooding, deaf, crowding, hoarding, everybody, *length((), (bursting,)))


@pytest.mark.parametrize("who", WHO)
async def test_i08_neighbours_do_not_slow_a_wired_gate(town: Town, who: Neighbours, record_property: Any) -> None:
    """The device that babbles at full baud does so all the time."""
    pid = town.venue.daemon.pid
    alone_ms = p99_ms(await town.meter.taps(TAPS))
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(together(*who(town)))
        if who is hoarding:
            stack.push_async_callback(sweep_out, town.venue)
        # Somebody else may have had the machine for a moment: of a few rounds the best one is the gateway's own.
        rounds = [await town.meter.taps(TAPS) for _ in range(ROUNDS)]
        told = [one.told[-1] for one in there]
    times_ms = min(rounds, key=p99_ms)
    middle_ms = times_ms[len(times_ms) // 2]
    result = f"{who.__name__}: p50 {middle_ms:.1f} ms, p99 {p99_ms(times_ms):.1f} ms, alone {alone_ms:.1f} ms; {told}"
    record_property("p99", result)
    print(result)
    assert length(middle_ms, p99_ms(times_ms)) <= LIMIT_MS, result
    assert town.venue.daemon.pid == pid
    assert town.venue.daemon.running


async def sweep_out(venue: Venue) -> None:
    """A broker that starts anew retains nothing: it keeps nothing on disk."""
    mark = venue.daemon.mark
    await venue.broker.kill()
    await venue.broker.start()
    await venue.daemon.logged("mqtt.connected", since=mark, wait_s=30)


async def test_i08_after_it_all_a_client_is_served_as_before(town: Town) -> None:
    async with town.venue.client("entrance") as entrance:
        answer = await (await town.venue.authenticate(entrance, "vip", town.venue.guests.code())).final(20)
        assert answer["status"] == "done"
    assert not PROVING or not town.venue.daemon.bugs()
