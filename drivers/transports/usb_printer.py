"""USB printers by libusb: found by vendor, product and serial number, read and written by a thread each way.

Facts: a printer is interface class 7 with a bulk endpoint out and, unless it is a one-way one, a bulk endpoint in;
GET_PORT_STATUS is class request 1 (USB Device Class Definition for Printing Devices 1.1, 4.2.2 and 5). Many cheap ones
say vendor class FF instead. pyusb returns what was sent before a time-out, and raises only when that was nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import queue
import threading
from collections.abc import Callable
from typing import Any

import usb.core
import usb.util

from drivers.api import DeviceFault
from drivers.transports.pipe import Pipe
from drivers.transports.printer_errors import cannot_open_usb, usb_gone
from drivers.transports.transport import OnBytes, Transport
from drivers.transports.usb_address import libusb
from drivers.transports.usb_claim import claimed, configuration_of, take_from_kernel

CHUNK_BYTES = 4096
READ_BYTES = 512
"""A multiple of every bulk endpoint's packet, so that none overflows."""
SLICE_MS = 200
"""How long one call to libusb may block: what is given up stops within this time."""
LOOK_S = 1.0
"""How often a one-way printer is asked whether it is still there."""
QUIET_READ_S = 0.05
CLASS_PRINTER = 7
_GET_PORT_STATUS = (0xA1, 1)


async def open_usb_printer(address: str, on_bytes: OnBytes, backend: Callable[[], Any] = libusb) -> Transport:
    """Take the printer that `address` names, away from the kernel's own driver if need be.

    Raises DeviceOffline when it is not there, not alone of its kind, or taken; DeviceFault where it can never work.
    """
    transport = Transport(address, on_bytes)
    link = await asyncio.to_thread(_Link.open, address, backend)
    transport.connection_made(_UsbPipe(transport, link))
    transport.start_reading()
    return transport


class _Link:
    """One claimed printer interface. Every method blocks; `write`, `read` and `look` each for `SLICE_MS` at most."""

    def __init__(self, address: str, device: Any, interface: Any, *, detached: bool) -> None:  # noqa: ANN401
        self.address = address
        self._device = device
        self._interface = interface
        self._detached = detached
        self._out = _endpoint(interface, usb.util.ENDPOINT_OUT)
        self._in = _endpoint(interface, usb.util.ENDPOINT_IN)
        self.can_read = self._in is not None

    @classmethod
    def open(cls, address: str, backend: Callable[[], Any]) -> _Link:
        """Find and claim; raises DriverError."""
        return claimed(address, backend, cls._claim, cannot_open_usb)

    @classmethod
    def _claim(cls, address: str, device: Any) -> _Link:  # noqa: ANN401
        interface = _printer_interface(address, configuration_of(device))
        number = interface.bInterfaceNumber
        detached = take_from_kernel(device, number)
        usb.util.claim_interface(device, number)
        return cls(address, device, interface, detached=detached)

    def write(self, data: bytes) -> int:
        """Send; returns how many bytes went, 0 when the printer takes none now. Raises USBError when it is gone."""
        try:
            return int(self._out.write(data, SLICE_MS))
        except usb.core.USBTimeoutError:
            return 0

    def read(self) -> bytes:
        """What the printer says within a moment; empty when it says nothing. Raises USBError when it is gone."""
        try:
            return bytes(self._in.read(READ_BYTES, SLICE_MS))
        except usb.core.USBTimeoutError:
            return b""

    def look(self) -> None:
        """Raise USBError when the printer is gone; one that does not know the question is there."""
        try:
            self._device.ctrl_transfer(*_GET_PORT_STATUS, 0, self._interface.bInterfaceNumber, 1, SLICE_MS)
        except usb.core.USBTimeoutError:
            pass
        except usb.core.USBError as error:
            # A stalled request is an answer of somebody who is there.
            if error.errno != errno.EPIPE:
                raise

    def close(self) -> None:
        """Give the printer back to the kernel's driver, where that had it."""
        number = self._interface.bInterfaceNumber
        with contextlib.suppress(usb.core.USBError, NotImplementedError):
            usb.util.release_interface(self._device, number)
            if self._detached:
                self._device.attach_kernel_driver(number)
        usb.util.dispose_resources(self._device)


class _UsbPipe(Pipe):
    def __init__(self, protocol: asyncio.Protocol, link: _Link) -> None:
        super().__init__(protocol)
        self._link = link
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._may_read = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(part,), name=f"usb-printer-{part.__name__}", daemon=True)
            for part in (self._send, self._receive)
        ]
        for thread in self._threads:
            thread.start()

    def pause_reading(self) -> None:
        """Let no bytes in for now."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Let bytes in."""
        self._may_read.set()

    def _wake_writer(self) -> None:
        while self._waiting:
            self._outbox.put(self._waiting.popleft())

    def _release(self) -> None:
        self._over.set()
        self._may_read.set()
        self._outbox.put(None)
        # The two may be inside libusb for a moment longer, and nobody shall wait for that here.
        threading.Thread(target=self._close_link, name="usb-printer-close", daemon=True).start()

    # In threads.

    def _run(self, part: Callable[[], None]) -> None:
        try:
            part()
        except usb.core.USBError as error:
            self._tell(self._lost, usb_gone(self._link.address, error.errno))

    def _send(self) -> None:
        while (data := self._outbox.get()) is not None:
            while data and not self._over.is_set():
                count = self._link.write(data[:CHUNK_BYTES])
                data = data[count:]
                if count:
                    self._tell(self._left, count)

    def _receive(self) -> None:
        while not self._over.is_set():
            self._may_read.wait()
            if not self._link.can_read:
                self._link.look()
                self._over.wait(LOOK_S)
            elif data := self._link.read():
                self._tell(self._received, data)
            else:
                # A printer may answer every poll with an empty packet at once.
                self._over.wait(QUIET_READ_S)

    def _close_link(self) -> None:
        for thread in self._threads:
            thread.join()
        self._link.close()

    def _tell(self, do: Callable[..., None], *arguments: object) -> None:
        """Go on in the event loop; when that has ended there is nobody to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(do, *arguments)

    def _received(self, data: bytes) -> None:
        if not self._gone:
            self._protocol.data_received(data)


def _printer_interface(address: str, configuration: Any) -> Any:  # noqa: ANN401
    """The interface of class 7, else the first that can be written in bulk. Raises DeviceFault."""
    interfaces = [each for each in configuration if _endpoint(each, usb.util.ENDPOINT_OUT) is not None]
    if not interfaces:
        raise DeviceFault(f"{address} is no printer: it has nothing to send a receipt to; check the address with lsusb")
    return next((each for each in interfaces if each.bInterfaceClass == CLASS_PRINTER), interfaces[0])


def _endpoint(interface: Any, direction: int) -> Any:  # noqa: ANN401
    bulk = usb.util.ENDPOINT_TYPE_BULK
    return usb.util.find_descriptor(
        interface,
        custom_match=lambda each: (
            usb.util.endpoint_direction(each.bEndpointAddress) == direction
            and usb.util.endpoint_type(each.bmAttributes) == bulk
        ),
    )
