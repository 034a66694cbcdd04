"""USB keyboards by libusb, in place of the kernel: what is read here was never a key of this computer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from drivers.api import DeviceOffline, DriverError, DriverFailed
from drivers.codecs.hid_keyboard import BootKeyboard
from drivers.transports.hid import HidThread
from drivers.transports.usb_address import libusb
from drivers.transports.usb_keyboard_link import KeyboardInput, KeyboardLink

QUIET_S = 0.3
"""A scanner that typed no key for so long has told all that it held; its keys are some 10 ms apart."""
QUIET_WITHIN_S = 2.0
REPORTS_A_SECOND_MAX = 1500
"""Changes only. A scanner at full speed has at most 1,000; one that has more is broken, at the cost of others (I8)."""

OnKey = Callable[[int, int, float], None]


class UsbKeyboard:
    """A keyboard taken from the kernel. `on_key(code, value, at_s)` is called in the event loop, once it is forgotten.

    Each interface that types is read by a thread of its own, so that keys come in the order in which they were typed.
    It is not given back when it is closed: what it types while nobody reads it is typed nowhere.
    """

    def __init__(self, address: str, link: KeyboardLink, thread: HidThread, on_key: OnKey) -> None:
        self.name = link.name
        self._address = address
        self._link = link
        self._threads = [thread, *(HidThread(address) for _ in link.inputs[1:])]
        self._on_key = on_key
        self._forgetting = True
        self._loop = asyncio.get_running_loop()
        self._typed_s = self._window_s = self._loop.time()
        self._reports = 0
        self._reading = asyncio.create_task(self._read_all())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the keyboard, at the latest when a read that hangs comes back. Never raises."""
        self._reading.cancel()
        first, *others = self._threads
        await first.end(lambda: self._let_go(others))

    async def forget(self, quiet_s: float) -> None:
        """Throw away what the keyboard held while nobody read it, until it has typed no key for `quiet_s`.

        A keyboard keeps what nobody fetches, and who scanned then is gone: it must open nothing now. Raises
        DeviceOffline when it types on and on, or is gone.
        """
        until_s = self._loop.time() + QUIET_WITHIN_S
        while (left_s := self._typed_s + quiet_s - self._loop.time()) > 0:
            if self._loop.time() > until_s:
                raise DeviceOffline(f"{self._address} types on and on: let go of its trigger, take the code away")
            await asyncio.wait({self._reading}, timeout=left_s)
            if self._reading.done():
                raise self._reading.result()
        self._forgetting = False

    async def lost(self) -> DriverError:
        """Wait until the keyboard is gone, or floods, and return why."""
        await asyncio.wait({self._reading})
        return self._reading.result()

    async def _read_all(self) -> DriverError:
        pairs = zip(self._link.inputs, self._threads, strict=True)
        tasks = [asyncio.create_task(self._read(*pair)) for pair in pairs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()

    async def _read(self, one: KeyboardInput, thread: HidThread) -> DriverError:
        keys = BootKeyboard()
        while True:
            try:
                report = await thread.call(one.read)
            except DriverError as error:
                return error
            if report and self._floods():
                why = f"{self._address} floods: more than {REPORTS_A_SECOND_MAX} reports a second"
                return DriverFailed(why, "flood")
            # Some repeat a report though no key has changed. That is no typing, and must not keep them offline.
            for code, value in keys.report(report):
                self._take(code, value)

    def _take(self, code: int, value: int) -> None:
        self._typed_s = self._loop.time()
        if not self._forgetting:
            self._on_key(code, value, self._typed_s)

    def _floods(self) -> bool:
        """Count a report; True once there were too many in a second. What it held may come at once."""
        if self._forgetting or self._loop.time() >= self._window_s + 1:
            self._window_s, self._reports = self._loop.time(), 0
        self._reports += 1
        return self._reports > REPORTS_A_SECOND_MAX

    def _let_go(self, others: list[HidThread]) -> None:
        """Close when nobody reads any more; in the first thread."""
        for thread in others:
            thread.join()
        self._link.close()


async def open_usb_keyboard(
    address: str, on_key: OnKey, backend: Callable[[], Any] = libusb, quiet_s: float = QUIET_S
) -> UsbKeyboard:
    """Take the keyboard that `address` names, from the kernel's driver if that has it, and forget what it held so far.

    Raises DeviceOffline when it is not there, not alone of its kind, may not be taken, or does not stop typing;
    DeviceFault when it is no keyboard, or only one of a kind that needs the kernel.
    """
    thread, links = HidThread(address), list[KeyboardLink]()
    try:
        await thread.call(lambda: links.append(KeyboardLink.open(address, backend)))
    except BaseException:
        # Where that hung, it may succeed yet, with nobody there to read.
        await thread.end(lambda: _close(links))
        raise
    keyboard = UsbKeyboard(address, links[0], thread, on_key)
    try:
        await keyboard.forget(quiet_s)
    except BaseException:
        await keyboard.close()
        raise
    return keyboard


def _close(links: list[KeyboardLink]) -> None:
    for link in links:
        link.close()
