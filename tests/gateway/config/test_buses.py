"""Devices that share a bus name it, and restart with it."""

from __future__ import annotations

import pytest

from gateway.config.loading import ConfigurationError, loads
from gateway.devices.registry import kinds

HEAD = """
venue: {id: v, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
zones: {hall: {}}
gates: {door: {to: hall, readers: [in, out]}}
devices:
  bus: {driver: osdp-bus, port: /dev/serial/by-id/a, baud: BAUD}
  other: {driver: osdp-bus, port: /dev/serial/by-id/b}
  printer: {driver: escpos, connect: "tcp://p:9100"}
"""
IN = "  in: {driver: osdp, bus: bus, address: 0}\n"


def load(devices: str, baud: int = 9600):
    return loads((HEAD.replace("BAUD", str(baud)) + devices).encode(), "v.yaml", kinds())


def problems(devices: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(devices)
    return str(caught.value)


def test_several_readers_on_one_bus_and_one_address_on_two_buses():
    out = "  out: {driver: osdp, bus: other, address: 0}\n"
    assert load(IN + out).devices.keys() >= {"in", "out", "bus"}
    assert load(IN + out.replace("other, address: 0", "bus, address: 1")).warnings == ()


def test_one_address_twice_a_bus_that_is_not_there_and_one_that_is_none():
    assert "is on this address already" in problems(IN + "  out: {driver: osdp, bus: bus, address: 0}\n")
    assert 'no bus is called "bsu"' in problems(IN + "  out: {driver: osdp, bus: bsu, address: 1}\n")
    assert "`printer` is a printer, not a bus" in problems(IN + "  out: {driver: osdp, bus: printer, address: 1}\n")


def test_a_reader_restarts_with_its_bus_and_only_with_its_own():
    out = "  out: {driver: osdp, bus: other, address: 0}\n"
    before, after = load(IN + out).devices, load(IN + out, baud=19_200).devices
    assert {name for name in before if before[name].digest != after[name].digest} == {"bus", "in"}


def test_a_wedge_by_a_number_is_warned_of():
    text = HEAD.replace("in, out", "in").replace("BAUD", "9600") + IN
    wedge = "  desk: {driver: wedge, port: /dev/input/event3}\n"
    (warning,) = loads((text.replace("[in]", "[in, desk]") + wedge).encode(), "v.yaml", kinds()).warnings
    assert "usb://VENDOR:PRODUCT lasts" in warning
    assert "/dev/input/by-path/" in warning
