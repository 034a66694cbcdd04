"""The USB HID relay board 16c0:05df."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, Emit, Online
from drivers.codecs.hid_relay import (
    CHANNELS_MAX,
    PRODUCT_ID,
    REPORT_BYTES,
    VENDOR_ID,
    BoardState,
    read_product,
    read_state,
    switch_report,
)
from drivers.gates.pulses import PulseEnds
from drivers.transports.hid import HidBus, HidFound, HidThread, UsbHidBus

POLL_S = 0.8
"""A board that was unplugged is known to be gone within two seconds, one silent transfer included."""


class HidRelayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A USB HID relay board, found by its own serial number or by the socket it is plugged into."""

    serial: Annotated[
        str,
        Meta(
            max_length=5,
            description="The board's own serial number of five characters, as `venue-gateway discover` shows it. "
            "USBRelay boards have one; left out, the only board there is.",
        ),
    ] = ""
    usb_path: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]+-[0-9]+(\.[0-9]+)*)?$",
            description="The USB socket the board is plugged into, such as 1-1.2; for HIDRelay boards, which have no "
            "serial number.",
            extra={"expected": "a USB socket in quotes, such as `1-1.2`"},
        ),
    ] = ""
    channels: Annotated[int, Meta(ge=1, le=CHANNELS_MAX, description="How many relays the board has.")] = 1
    variant: Annotated[
        Literal["auto", "usbrelay", "hidrelay"],
        Meta(description="usbrelay boards tell their state, hidrelay boards do not; auto goes by the product text."),
    ] = "auto"


class HidRelay:
    """USB HID relay board 16c0:05df, 1 to 8 relays: feature reports over pyusb, read back where the board can.

    The board cannot time a pulse, so a timer here opens the relay again, and every relay is opened when a connection
    begins and when it ends.
    """

    Options: ClassVar[type[msgspec.Struct]] = HidRelayOptions
    board_timed = False

    def __init__(self, options: HidRelayOptions, emit: Emit, bus: HidBus | None = None) -> None:
        self.channels = options.channels
        self._options = options
        self._emit = emit
        self._bus = bus or UsbHidBus()
        self._ends = PulseEnds(self._end_pulse)
        self._device: Any = None
        self._tells = False
        self._thread: HidThread | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[DriverError] | None = None

    async def run(self) -> None:
        """Serve until cancelled; raises DriverError when the board is not there or is gone."""
        thread, found = HidThread(self._name()), list[HidFound]()
        try:
            await thread.call(lambda: found.append(self._find()))
            await self._serve(thread, found[0])
        finally:
            await thread.end(lambda: self._rest(found))

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel`; a timer here opens it `pulse_ms` after the board was told. Returns when it shows that.

        Raises DeviceOffline when the board is not there, DeviceTimeout when nobody knows what it did, and DeviceFault
        for a relay it does not have or does not move.
        """
        self._require(channel)
        with self._ends.pulse(channel, pulse_ms):
            await self._send(channel, closed=True)
        await self._confirm(channel, closed=True)

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`active`) or open relay `channel` until told otherwise; raises as `pulse` does."""
        self._require(channel)
        with self._ends.hold(channel, active):
            await self._switch(channel, closed=active)

    def _find(self) -> HidFound:
        """Return the one board the options mean; runs in the thread."""
        options = self._options
        found = self._bus.find(VENDOR_ID, PRODUCT_ID)
        if options.usb_path:
            found = [one for one in found if one.path == options.usb_path]
        if options.serial:
            found = [one for one in found if self._has_serial(one, options.serial)]
        if len(found) == 1:
            self._bus.open(found[0].device)
            return found[0]
        if found:
            raise DeviceFault(
                f"{len(found)} USB relay boards are plugged in: name one by `serial` or `usb_path`; "
                "`venue-gateway discover` lists them"
            )
        raise DeviceOffline(f"{self._name()} is not plugged in")

    def _has_serial(self, found: HidFound, serial: str) -> bool:
        state = None
        # A board that another device of the gateway holds is busy, and so not the one.
        with contextlib.suppress(DriverError):
            self._bus.open(found.device)
            state = read_state(self._bus.get_feature(found.device, 1, REPORT_BYTES))
        if state is not None and state.serial == serial:
            return True
        self._bus.close(found.device)
        return False

    async def _serve(self, thread: HidThread, found: HidFound) -> None:
        self._tells = self._can_tell(found.product)
        self._broken = asyncio.get_running_loop().create_future()
        try:
            for channel in range(1, self.channels + 1):
                await thread.call(self._bus.set_feature, found.device, 0, switch_report(channel, closed=False))
            state = await self._look(thread, found.device)
            self._thread, self._device = thread, found.device
            self._emit(
                Online(f"{found.product or 'USB relay'} {state.serial if state else ''} on {found.path}".strip())
            )
            await self._watch(thread, found.device)
        finally:
            self._thread = None
            self._device = None
            self._ends.clear()

    def _can_tell(self, product: str) -> bool:
        if self._options.variant != "auto":
            return self._options.variant == "usbrelay"
        known = read_product(product)
        return known is not None and known[0] == "usbrelay"

    async def _watch(self, thread: HidThread, device: Any) -> None:  # noqa: ANN401
        """Look at the board again and again: libusb does not say that it was unplugged."""
        while True:
            if self._broken is not None:
                await asyncio.wait({self._broken}, timeout=POLL_S)
                if self._broken.done():
                    raise self._broken.result()
            await self._look(thread, device)

    async def _look(self, thread: HidThread, device: Any) -> BoardState | None:  # noqa: ANN401
        """Return what the board says of itself; of one that tells nothing, only that it is there."""
        if not self._tells:
            await thread.call(self._bus.probe, device)
            return None
        state = read_state(await thread.call(self._bus.get_feature, device, 1, REPORT_BYTES))
        if state is None:
            raise DeviceFault(f"{self._name()} answers nonsense: set `variant: hidrelay` if it is such a board")
        return state

    async def _switch(self, channel: int, *, closed: bool) -> None:
        await self._send(channel, closed=closed)
        await self._confirm(channel, closed=closed)

    async def _send(self, channel: int, *, closed: bool) -> None:
        if self._thread is None:
            raise DeviceOffline(f"{self._name()} is not connected")
        report = switch_report(channel, closed=closed)
        with self._breaking():
            await self._thread.call(self._bus.set_feature, self._device, 0, report)

    async def _confirm(self, channel: int, *, closed: bool) -> None:
        """Read back what a relay is now, where the board tells that."""
        state = None
        with self._breaking():
            if self._tells and self._thread is not None:
                state = await self._look(self._thread, self._device)
        if state is not None and state.closed[channel - 1] != closed:
            raise DeviceFault(f"{self._name()} did not move relay {channel}: check `channels`, and the board")

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """End the link where it fails in here: nobody knows then what a command on its way did."""
        try:
            yield
        except DriverError as error:
            self._break(error)
            raise DeviceTimeout(f"the link broke while a command was on its way: {error}") from error

    def _rest(self, found: list[HidFound]) -> None:
        """Open every relay and give the board back, if it was found and is still there; runs in the thread."""
        for one in found:
            with contextlib.suppress(DriverError):
                for channel in range(1, self.channels + 1):
                    self._bus.set_feature(one.device, 0, switch_report(channel, closed=False))
            with contextlib.suppress(DriverError):
                self._bus.close(one.device)

    def _end_pulse(self, channel: int) -> None:
        task = asyncio.get_running_loop().create_task(self._open_again(channel))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _open_again(self, channel: int) -> None:
        # A relay that stays closed is opened at the start of the next connection, so a failure breaks this one.
        try:
            await self._switch(channel, closed=False)
        except DriverError as error:
            self._break(error)

    def _break(self, error: DriverError) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(error)

    def _require(self, channel: int) -> None:
        if not 1 <= channel <= self.channels:
            raise DeviceFault(f"there is no relay {channel} on {self._name()}: it has 1 to {self.channels}")
        if self._thread is None:
            raise DeviceOffline(f"{self._name()} is not connected")

    def _name(self) -> str:
        which = self._options.serial or self._options.usb_path
        return f"the USB relay board {which}".strip()
