"""Which device an address means, on a bus of the test's own, and that one address comes out of both who ask for it."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
import usb.core

from drivers.api import DeviceOffline
from drivers.transports.errors import holders
from drivers.transports.usb_address import ASK_MS, address_of, find_usb, kind_of
from drivers.transports.usb_claim import take_from_kernel
from gateway.devices.discovery import UsbDevice, usb_devices
from tests.drivers.usb_bus import UsbBus, UsbPrinter

KIND = "04b8:0e15"


def mute(*ports: int) -> UsbPrinter:
    printer = UsbPrinter("MUTE", ports)
    printer.mute = True
    return printer


def test_a_sibling_that_answers_nothing_costs_a_moment_and_one_of_another_kind_is_not_asked() -> None:
    other, sibling, wanted = mute(1, 1), mute(1, 2), UsbPrinter("S1", (1, 3))
    other.kind = (0x1234, 0x5678)
    assert find_usb(f"usb://{KIND}/S1", UsbBus(other, sibling, wanted)).port_numbers == (1, 3)
    assert sum(sibling.waited_ms) <= ASK_MS
    assert other.waited_ms == []
    assert (other.links, sibling.links) == (0, 0), "nobody but the one that was meant stays open"


def test_one_that_answers_nothing_may_be_the_one_and_is_named_by_its_place() -> None:
    siblings = [mute(1, 2), mute(1, 3)]
    with pytest.raises(DeviceOffline, match=r"hangs at 1-1\.2 and tells no serial number: plug that out and in"):
        find_usb(f"usb://{KIND}/S1", UsbBus(*siblings))
    assert sum(sum(each.waited_ms) for each in siblings) <= 3 * ASK_MS
    assert [each.links for each in siblings] == [0, 0]


def test_by_its_place_nobody_is_asked() -> None:
    printer = mute(1, 2)
    assert find_usb(f"usb://{KIND}/port=1-1.2", UsbBus(printer, mute(1, 3))).port_numbers == (1, 2)
    assert find_usb(f"usb://{KIND}", UsbBus(printer)).port_numbers == (1, 2)
    assert printer.waited_ms == []


def discovered(told: str, folder: Path) -> UsbDevice:
    """What `discover` reads where the kernel has written what a device told."""
    device = folder / "bus/usb/devices/1-1.4"
    device.mkdir(parents=True)
    for name, text in {"idVendor": "04b8", "idProduct": "0e15", "serial": told}.items():
        (device / name).write_text(f"{text}\n")
    (found,) = usb_devices(folder)
    return found


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ("S1", "S1"), ("  S1 ", "S1"), ("S1\0\0", "S1"), ("S1\u3000", "S1"), ("A.B-C_1+2", "A.B-C_1+2"), ("Nº1", "Nº1"),
        ("S 1", "port=1-1.4"), ("S/1", "port=1-1.4"), ("a=b", "port=1-1.4"), ("   ", "port=1-1.4"), ("", "port=1-1.4"),
    ],
)  # fmt: skip
def test_what_discover_writes_is_what_the_transport_finds(told: str, place: str, tmp_path: Path) -> None:
    address = discovered(told, tmp_path).address
    assert address == f"usb://{KIND}/{place}"
    assert kind_of(address) == (0x04B8, 0x0E15)
    assert find_usb(address, UsbBus(UsbPrinter(told), UsbPrinter("ANOTHER", (2,)))).port_numbers == (1, 4)
    with pytest.raises(DeviceOffline, match=f"write which one: .*{re.escape(address)}"):
        find_usb(f"usb://{KIND}", UsbBus(UsbPrinter(told), UsbPrinter("Z", (2,))))


def test_a_port_is_the_last_name() -> None:
    assert address_of(KIND, "", "1-2") == f"usb://{KIND}/port=1-2"


class Racing:
    """A device whose driver udev unbinds between the question and the order."""

    code = errno.ENOENT

    def is_kernel_driver_active(self, number: int) -> bool:
        return True

    def detach_kernel_driver(self, number: int) -> None:
        raise usb.core.USBError("Entity not found", errno=self.code)


def test_a_driver_that_is_unbound_in_between_was_unbound() -> None:
    device = Racing()
    assert take_from_kernel(device, 0) is False
    device.code = errno.ENODEV
    with pytest.raises(usb.core.USBError):
        take_from_kernel(device, 0)


def test_who_has_a_device_of_the_bus_is_named(tmp_path: Path) -> None:
    node = tmp_path / "007"
    node.touch()
    assert holders(str(node)) == f"another program (see 'sudo fuser -v {node}')"
    with node.open():
        assert holders(str(node)) == "another device of this gateway"
