"""The JetStream sink against a real nats-server that is killed, restarted and robbed of its data."""

import asyncio
import gzip
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import RetentionPolicy, StorageType

from gateway.config.upstream import SinkEntry
from gateway.upstream.making import make_sink
from gateway.upstream.sinks import Sink, SinkUnavailable, Taken
from tests.gateway.store.journals import append
from tests.gateway.upstream.nats_server import Consumer, NatsServer
from tests.gateway.upstream.served import fill, journalled, ready_folder, some_rows, venue
from tests.gateway.upstream.waiting import until

SUBJECT = "venues.stadthalle.events"


def sink(url: str, **more: Any) -> Sink:
    return make_sink(SinkEntry(url=url, **more), "stadthalle", "bus")


async def stream(server: NatsServer, **more: Any) -> None:
    async with Consumer([server.url]) as above:
        await above.js.add_stream(name="EVENTS", subjects=["venues.*.events"], **more)


async def stored(server: NatsServer) -> list[bytes]:
    """The bytes of `data` of every event in the stream, in its order."""
    async with Consumer([server.url]) as above:
        bodies = [gzip.decompress(one.data) for one in await above.messages()]
    return [part for body in bodies for part in data_of(body)]


def data_of(body: bytes) -> list[bytes]:
    return [
        part[part.index(b'"data":') + 7 : -1] for part in body[1:-1].replace(b'},{"specv', b'}\0{"specv').split(b"\0")
    ]


async def test_i05_killed_servers_lose_nothing_repeat_nothing_and_keep_the_order(tmp_path: Path):
    async with venue(tmp_path / "venue", 8000) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url))
        for goal in (1500, 4000):
            await until(lambda goal=goal: relay.through_seq > goal)
            await server.kill()
            await until(lambda: relay.why)
            await server.start()
            relay.try_now()
        await fill(made.journal, 500)
        relay.news()
        await until(lambda: relay.through_seq == 8500)
        assert await stored(server) == journalled(tmp_path / "venue")


async def test_i05_a_message_is_the_batch_that_https_takes_and_names_what_it_follows(tmp_path: Path):
    async with venue(tmp_path / "venue", 30) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url))
        await until(lambda: relay.through_seq == 30)
        async with Consumer([server.url]) as above:
            message = (await above.messages())[0]
    events = json.loads(gzip.decompress(message.data))
    assert [int(event["sequence"]) for event in events] == list(range(1, 31))
    assert message.headers == {
        "Content-Type": "application/cloudevents-batch+json",
        "Content-Encoding": "gzip",
        "Venue-Source": events[0]["source"],
        "Venue-After": "0",
        "Venue-Through": "30",
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Expected-Stream": "EVENTS",
        "Nats-Msg-Id": events[-1]["id"],
    }


async def test_i05_after_a_restart_with_an_old_cursor_nothing_comes_twice(tmp_path: Path):
    async with NatsServer(tmp_path / "nats") as server:
        # No memory of ids helps here: what is in the stream itself says how far it goes.
        await stream(server, duplicate_window=0.1)
        async with venue(tmp_path / "venue", 700) as made:
            relay = made.begin(sink(server.url))
            await until(lambda: relay.through_seq == 700)
            await made.end()
            await fill(made.journal, 20)
            made.journal.set_cursor("upstream:main", 333)
            again = made.begin(sink(server.url))
            await until(lambda: again.through_seq == 720)
            assert again.sent_count <= 720 - 333
        assert await stored(server) == journalled(tmp_path / "venue")


async def test_i05_a_server_that_lost_its_data_gets_it_again(tmp_path: Path):
    async with venue(tmp_path / "venue", 900) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url, keep_after_ack_s=300))
        await until(lambda: relay.through_seq == 900)
        assert relay.done_seq == 0
        async with Consumer([server.url]) as above:
            # As after a power cut: the newest messages are gone, the older ones are there.
            for seq in range((await above.js.stream_info("EVENTS")).state.last_seq, 2, -1):
                await above.js.delete_msg("EVENTS", seq)
        await server.kill()
        await until(lambda: not relay.sink._bus.connected)
        await server.start()
        await append(made.journal, *some_rows(901, 1))
        relay.news()
        relay.try_now()
        await until(lambda: relay.through_seq == 901)
        assert await stored(server) == journalled(tmp_path / "venue")
        # And all of it.
        await server.kill()
        shutil.rmtree(tmp_path / "nats" / "n1")
        await until(lambda: not relay.sink._bus.connected)
        await server.start()
        await stream(server)
        await append(made.journal, *some_rows(902, 1))
        relay.news()
        relay.try_now()
        await until(lambda: relay.through_seq == 902)
        assert await stored(server) == journalled(tmp_path / "venue")


async def test_i05_what_expired_in_the_stream_is_not_sent_again(tmp_path: Path):
    async with venue(tmp_path / "venue", 60) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url))
        await until(lambda: relay.through_seq == 60)
        async with Consumer([server.url]) as above:
            await above.js.purge_stream("EVENTS")
            await append(made.journal, *some_rows(61, 1))
            relay.news()
            await until(lambda: relay.through_seq == 61)
            assert len(await above.messages()) == 1
            await above.js.purge_stream("EVENTS")
        await made.end()
        await append(made.journal, *some_rows(62, 1))
        relay = made.begin(sink(server.url))
        await until(lambda: relay.through_seq == 62)
        assert relay.sent_count == 1


async def test_i05_an_event_that_is_too_large_is_set_aside(tmp_path: Path):
    async with venue(tmp_path / "venue", 5) as made, NatsServer(tmp_path / "nats", "max_payload: 4096") as server:
        await stream(server)
        noise = bytes(33 + (n * n * 7919 + n * 31) % 57 for n in range(9000)).replace(b"\\", b"!").decode()
        bad = some_rows(6, 1)[0]._replace(body=json.dumps({"kind": "gate.fault", "why": noise}).encode())
        await append(made.journal, bad, *some_rows(7, 400))
        relay = made.begin(sink(server.url))
        await until(lambda: relay.through_seq == 406)
        aside = {one.event_seq for one in made.aside}
        assert aside <= {6}
        kept = [body for seq, body in enumerate(journalled(tmp_path / "venue"), 1) if seq not in aside]
        assert await stored(server) == kept


async def test_a_server_that_hangs_is_noticed_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.upstream.bus.ANSWER_S", 0.5)
    async with venue(tmp_path / "venue", 300) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url))
        await until(lambda: relay.through_seq == 300)
        server.signal(signal.SIGSTOP)
        await append(made.journal, *some_rows(301, 2))
        relay.news()
        await until(lambda: "does not answer in time" in relay.why)
        server.signal(signal.SIGCONT)
        relay.try_now()
        await until(lambda: relay.through_seq == 302)
        assert await stored(server) == journalled(tmp_path / "venue")


async def why(sink: Sink, folder: Path) -> str:
    async with venue(folder, 3) as made:
        pack = await made.outbox.pack(0)
        assert pack is not None
        try:
            with pytest.raises(SinkUnavailable) as refused:
                await sink.deliver(pack)
        finally:
            await sink.close()
        return str(refused.value)


async def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path):
    login = "authorization {users: [{user: hall, password: pw, permissions: {publish: {deny: '$JS.API.>'}}}]}"
    password = tmp_path / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    assert "cannot be reached (Connect" in await why(sink("nats://127.0.0.1:9"), tmp_path / "1")
    async with NatsServer(tmp_path / "nats", login) as server:
        assert f"refuses the login; look at {password}" in await why(
            sink(server.url, username="hall", password_file=str(password)), tmp_path / "2"
        )
        assert "refuses the login; look at `credentials_file`" in await why(sink(server.url), tmp_path / "3")
        password.write_text("pw")
        said = await why(sink(server.url, username="hall", password_file=str(password)), tmp_path / "4")
        assert "have the user's permissions corrected" in said
    async with NatsServer(tmp_path / "open") as server:
        assert "no stream at" in (said := await why(sink(server.url), tmp_path / "5"))
        assert f"takes {SUBJECT}; make one there" in said
        await stream(server, retention=RetentionPolicy.WORK_QUEUE)
        assert "give it retention by limits" in await why(sink(server.url), tmp_path / "6")
        async with Consumer([server.url]) as above:
            await above.js.delete_stream("EVENTS")
            await above.js.add_stream(
                name="EVENTS", subjects=["venues.*.events"], storage=StorageType.MEMORY, max_msg_size=10
            )
        assert "look at the stream's limits" in await why(sink(server.url), tmp_path / "7")


async def test_without_jetstream_it_says_so(tmp_path: Path):
    server = NatsServer(ready_folder(tmp_path / "nats"))
    server._file.write_text(f"host: 127.0.0.1\nport: {server.port}\n")
    async with server:
        assert "JetStream is off" in await why(sink(server.url), tmp_path / "venue")


async def test_the_next_server_of_a_cluster_is_tried(tmp_path: Path):
    async with venue(tmp_path / "venue", 10) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        pack = await made.outbox.pack(0)
        assert pack is not None
        several = sink(f"nats://127.0.0.1:9,127.0.0.1:{server.port}")
        assert await several.deliver(pack) == Taken()
        await several.close()
        assert asyncio.all_tasks() - {asyncio.current_task()} == set() or nats is not None
