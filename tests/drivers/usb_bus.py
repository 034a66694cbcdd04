"""A USB bus without a kernel: pyusb's backend interface, with printers on it that the test plugs in and out."""

from __future__ import annotations

import array
import asyncio
import errno
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

VENDOR, PRODUCT = 0x04B8, 0x0E15
STRINGS = {1: "EPSON", 2: "TM-T20", 3: "SERIAL"}


class UsbPrinter:
    """One printer: takes bulk bytes, answers with `say`, and may be slow, deaf, one-way, foreign or unplugged."""

    def __init__(self, serial: str | None = "J3A1", ports: tuple[int, ...] = (1, 4)) -> None:
        self.serial = serial
        self.ports = ports
        self.plugged = True
        self.takes_per_write = 4096
        self.deaf = False
        self.one_way = False
        self.interface_class = 7
        self.kernel_driver = True
        self.taken_by_others = False
        self.permission = True
        self.received = bytearray()
        self.claimed = False
        self.on_bytes: Callable[[bytes], bytes] = lambda _: b""
        self.kind = (VENDOR, PRODUCT)
        self.mute = False
        self.waited_ms: list[int] = []
        """How long each question was that it let time out."""
        self.links = 0
        self.changed = threading.Condition()
        self._answers = bytearray()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to come true of the printer, which other threads change."""

        def wait() -> bool:
            with self.changed:
                return self.changed.wait_for(true, 5)

        assert await asyncio.to_thread(wait), "it did not come true within 5 s"

    def set_claimed(self, *, claimed: bool) -> None:
        with self.changed:
            self.claimed = claimed
            self.changed.notify_all()

    def say(self, data: bytes) -> None:
        with self.changed:
            self._answers += data
            self.changed.notify_all()

    def unplug(self) -> None:
        with self.changed:
            self.plugged = False
            self.claimed = False
            self.changed.notify_all()

    def write(self, data: bytes) -> int:
        with self.changed:
            deaf = self.deaf
            if deaf and self.plugged:
                self.changed.wait(0.02)
            self._must_be_there()
            if deaf:
                raise usb.core.USBTimeoutError("Operation timed out", errno=errno.ETIMEDOUT)
            part = data[: self.takes_per_write]
            self.received += part
            self._answers += self.on_bytes(part)
            self.changed.notify_all()
            return len(part)

    def read(self, size: int, timeout_s: float) -> bytes:
        with self.changed:
            self.changed.wait_for(lambda: self._answers or not self.plugged, timeout_s)
            self._must_be_there()
            if not self._answers:
                raise usb.core.USBTimeoutError("Operation timed out", errno=errno.ETIMEDOUT)
            data = bytes(self._answers[:size])
            del self._answers[:size]
            return data

    def _must_be_there(self) -> None:
        if not self.plugged:
            raise usb.core.USBError("No such device (it may have been disconnected)", errno=errno.ENODEV)


class UsbBus(usb.backend.IBackend):
    """The bus: what pyusb asks of libusb, answered from the printers that are plugged in."""

    def __init__(self, *printers: UsbPrinter) -> None:
        super().__init__()
        self.printers = list(printers)

    def enumerate_devices(self) -> list[UsbPrinter]:
        return [each for each in self.printers if each.plugged]

    def get_device_descriptor(self, dev: UsbPrinter) -> Any:
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=1,
            bcdUSB=0x200,
            bDeviceClass=0,
            bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=64,
            idVendor=dev.kind[0],
            idProduct=dev.kind[1],
            bcdDevice=0x100,
            iManufacturer=1,
            iProduct=2,
            iSerialNumber=3 if dev.serial else 0,
            bNumConfigurations=1,
            address=7,
            bus=1,
            port_number=dev.ports[-1],
            port_numbers=dev.ports,
            speed=3,
        )

    def get_configuration_descriptor(self, dev: UsbPrinter, config: int) -> Any:
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=2,
            wTotalLength=32,
            bNumInterfaces=1,
            bConfigurationValue=1,
            iConfiguration=0,
            bmAttributes=0xC0,
            bMaxPower=1,
            extra_descriptors=[],
        )

    def get_interface_descriptor(self, dev: UsbPrinter, intf: int, alt: int, config: int) -> Any:
        if intf or alt:
            raise IndexError
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=4,
            bInterfaceNumber=0,
            bAlternateSetting=0,
            bNumEndpoints=1 if dev.one_way else 2,
            bInterfaceClass=dev.interface_class,
            bInterfaceSubClass=1,
            bInterfaceProtocol=2,
            iInterface=0,
            extra_descriptors=[],
        )

    def get_endpoint_descriptor(self, dev: UsbPrinter, ep: int, intf: int, alt: int, config: int) -> Any:
        return SimpleNamespace(
            bLength=7,
            bDescriptorType=5,
            bEndpointAddress=(0x01, 0x82)[ep],
            bmAttributes=2,
            wMaxPacketSize=64,
            bInterval=0,
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=[],
        )

    def open_device(self, dev: UsbPrinter) -> UsbPrinter:
        if not dev.permission:
            raise usb.core.USBError("Access denied (insufficient permissions)", errno=errno.EACCES)
        dev.links += 1
        return dev

    def close_device(self, dev_handle: UsbPrinter) -> None:
        dev_handle.links -= 1

    def get_configuration(self, dev_handle: UsbPrinter) -> int:
        return 1

    def set_configuration(self, dev_handle: UsbPrinter, config_value: int) -> None:
        """There is only one."""

    def claim_interface(self, dev_handle: UsbPrinter, intf: int) -> None:
        if dev_handle.taken_by_others or dev_handle.kernel_driver or dev_handle.claimed:
            raise usb.core.USBError("Resource busy", errno=errno.EBUSY)
        dev_handle.set_claimed(claimed=True)

    def release_interface(self, dev_handle: UsbPrinter, intf: int) -> None:
        dev_handle.set_claimed(claimed=False)

    def is_kernel_driver_active(self, dev_handle: UsbPrinter, intf: int) -> bool:
        return dev_handle.kernel_driver

    def detach_kernel_driver(self, dev_handle: UsbPrinter, intf: int) -> None:
        dev_handle.kernel_driver = False

    def attach_kernel_driver(self, dev_handle: UsbPrinter, intf: int) -> None:
        with dev_handle.changed:
            dev_handle.kernel_driver = True
            dev_handle.changed.notify_all()

    def bulk_write(self, dev_handle: UsbPrinter, ep: int, intf: int, data: array.array[int], timeout: int) -> int:
        assert ep == 0x01
        return dev_handle.write(data.tobytes())

    def bulk_read(self, dev_handle: UsbPrinter, ep: int, intf: int, buff: array.array[int], timeout: int) -> int:
        assert ep == 0x82
        data = dev_handle.read(len(buff), timeout / 1000)
        buff[: len(data)] = array.array("B", data)
        return len(data)

    def ctrl_transfer(
        self,
        dev_handle: UsbPrinter,
        request_type: int,
        number: int,
        value: int,
        index: int,
        data: array.array[int],
        timeout: int,
    ) -> int:
        if not dev_handle.plugged:
            raise usb.core.USBError("No such device", errno=errno.ENODEV)
        if dev_handle.mute:
            dev_handle.waited_ms.append(timeout)
            raise usb.core.USBTimeoutError("Operation timed out", errno=errno.ETIMEDOUT)
        if (request_type, number) == (0x80, 6) and value >> 8 == 3:
            answer = _string(value & 0xFF, dev_handle.serial)
        elif (request_type, number) == (0xA1, 1):
            answer = b"\x18"
        else:
            raise usb.core.USBError("Pipe error", errno=errno.EPIPE)
        answer = answer[: len(data)]
        data[: len(answer)] = array.array("B", answer)
        return len(answer)


def _string(index: int, serial: str | None) -> bytes:
    raw = b"\x09\x04" if index == 0 else (STRINGS[index] if index != 3 else serial or "").encode("utf-16-le")
    return bytes((2 + len(raw), 3)) + raw
