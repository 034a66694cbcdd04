"""Every driver there is: the word after `driver:` in the YAML, and the class behind it. No magic, no scanning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from drivers.drawers.drawer_kick import DrawerKick
from drivers.drawers.drawer_relay import DrawerRelay
from drivers.gates.gpio_relay import GpioRelay
from drivers.gates.hid_relay import HidRelay
from drivers.gates.lcus import LcusRelay
from drivers.gates.modbus_relay import ModbusRelay
from drivers.gates.modbus_tcp import ModbusTcpRelay
from drivers.gates.shelly import ShellyRelay
from drivers.gates.tasmota import TasmotaRelay
from drivers.printers.escpos import EscposPrinter
from drivers.printers.tspl import TsplPrinter
from drivers.printers.zpl import ZplPrinter
from drivers.readers.nfcpy import NfcpyReader
from drivers.readers.osdp import OsdpReader
from drivers.readers.osdp_bus import OsdpBus
from drivers.readers.pcsc import PcscReader
from drivers.readers.rdm6300 import Rdm6300Reader
from drivers.readers.twn4 import Twn4Reader
from drivers.readers.wiegand_serial import WiegandSerialReader
from drivers.scanners.serial_scanner import SerialScanner
from drivers.scanners.wedge import WedgeScanner
from gateway.config.schema import DriverKind, Kind


class DriverEntry(msgspec.Struct, frozen=True):
    """A driver type: what it is to the venue, how it is made, and what its class says it speaks.

    `build(options, emit)` makes a device that runs; for a drawer it is `build(options, printer)`, and for a device
    that `uses_broker` it is `build(options, emit, bus)`.
    """

    kind: Kind
    build: Callable[..., Any]
    options: type[msgspec.Struct]
    summary: str
    uses_broker: bool = False


def _entry(kind: Kind, driver: Any) -> DriverEntry:  # noqa: ANN401 - driver classes share no base
    uses_broker = hasattr(driver.Options, "broker_rights")
    return DriverEntry(kind, driver, driver.Options, (driver.__doc__ or "").strip().splitlines()[0], uses_broker)


DRIVERS: Mapping[str, DriverEntry] = {
    "rdm6300": _entry("reader", Rdm6300Reader),
    "nfcpy": _entry("reader", NfcpyReader),
    "pcsc": _entry("reader", PcscReader),
    "osdp-bus": _entry("bus", OsdpBus),
    "osdp": _entry("reader", OsdpReader),
    "twn4": _entry("reader", Twn4Reader),
    "wiegand-serial": _entry("reader", WiegandSerialReader),
    "serial-scanner": _entry("scanner", SerialScanner),
    "wedge": _entry("scanner", WedgeScanner),
    "lcus": _entry("gate", LcusRelay),
    "modbus-relay": _entry("gate", ModbusRelay),
    "modbus-tcp": _entry("gate", ModbusTcpRelay),
    "hid-relay": _entry("gate", HidRelay),
    "gpio": _entry("gate", GpioRelay),
    "shelly": _entry("gate", ShellyRelay),
    "tasmota": _entry("gate", TasmotaRelay),
    "escpos": _entry("printer", EscposPrinter),
    "zpl": _entry("printer", ZplPrinter),
    "tspl": _entry("printer", TsplPrinter),
    "drawer-kick": _entry("drawer", DrawerKick),
    "drawer-relay": _entry("drawer", DrawerRelay),
}


def kinds() -> dict[str, DriverKind]:
    """Return what the configuration needs to know of each driver."""
    return {name: DriverKind(entry.kind, entry.options, entry.summary) for name, entry in DRIVERS.items()}
