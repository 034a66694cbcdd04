"""Events of a whole venue at a second Mosquitto that is killed and comes back, by the real daemon."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bulletin import poll
from tests.e2e.settings import VENUE_ID
from tests.e2e.test_upstream import journal
from tests.e2e.venue import Venue
from tests.gateway.upstream.test_mqtt import Above, above, broker_with

pytestmark = pytest.mark.asyncio(loop_scope="module")
SINK = "rules"
OPEN = "listener PORT 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"


def in_order(consumer: Above) -> list[bytes]:
    """What came, each event where it came first."""
    once = {json.loads(one.payload)["id"]: one.payload for one in reversed(consumer.messages)}
    return [payload[payload.index(b'"data":') + 7 : -1] for payload in reversed(once.values())]


async def level(venue: Venue, consumer: Above) -> None:
    async def equal() -> bool:
        return in_order(consumer) == journal(venue)

    await poll(equal, "the consumer has the whole journal, in its order and byte for byte")


async def test_i05_a_remote_broker_is_killed_and_nothing_is_skipped_or_out_of_order(
    start_venue: Callable[..., Awaitable[Venue]], tmp_path: Path
) -> None:
    def change(settings: dict[str, Any]) -> None:
        sink = {"url": f"mqtt://127.0.0.1:{remote.port}"}
        nowhere = "http://127.0.0.1:9/"
        settings["upstream"] = {"url": nowhere, "directory": False, "events": False, "sinks": {SINK: sink}}

    async def tapped(times: int) -> None:
        for _ in range(times):
            guest, mark = venue.guests.tag(), venue.observer.mark
            await reader.do("tap", uid=guest.value)
            await venue.observer.event("entry.granted", since=mark, holder=guest.holder)

    async with broker_with(OPEN) as remote, above(remote, f"venues/{VENUE_ID}/events") as consumer:
        venue = await start_venue(("north",), change=change)
        reader = await venue.device("north-reader")
        await tapped(2)
        await level(venue, consumer)

        # The broker is away: guests notice nothing, and what happens waits.
        await remote.kill()
        await tapped(3)
        await venue.daemon.logged("upstream_unavailable", sink=SINK)
        await remote.start()
        await consumer.subscribed.wait()
        await level(venue, consumer)

        # Both go, the daemon without a word.
        await remote.kill()
        await tapped(1)
        await venue.daemon.kill()
        await remote.start()
        await consumer.subscribed.wait()
        await venue.start_daemon()
        await tapped(1)
        await level(venue, consumer)
        assert all(json.loads(one.payload)["source"].startswith(f"/venues/{VENUE_ID}/") for one in consumer.messages)
