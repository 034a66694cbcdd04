"""The whole way: the directory comes down, guests tap, every event goes up, and upstream is away in between."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from simulators.upstream_directory import digest
from tests.e2e.bulletin import poll
from tests.e2e.settings import VENUE_ID
from tests.e2e.venue import Venue
from tests.gateway.upstream.nats_server import Consumer, NatsServer
from tests.gateway.upstream.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACTS_WITHIN_S = 1.0


@pytest_asyncio.fixture(loop_scope="module")
async def upstream(tmp_path: Path) -> AsyncIterator[Served]:
    (tmp_path / "token").write_text("s3cret-token")
    (tmp_path / "token").chmod(0o600)
    async with Served(tmp_path / "upstream", "--token-file", tmp_path / "token") as served:
        yield served


def connected(upstream: Served, **more: Any) -> Callable[[dict[str, Any]], None]:
    def change(settings: dict[str, Any]) -> None:
        token = str(upstream.folder.parent / "token")
        settings["upstream"] = {"url": upstream.url, "token_file": token, **more}

    return change


def journal(venue: Venue) -> list[bytes]:
    database = sqlite3.connect(f"file:{venue.state_dir}/journal.db?mode=ro", uri=True)
    try:
        return [body for (body,) in database.execute("SELECT body FROM journal ORDER BY seq")]
    finally:
        database.close()


async def level(venue: Venue, upstream: Served) -> None:
    async def equal() -> bool:
        return upstream.received_bodies() == journal(venue)

    await poll(equal, "upstream has the whole journal, byte for byte")


@pytest.mark.timed
async def test_i05_directory_down_events_up_and_an_outage_in_between(
    start_venue: Callable[..., Awaitable[Venue]], upstream: Served
) -> None:
    venue = await start_venue(("north",), change=connected(upstream), start=("broker", "daemon"))
    rows = [json.loads(line) for line in venue.guests.rows()]
    await upstream.tell("directory", rows)
    await venue.observer.event("directory.loaded", since=0)
    guest, blocked = venue.guests.tag(uses=None), venue.guests.tag(uses=None)
    reader = await venue.device("north-reader")

    mark = venue.observer.mark
    await reader.do("tap", uid=guest.value)
    await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
    await level(venue, upstream)

    row = {"type": "credential", "holder": blocked.holder, **blocked.credential, "state": "blocked"}
    mark = venue.observer.mark
    await upstream.tell("changes", [{"op": "put", "row": row}])
    await venue.observer.event("directory.changed", since=mark, wait_s=ACTS_WITHIN_S)
    await reader.do("tap", uid=blocked.value)
    denied = await venue.observer.event("entry.denied", since=mark)
    assert denied["reason"] == "blocked"

    await upstream.kill()
    mark = venue.observer.mark
    for _ in range(3):
        await reader.do("tap", uid=venue.guests.stranger().value)
        await venue.observer.event("entry.denied", since=mark, reason="unknown_credential")
    await venue.daemon.logged("upstream_unavailable", sink="main")
    await venue.daemon.kill()
    await upstream.start()
    # The restarted upstream knows no directory: what came before stays in force.
    await venue.start_daemon()
    await level(venue, upstream)
    mark = venue.observer.mark
    await reader.do("tap", uid=blocked.value)
    assert (await venue.observer.event("entry.denied", since=mark, gate="north"))["reason"] == "blocked"


async def test_a_wrong_token_is_said_in_state_and_log_and_nothing_else_suffers(
    start_venue: Callable[..., Awaitable[Venue]], upstream: Served
) -> None:
    (upstream.folder.parent / "token").write_text("another")
    venue = await start_venue(("north",), change=connected(upstream, directory=False))
    line = await venue.daemon.logged("upstream_unavailable", sink="main")
    assert "refuses the login (401)" in line["why"]
    guest, mark = venue.guests.tag(), venue.observer.mark
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
    (upstream.folder.parent / "token").write_text("s3cret-token")
    await level(venue, upstream)


async def test_a_guest_who_comes_in_brings_a_part_of_their_wallet(
    start_venue: Callable[..., Awaitable[Venue]], upstream: Served
) -> None:
    def change(settings: dict[str, Any]) -> None:
        connected(upstream, directory=False)(settings)
        settings["wallet"] = {"authority": "upstream", "allowances": {"ask_minor": 3000, "low_minor": 500}}

    venue = await start_venue(("north",), change=change)
    guest, mark = venue.guests.tag(), venue.observer.mark
    await upstream.tell("wallets", {guest.holder: 2000})
    await venue.daemon.logged("allowances_connected")
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    moved = await venue.observer.event("wallet.transferred", since=mark, holder=guest.holder)
    assert moved["balances"][f"wallet:{guest.holder}"] == 2000
    assert (await venue.observer.event("allowance.changed", since=0, holder=guest.holder))["allowance"]["version"] == 1
    await level(venue, upstream)


@pytest.mark.timed
async def test_i05_events_go_to_jetstream_and_mqtt_and_changes_come_by_a_stream(
    start_venue: Callable[..., Awaitable[Venue]], upstream: Served, tmp_path: Path
) -> None:
    """A venue whose events go nowhere else, with everything that the YAML can say of it."""
    async with NatsServer(tmp_path / "nats") as server, Consumer([server.url]) as above:
        await above.js.add_stream(name="EVENTS", subjects=["venues.*.events"])
        await above.js.add_stream(name="DIRECTORY", subjects=["venues.*.directory"])
        more = {"events": False, "sinks": {"fleet": {"url": server.url}}, "directory_stream": {"url": server.url}}
        venue = await start_venue(("north",), change=connected(upstream, **more), start=("broker", "daemon"))
        await upstream.tell("directory", [json.loads(line) for line in venue.guests.rows()])
        await venue.observer.event("directory.loaded", since=0)
        guest, blocked = venue.guests.tag(uses=None), venue.guests.tag(uses=None)
        row = {"type": "credential", "holder": blocked.holder, **blocked.credential, "state": "blocked"}
        body = json.dumps({"after": 1, "cursor": 2, "changes": [{"op": "put", "row": row}]}).encode()
        mark = venue.observer.mark
        subject = f"venues.{VENUE_ID}.directory"
        await above.js.publish(subject, body, headers={"Content-Digest": digest(body)})
        await venue.observer.event("directory.changed", since=mark, wait_s=ACTS_WITHIN_S)
        reader = await venue.device("north-reader")
        await reader.do("tap", uid=blocked.value)
        assert (await venue.observer.event("entry.denied", since=mark))["reason"] == "blocked"
        await reader.do("tap", uid=guest.value)
        await venue.observer.event("entry.granted", since=mark, holder=guest.holder)

        async def equal() -> bool:
            messages = await above.messages()
            events = [one for message in messages for one in json.loads(gzip.decompress(message.data))]
            return [one["data"] for one in events] == [json.loads(row) for row in journal(venue)]

        await poll(equal, "the stream has the whole journal, in its order and once")
        assert upstream.received() == []
