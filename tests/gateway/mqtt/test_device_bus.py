"""Relays that speak MQTT, over a real broker with the generated ACL."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import aiomqtt
import pytest

from drivers.api import DeviceOffline, Online
from drivers.gates.shelly import ShellyOptions, ShellyRelay
from drivers.gates.tasmota import TasmotaOptions
from gateway.config.schema import Broker, Client, Configuration, Device, Venue
from gateway.mqtt.broker_files import Listener, broker_acl, write_broker_files
from gateway.mqtt.device_bus import COMMAND_EXPIRY_S, DeviceBus
from tests.drivers.mqtt_devices import Gen2
from tests.drivers.pty_device import Events, running, until
from tests.gateway.mqtt.broker import BrokerProcess, client, next_message

OPTIONS = ShellyOptions(topic="shellyplus1-a8032abe54dc")


def configuration(state_dir: Path, broker: BrokerProcess) -> Configuration:
    return Configuration(
        venue=Venue("hall", "Europe/Berlin", "EUR"),
        broker=Broker(f"unix://{broker.socket}"),
        state_dir=state_dir,
        devices={"north-shelly": Device("north-shelly", "shelly", OPTIONS, "1")},
        clients={"bar": Client("bar", {"north": frozenset({"status"})})},
    )


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    broker = BrokerProcess()
    configured = configuration(tmp_path, broker)
    listener = Listener(port=broker.port, host="127.0.0.1")
    files = write_broker_files(configured, broker.directory, listener=listener, user=getpass.getuser())
    broker.file = files.configuration
    async with broker:
        yield broker


def password(tmp_path: Path, name: str) -> str:
    return (tmp_path / "clients" / f"{name}.password").read_text().strip()


@contextlib.asynccontextmanager
async def attached(broker: BrokerProcess, secret: str, device: Gen2) -> AsyncIterator[list[aiomqtt.Message]]:
    """Connect a simulated Shelly as its own user, and keep what it is told."""
    heard: list[aiomqtt.Message] = []
    async with client(broker, username="north-shelly", password=secret) as link:
        sending: set[asyncio.Task[None]] = set()

        def publish(topic: str, payload: bytes, retain: bool) -> None:
            task = asyncio.create_task(link.publish(topic, payload, qos=1, retain=retain))
            sending.add(task)
            task.add_done_callback(sending.discard)

        async def listen() -> None:
            async for message in link.messages:
                heard.append(message)
                device.hear(str(message.topic), bytes(message.payload))

        device.publish = publish
        await link.subscribe(f"{device.name}/rpc", qos=1)
        listening = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await asyncio.gather(*sending, return_exceptions=True)


def bus(broker: BrokerProcess) -> DeviceBus:
    return DeviceBus(Broker(f"unix://{broker.socket}"), "test", asyncio.create_task, Random(1))


async def test_i06_a_shelly_is_commanded_by_the_venues_broker_and_never_by_a_retained_message(guarded, tmp_path):
    events, device = Events(), Gen2(OPTIONS.topic)
    async with attached(guarded, password(tmp_path, "north-shelly"), device) as heard:
        driver = ShellyRelay(OPTIONS, events, bus(guarded))
        async with running(driver, events):
            await driver.pulse(1, 100)
            assert device.pulses == [100]
            await until(lambda: not device.closed)
        assert heard
        assert not any(message.retain for message in heard)
        assert all(message.qos == 1 for message in heard)
        assert all(message.properties.MessageExpiryInterval <= COMMAND_EXPIRY_S for message in heard)
    async with client(guarded, username="bar", password=password(tmp_path, "bar")) as tablet:
        await tablet.subscribe(f"{OPTIONS.topic}/#", qos=1)
        await tablet.publish(f"{OPTIONS.topic}/rpc", b"{}", qos=1, retain=True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await next_message(tablet)


async def test_a_shelly_that_leaves_and_comes_back_is_noticed(guarded, tmp_path):
    events, device = Events(), Gen2(OPTIONS.topic)
    secret = password(tmp_path, "north-shelly")
    driver = ShellyRelay(OPTIONS, events, bus(guarded))
    async with attached(guarded, secret, device):
        task = asyncio.create_task(driver.run())
        await events.wait_for(Online)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(DeviceOffline, match="says nothing"):
        await task
    assert asyncio.get_running_loop().time() - began_s < 2.5
    async with attached(guarded, secret, device), running(driver, events):
        await driver.pulse(1, 100)


async def test_a_broker_that_is_not_there_is_told_in_words(tmp_path):
    events = Events()
    lost = DeviceBus(Broker(f"unix://{tmp_path}/none.sock"), "test", asyncio.create_task, Random(1))
    with pytest.raises(DeviceOffline, match="the broker cannot be reached: there is no socket"):
        await ShellyRelay(OPTIONS, events, lost).run()


def test_a_gateway_that_comes_by_tcp_may_reach_its_relays(tmp_path):
    configured = Configuration(
        venue=Venue("hall", "Europe/Berlin", "EUR"),
        broker=Broker("mqtt://127.0.0.1", username="gw"),
        state_dir=tmp_path,
        devices={"door": Device("door", "tasmota", TasmotaOptions(topic="door"), "1")},
    )
    acl = broker_acl(configured)
    assert "user door\ntopic read cmnd/door/#\ntopic write stat/door/#\ntopic write tele/door/#" in acl
    assert "user gw\ntopic readwrite venue/hall/#\ntopic write cmnd/door/#\ntopic read stat/door/#" in acl
