"""Three real nats-servers as one JetStream, and many venues: a server killed mid-load loses and repeats nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time
from pathlib import Path

import nats
import pytest

from gateway.upstream import bus, stream
from simulators.upstream_directory import digest
from tests.gateway.upstream.fleet import SmallVenue
from tests.gateway.upstream.nats_server import Consumer, NatsServer, cluster
from tests.gateway.upstream.waiting import until
from tests.length import PROVING, length

VENUES = length(short=12, full=1000)
EVENTS = length(short=300, full=400)
LATE_EVENTS = 100
CHANGES = length(short=3, full=5)
WAIT_S = length(short=60.0, full=900.0)
ASK_S = length(short=1.0, full=3.0)
"""As long as nobody leads, what is asked is lost and not answered."""


async def publish(above: Consumer, venue: str, cursor: int) -> None:
    """Publish a change as often as it takes; its id makes the stream take it once."""
    body = json.dumps({"after": cursor - 1, "cursor": cursor, "changes": []}).encode()
    headers = {"Content-Digest": digest(body), "Nats-Msg-Id": f"{venue}-{cursor}"}
    while True:
        try:
            await above.js.publish(f"venues.{venue}.directory", body, headers=headers, timeout=ASK_S)
            return
        except nats.errors.Error:
            await asyncio.sleep(0.1)


async def made_streams(above: Consumer) -> None:
    asking = above.asking(ASK_S)
    async with asyncio.timeout(30):
        for name, subject in (("EVENTS", "venues.*.events"), ("DIRECTORY", "venues.*.directory")):
            while True:
                try:
                    await asking.add_stream(name=name, subjects=[subject], num_replicas=3)
                    break
                except nats.errors.Error:
                    # The servers are still choosing who leads.
                    await asyncio.sleep(0.1)


async def leader(above: Consumer, servers: list[NatsServer]) -> NatsServer:
    info = await above.js.stream_info("EVENTS")
    return next(server for server in servers if server.name == info.cluster.leader)


@pytest.mark.timeout(length(short=120, full=1800))
async def test_i05_a_server_killed_mid_load_loses_nothing_and_repeats_nothing(
    tmp_path: Path, record_property, monkeypatch: pytest.MonkeyPatch
):
    # What died with a server is waited for in vain, and that is most of the time this takes.
    for where, name in ((bus, "ANSWER_S"), (stream, "WAIT_S"), (stream, "ACK_S")):
        monkeypatch.setattr(where, name, getattr(where, name) if PROVING else 2.0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    servers = cluster(tmp_path / "nats")
    await asyncio.gather(*(server.start() for server in servers))
    urls = [server.url for server in servers]
    venues = [SmallVenue(tmp_path, number, "nats://" + ",".join(url[7:] for url in urls)) for number in range(VENUES)]
    try:
        async with Consumer(urls) as above:
            await made_streams(above)
            began_s = time.monotonic()
            for venue in venues:
                venue.journal.add(EVENTS)
                venue.begin()
            for cursor in range(2, 2 + CHANGES):
                await asyncio.gather(*(publish(above, venue.name, cursor) for venue in venues[: VENUES // 2]))
            all_events = VENUES * EVENTS
            await until(lambda: sum(one.relay.through_seq for one in venues) > all_events / 4, WAIT_S)
            killed = await leader(above, servers)
            await killed.kill()
            assert sum(one.relay.through_seq for one in venues) < VENUES * (EVENTS + LATE_EVENTS), "there was no load"
            for venue in venues:
                venue.journal.add(LATE_EVENTS)
                venue.relay.news()
            late = [publish(above, one.name, cursor) for one in venues[VENUES // 2 :] for cursor in (2,)]
            await asyncio.gather(*late)
            await killed.start()
            for cursor in range(3, 2 + CHANGES):
                await asyncio.gather(*(publish(above, one.name, cursor) for one in venues[VENUES // 2 :]))
            await until(lambda: all(one.relay.behind == 0 for one in venues), WAIT_S)
            await until(lambda: all(one.cursors[-1] == 1 + CHANGES for one in venues), WAIT_S)
            took_s = time.monotonic() - began_s
            messages = await above.messages()
        received: dict[str, list[tuple[str, bytes]]] = {}
        for message in messages:
            for event in json.loads(gzip.decompress(message.data)):
                venue_name = event["source"].split("/")[2]
                received.setdefault(venue_name, []).append((event["id"], json.dumps(event["data"]).encode()))
        count = sum(map(len, received.values()))
        record_property(
            "cluster", f"{count} events, {len(messages)} messages, {VENUES * CHANGES} changes, {took_s:.1f} s"
        )
        assert count == VENUES * (EVENTS + LATE_EVENTS)
        for venue in venues:
            found = received[venue.name]
            assert len({event_id for event_id, _ in found}) == len(found)
            assert [body for _, body in found] == venue.journal.bodies
            assert venue.cursors == list(range(1, 2 + CHANGES))
            assert venue.aside == []
    finally:
        await asyncio.gather(*(one.end() for one in venues))
        await asyncio.gather(*(server.kill() for server in servers))
