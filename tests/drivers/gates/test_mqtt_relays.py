"""Shelly and Tasmota drivers against hand-written devices; `tests/gateway/mqtt/test_device_bus.py` has the broker."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from drivers.api import (
    BrokerUser,
    Contacts,
    DeviceFault,
    DeviceOffline,
    DeviceTimeout,
    Driver,
    InputChanged,
    Lock,
    Noise,
    Online,
)
from drivers.gates import mqtt_relay
from drivers.gates.shelly import ShellyOptions, ShellyRelay
from drivers.gates.tasmota import TasmotaOptions, TasmotaRelay
from tests.drivers.mqtt_devices import FakeBus, Gen1, Gen2, Sonoff
from tests.drivers.pty_device import Events, running, until

GEN2 = ShellyOptions(topic="door", inputs=1, relays=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_relay, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(mqtt_relay, "SILENT_MAX_S", 0.15)
    monkeypatch.setattr(mqtt_relay, "FIRST_WORD_S", 0.2)
    monkeypatch.setattr(mqtt_relay, "CONFIRM_TIMEOUT_S", 0.1)


def made(kind: type, bus: FakeBus, events: Events):
    if kind is Gen1:
        return ShellyRelay(ShellyOptions(topic="door", generation=1, inputs=1), events, bus)
    return ShellyRelay(GEN2, events, bus) if kind is Gen2 else TasmotaRelay(TasmotaOptions(topic="door"), events, bus)


@pytest.mark.parametrize("kind", [Gen1, Gen2, Sonoff])
async def test_a_pulse_is_confirmed_by_the_device_and_ends(kind):
    bus, events = FakeBus(), Events()
    device = bus.attach(kind("door"))
    device.closed = True
    driver = made(kind, bus, events)
    async with running(driver, events):
        await until(lambda: not device.closed)
        await driver.pulse(1, 60)
        assert device.closed
        await until(lambda: not device.closed)
        assert device.pulses == ([] if kind is Gen1 else [60 if kind is Gen2 else 100])
        await driver.hold(1, True)
        await driver.pulse(1, 20)
        await asyncio.sleep(0.15)
        assert device.closed, "a pulse ends no hold"
    assert not device.closed
    assert bus.open_links == 0


async def test_the_devices_inputs_are_contacts():
    bus, events = FakeBus(), Events()
    device = bus.attach(Gen2("door"))
    async with running(ShellyRelay(GEN2, events, bus), events):
        device.move_input(True)
        assert await events.wait_for(InputChanged) == [InputChanged(1, True)]


async def test_what_the_broker_had_kept_is_no_sign_of_life():
    bus, events = FakeBus(), Events()
    bus.kept["shellies/door/online"] = b"true"
    bus.kept["shellies/door/relay/0"] = b"on"
    driver = ShellyRelay(ShellyOptions(topic="door", generation=1), events, bus)
    with pytest.raises(DeviceOffline, match="says nothing: check its power and network"):
        await driver.run()
    assert events.of(Online) == []


async def test_a_device_without_power_is_missed_before_its_last_will():
    bus, events = FakeBus(), Events()
    device = bus.attach(Gen2("door"))
    driver = ShellyRelay(GEN2, events, bus)
    async with running(driver, events) as task:
        device.silent = True
        with pytest.raises(DeviceTimeout, match="did not confirm"):
            await driver.pulse(1, 700)
        with pytest.raises(DeviceOffline):
            await task
    device.silent = False
    async with running(driver, events):
        await driver.pulse(1, 700)


async def test_a_last_will_and_a_lost_broker_end_the_link():
    bus, events = FakeBus(), Events()
    device = bus.attach(Sonoff("door"))
    driver = TasmotaRelay(TasmotaOptions(topic="door"), events, bus)
    async with running(driver, events) as task:
        device.leave()
        with pytest.raises(DeviceOffline, match="left the broker"):
            await task
    async with running(driver, events) as task:
        bus.lose("the broker has gone home")
        with pytest.raises(DeviceOffline, match="the broker cannot be reached: the broker has gone home"):
            await task


async def test_a_refusal_is_a_fault_and_nonsense_is_noise():
    bus, events = FakeBus(), Events()
    device = bus.attach(Gen2("door"))
    driver = ShellyRelay(GEN2, events, bus)
    async with running(driver, events):
        device.refuse = True
        with pytest.raises(DeviceFault, match="refused: Invalid argument"):
            await driver.pulse(1, 700)
        with pytest.raises(DeviceFault, match="it has 1 to 2"):
            await driver.pulse(3, 700)
        bus.deliver("door/events/rpc", b"{")
        assert await events.wait_for(Noise) == [Noise(1, "no RPC frame")]


@pytest.mark.parametrize("topic", ["a/+/b", "#", "", "a//b", "a b", "a/b/c/d/e/f"])
def test_a_topic_with_wildcards_is_refused(topic: str):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"topic": topic}, ShellyOptions)


def test_the_broker_grants_a_device_its_own_topics_only():
    assert isinstance(GEN2, BrokerUser)
    assert ("read", "door/rpc") in GEN2.broker_rights
    assert TasmotaOptions(topic="x").broker_rights == (
        ("read", "cmnd/x/#"),
        ("write", "stat/x/#"),
        ("write", "tele/x/#"),
    )
    gen1 = ShellyOptions(topic="door", generation=1).broker_rights
    assert ("read", "shellies/door/relay/+/command") in gen1


def test_they_are_locks():
    for kind, timed in ((Gen1, False), (Gen2, True), (Sonoff, True)):
        driver = made(kind, FakeBus(), Events())
        assert all(isinstance(driver, one) for one in (Driver, Lock, Contacts))
        assert driver.board_timed is timed
