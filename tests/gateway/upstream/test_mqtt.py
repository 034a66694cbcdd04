"""The MQTT sink against a real Mosquitto that is killed, restarted and full of opinions."""

import asyncio
import getpass
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.config.upstream import SinkEntry
from gateway.upstream.making import make_sink
from gateway.upstream.mqtt import MqttSink
from gateway.upstream.sinks import SinkUnavailable
from simulators.authority import Authority
from tests.gateway.mqtt.broker import BrokerProcess
from tests.gateway.store.journals import append
from tests.gateway.upstream.served import fill, journalled, some_rows, venue
from tests.gateway.upstream.waiting import until

TOPIC = "venues/stadthalle/events"


def sink(url: str, **more: Any) -> MqttSink:
    made = make_sink(SinkEntry(url=url, **more), "stadthalle", "books")
    assert isinstance(made, MqttSink)
    return made


class Above:
    """A consumer with a session that outlives its connection; what it has got is in `messages`."""

    def __init__(self, port: int, topic: str = TOPIC) -> None:
        self._port, self._topic = port, topic
        self.messages: list[aiomqtt.Message] = []
        self.subscribed = asyncio.Event()

    async def run(self) -> None:
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", self._port, identifier="above", protocol=aiomqtt.ProtocolVersion.V5,
                    clean_start=False, properties=lasting,
                ) as client:  # fmt: skip
                    await client.subscribe(self._topic, qos=1)
                    self.subscribed.set()
                    async for message in client.messages:
                        self.messages.append(message)
            except aiomqtt.MqttError:
                self.subscribed.clear()
                await asyncio.sleep(0.02)

    def bodies(self) -> list[bytes]:
        """The bytes of `data`, each event once, as they came first."""
        once = {json.loads(one.payload)["id"]: one.payload for one in reversed(self.messages)}
        ordered = sorted(once.values(), key=lambda one: self._first(json.loads(one)["id"]))
        return [one[one.index(b'"data":') + 7 : -1] for one in ordered]

    def _first(self, event_id: str) -> int:
        return next(n for n, one in enumerate(self.messages) if event_id.encode() in one.payload)


def broker_with(listener: str) -> BrokerProcess:
    """A broker with settings of its own; `PORT` stands for its port."""
    made = BrokerProcess("#")
    head = f"user {getpass.getuser()}\npersistence false\nset_tcp_nodelay true\n"
    made.file.write_text(head + listener.replace("PORT", str(made.port)))
    return made


@asynccontextmanager
async def above(broker: BrokerProcess, topic: str = TOPIC) -> AsyncIterator[Above]:
    made = Above(broker.port, topic)
    task = asyncio.get_running_loop().create_task(made.run())
    await made.subscribed.wait()
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def broker() -> AsyncIterator[BrokerProcess]:
    # With a bound to what it keeps for a slow consumer it throws away what it acknowledged.
    open_to_all = "listener PORT 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
    async with broker_with(open_to_all) as started:
        yield started


async def test_i05_each_event_is_a_cloudevent_of_its_own_in_order(tmp_path: Path, broker: BrokerProcess):
    async with venue(tmp_path, 1234) as made, above(broker) as consumer:
        relay = made.begin(sink(f"mqtt://127.0.0.1:{broker.port}"))
        await until(lambda: relay.through_seq == 1234)
        await until(lambda: len(consumer.messages) == 1234)
        assert consumer.bodies() == journalled(tmp_path)
        assert relay.sent_count == 1234
    first = consumer.messages[0]
    assert (first.topic.value, first.qos) == (TOPIC, 1)
    assert first.properties is not None
    assert first.properties.ContentType == "application/cloudevents+json"
    assert json.loads(first.payload)["type"] == "venue.entry.denied"


async def test_i05_a_killed_broker_is_given_everything_that_it_did_not_acknowledge(
    tmp_path: Path, broker: BrokerProcess
):
    async with venue(tmp_path, 6000) as made, above(broker) as consumer:
        relay = made.begin(sink(f"mqtt://127.0.0.1:{broker.port}"))
        await until(lambda: relay.through_seq > 500)
        await broker.kill()
        await until(lambda: relay.why)
        acknowledged = relay.through_seq
        assert acknowledged < 6000
        await fill(made.journal, 200)
        await broker.start()
        await consumer.subscribed.wait()
        relay.try_now()
        await until(lambda: relay.through_seq == 6200)
        # What it had acknowledged and not passed on went down with it: a broker is a transport, not a store.
        rest = journalled(tmp_path)[acknowledged:]
        await until(lambda: consumer.messages[-1].payload.endswith(rest[-1] + b"}"))
        assert consumer.bodies()[-len(rest) :] == rest


async def test_i05_without_a_subscriber_nothing_counts_as_delivered(tmp_path: Path, broker: BrokerProcess):
    async with venue(tmp_path, 40) as made:
        relay = made.begin(sink(f"mqtt://127.0.0.1:{broker.port}"))
        await until(lambda: relay.why)
        assert relay.why.startswith(f"nobody subscribes to {TOPIC} at 127.0.0.1, so events would be lost there;")
        assert relay.through_seq == 0
        async with above(broker) as consumer:
            relay.try_now()
            await until(lambda: relay.through_seq == 40)
            await until(lambda: len(consumer.bodies()) == 40)


async def test_i05_an_event_that_is_too_large_is_set_aside(tmp_path: Path):
    async with (
        broker_with("max_packet_size 6000\nlistener PORT 127.0.0.1\nallow_anonymous true\n") as broker,
        venue(tmp_path, 5) as made,
        above(broker) as consumer,
    ):
        bad = some_rows(6, 1)[0]._replace(body=b'{"kind":"gate.fault","why":"%s"}' % (b"x" * 9000))
        await append(made.journal, bad, *some_rows(7, 5))
        relay = made.begin(sink(f"mqtt://127.0.0.1:{broker.port}"))
        await until(lambda: relay.through_seq == 11)
        assert [one.event_seq for one in made.aside] == [6]
        await until(lambda: len(consumer.bodies()) == 10)


async def test_i05_a_broker_whose_acl_refuses_is_waited_for(tmp_path: Path):
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n")
    opened = f"acl_file {acl}\nlistener PORT 127.0.0.1\nallow_anonymous true\n"
    async with broker_with(opened) as broker, venue(tmp_path / "venue", 20) as made:
        relay = made.begin(sink(f"mqtt://127.0.0.1:{broker.port}"))
        await until(lambda: relay.why)
        assert relay.why == (
            f"127.0.0.1 refuses what is published on {TOPIC} (not authorized); look at its rights and quotas"
        )
        assert made.aside == []
        assert relay.through_seq == 0


async def why(made: MqttSink, folder: Path) -> str:
    async with venue(folder, 3) as source:
        relay = source.begin(made)
        await until(lambda: relay.why)
        return relay.why


async def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path):
    authority = Authority(tmp_path)
    authority.server()
    (tmp_path / "server.key").chmod(0o644)
    passwords, password = tmp_path / "passwords", tmp_path / "password"
    process = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", str(passwords), "hall", "right")
    assert await process.wait() == 0
    tls = f"certfile {tmp_path}/server.crt\nkeyfile {tmp_path}/server.key\n"
    password.write_text("wrong")
    password.chmod(0o600)
    listener = f"password_file {passwords}\nlistener PORT 127.0.0.1\n{tls}"
    assert await why(sink("mqtt://127.0.0.1:9"), tmp_path / "1") == (
        "127.0.0.1:9 cannot be reached (Connect call failed ('127.0.0.1', 9)); check the network"
    )
    async with broker_with(listener) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        login = {"username": "hall", "password_file": str(password), "ca_file": str(authority.file)}
        said = await why(sink(url), tmp_path / "2")
        assert "nobody here knows who signed the certificate of" in said
        assert await why(sink(url, **login), tmp_path / "3") == (
            f"127.0.0.1: the broker refuses the login; look at {password}"
        )
        password.write_text("right")
        assert "nobody subscribes" in await why(sink(url, **login), tmp_path / "4")
        password.chmod(0o644)
        assert f"chmod 600 {password}" in await why(sink(url, **login), tmp_path / "5")


async def test_a_venue_can_show_a_certificate_of_its_own(tmp_path: Path):
    authority = Authority(tmp_path)
    authority.server()
    for name in ("server.crt", "server.key"):
        (tmp_path / name).rename(tmp_path / f"broker-{name}")
    (tmp_path / "broker-server.key").chmod(0o644)
    authority.server()
    tls = f"certfile {tmp_path}/broker-server.crt\nkeyfile {tmp_path}/broker-server.key\ncafile {authority.file}\n"
    listener = f"listener PORT 127.0.0.1\n{tls}require_certificate true\nallow_anonymous true\n"
    own = {"certificate_file": str(tmp_path / "server.crt"), "key_file": str(tmp_path / "server.key")}
    async with broker_with(listener) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        assert "nobody subscribes" in await why(sink(url, ca_file=str(authority.file), **own), tmp_path / "1")
        assert await why(sink(url, ca_file=str(authority.file)), tmp_path / "2") != ""


async def test_what_is_not_mqtt_5_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.upstream.mqtt.CONNECT_S", 0.3)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with server, venue(tmp_path, 3) as made:
        pack = await made.outbox.pack(0)
        assert pack is not None
        with pytest.raises(SinkUnavailable, match="does not speak MQTT 5"):
            await sink(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}").deliver(pack)
