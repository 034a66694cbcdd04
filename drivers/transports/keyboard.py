"""Input devices of the kernel (evdev) that type: read only where their keys are nobody's but the gateway's.

`venue-gateway scanners apply` has udev give their keys numbers that no console knows (see `keymap`). A device that has
others is not taken: as soon as the gateway did not hold it, whoever prints a code would type at this computer.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
from collections.abc import Callable, Iterable
from typing import Protocol, Self

from drivers.api import DeviceFault, DeviceOffline, DriverError
from drivers.transports.errors import why_lost
from drivers.transports.keymap import Button, is_heard, key_of, read_keymap

EV_SYN, EV_KEY = 0, 1
SYN_DROPPED = 3

_NAMES = (
    "one on USB is named usb://VENDOR:PRODUCT (`venue-gateway discover` shows it), others are listed by "
    "ls /dev/input/by-path and end in -event-kbd"
)

OnKey = Callable[[int, int, float], None]


class KeyEvent(Protocol):
    """One event as python-evdev gives it: `sec` and `usec` are when the kernel saw it."""

    type: int
    code: int
    value: int
    sec: int
    usec: int


class InputDevice(Protocol):
    """What is used of python-evdev's class of this name."""

    name: str
    fd: int

    def read(self) -> Iterable[KeyEvent]:
        """Return the events that wait; raises BlockingIOError when none does."""
        ...

    def grab(self) -> None:
        """Take the device for this process alone."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Keyboard:
    """An input device that is read by this process alone: nothing of what it types reaches a console or a desktop.

    `on_key(key, value, at_s)` is called from the event loop for every event of a key that scanners type with, numbered
    as Linux does for keyboards (input-event-codes.h), and `on_lost()` when the kernel dropped some. `closed` gets its
    result, the DeviceOffline that tells why, as soon as the device is gone.
    """

    def __init__(self, path: str, device: InputDevice, on_key: OnKey, on_lost: Callable[[], None]) -> None:
        self.name = str(device.name)
        self.closed: asyncio.Future[DeviceOffline] = asyncio.get_running_loop().create_future()
        self._path = path
        self._device = device
        self._on_key = on_key
        self._on_lost = on_lost
        asyncio.get_running_loop().add_reader(device.fd, self._readable)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close(DeviceOffline(f"{self._path} is closed"))

    async def lost(self) -> DeviceOffline:
        """Wait until the device is gone and return why."""
        await asyncio.wait({self.closed})
        return self.closed.result()

    def _readable(self) -> None:
        try:
            events = list(self._device.read())
        except BlockingIOError:
            return
        except OSError as error:
            self._close(why_lost(self._path, error))
            return
        for event in events:
            if event.type == EV_KEY and (key := key_of(event.code)):
                self._on_key(key, event.value, event.sec + event.usec / 1e6)
            elif event.type == EV_SYN and event.code == SYN_DROPPED:
                self._on_lost()

    def _close(self, why: DeviceOffline) -> None:
        if not self.closed.done():
            self.closed.set_result(why)
            asyncio.get_running_loop().remove_reader(self._device.fd)
            # Closing gives the grab back.
            self._device.close()


async def open_keyboard(path: str, on_key: OnKey, on_lost: Callable[[], None]) -> Keyboard:
    """Open the input device at `path` and grab it, so that what it types reaches nobody else.

    Raises DeviceOffline when it is not there, someone else has grabbed it, or its keys are still those of a keyboard;
    DeviceFault when it is no input device, its keys cannot be changed, or python-evdev is not installed.
    """
    device = await asyncio.to_thread(_open, path)
    return Keyboard(path, device, on_key, on_lost)


def _open(path: str) -> InputDevice:
    try:
        evdev = importlib.import_module("evdev")
    except ImportError as error:
        raise DeviceFault("keyboard wedges need python-evdev: install venue-gateway[wedge]") from error
    device: InputDevice | None = None
    try:
        device = evdev.InputDevice(path)
        device.grab()
        _must_be_muted(path, read_keymap(device.fd))
    except OSError as error:
        _close(device)
        raise _cannot_open(path, error) from error
    except DriverError:
        _close(device)
        raise
    return device


def _close(device: InputDevice | None) -> None:
    if device is not None:
        device.close()


def _must_be_muted(path: str, buttons: list[Button]) -> None:
    if not buttons:
        raise DeviceFault(f"{path}: its keys cannot be kept from this computer's console: set the scanner to serial")
    if any(is_heard(button.key) for button in buttons):
        raise DeviceOffline(
            f"{path} types on this computer's console, and is not read: run 'sudo venue-gateway scanners apply' while "
            "it is connected"
        )


def _cannot_open(path: str, error: OSError) -> DriverError:
    match error.errno:
        case errno.ENOENT:
            return DeviceOffline(f"{path} does not exist: check the cable and the name; {_NAMES}")
        case errno.EACCES | errno.EPERM:
            return DeviceOffline(f"{path} may not be opened: add the gateway's user to the group `input`")
        case errno.EBUSY:
            return DeviceOffline(f"{path} is grabbed by another program: stop that")
        case errno.ENOTTY | errno.EINVAL:
            return DeviceFault(f"{path} is no input device that types: {_NAMES}")
    return DeviceOffline(f"{path} cannot be opened: {os.strerror(error.errno or 0)}")
