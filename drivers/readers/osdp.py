"""A reader on an OSDP bus."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from drivers.api import (
    DeviceFault,
    DeviceOffline,
    DeviceTimeout,
    Emit,
    Noise,
    Online,
    Reading,
    Tampered,
)
from drivers.codecs import osdp_messages as m
from drivers.codecs import wiegand
from drivers.codecs.osdp_panel import CameOnline, KeyInstalled, OrderDone, Panel, PanelEvent
from drivers.codecs.osdp_secure import KEY_BYTES
from drivers.keys import KeyFile, read_key
from drivers.reader_options import DeviceName, Technology
from drivers.readers.osdp_bus import OsdpBus, Seat

ORDER_TIMEOUT_S = 2.0
MAX_KEYS = 16
PATIENCE_S = 10.0


class OsdpReaderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reader on an OSDP bus."""

    bus: DeviceName
    address: Annotated[int, Meta(ge=0, le=126, description="The reader's address on the bus, as set in it.")] = 0
    key_file: KeyFile | None = None
    install_key: Annotated[
        bool,
        Meta(description="Give the key to a reader that still has its factory's; take this out once it has it."),
    ] = False
    check: Annotated[
        Literal["crc", "checksum"], Meta(description="How frames are checked; checksum for readers that know no CRC.")
    ] = "crc"
    technology: Technology = "wiegand"
    value: Annotated[
        wiegand.Value,
        Meta(description="The card as text: hex (D41B81), facility-number (212-7041) or number (7041)."),
    ] = "hex"
    keypad: Annotated[
        bool, Meta(description="Digits typed on the reader and ended by # are a reading of technology keypad.")
    ] = False

    def __post_init__(self) -> None:
        if self.install_key and self.key_file is None:
            raise ValueError("install_key needs the key: name its file as `key_file`")


class OsdpReader:
    """OSDP reader (IEC 60839-11-5) on a bus, with the secure channel where `key_file` is given.

    Emits one `Reading` for each card, `Tampered` when its housing is opened or closed, and takes `beep`, `light` and,
    where it says that it has a display, `show`.
    """

    Options: ClassVar[type[msgspec.Struct]] = OsdpReaderOptions

    def __init__(self, options: OsdpReaderOptions, emit: Emit, bus: OsdpBus) -> None:
        self._options = options
        self._emit = emit
        self._bus = bus
        self._seat: Seat | None = None
        self._known = ""
        self._orders: dict[int, asyncio.Future[OrderDone]] = {}
        self._typed = ""
        self._note = ""
        self._tampered = False
        self._rows_in_use = 0
        self.display_rows = 0

    async def run(self) -> None:
        """Serve until cancelled; raises DriverError when the bus or the reader is gone, or its key does not fit.

        While the reason is the same as the last time it waits for `PATIENCE_S` before it says so again: the bus looks
        for the reader meanwhile, sooner than a new connection would.
        """
        seat = Seat(self._panel(), self._heard, known=self._known)
        with self._bus.seated(seat):
            self._seat = seat
            try:
                await self._until_ended(seat)
            finally:
                self._seat, self.display_rows = None, 0
                self._fail_orders()

    async def _until_ended(self, seat: Seat) -> None:
        await asyncio.wait({seat.ended}, timeout=PATIENCE_S)
        if not seat.ended.done() and not seat.panel.online:
            raise DeviceOffline(self._known or f"OSDP reader {self._options.address} has not answered yet")
        await asyncio.wait({seat.ended})
        error = seat.ended.result()
        self._known = str(error)
        raise error

    async def beep(self, count: int = 1, on_ms: int = 100, off_ms: int = 100) -> None:
        """Sound the buzzer `count` times; durations are rounded up to 100 ms.

        Returns when the reader has acknowledged it. Raises DeviceOffline, DeviceTimeout, DeviceFault when it refused.
        """
        await self._order(m.BUZ, m.sound_buzzer(count, on_ms, off_ms))

    async def light(self, colour: m.Colour, on_ms: int = 1000) -> None:
        """Show `colour` for `on_ms`, rounded up to 100 ms, and then what was shown before; raises as `beep` does."""
        await self._order(m.LED, m.set_led(colour, on_ms))

    async def show(self, text: str, on_ms: int) -> None:
        """Show `text` for `on_ms`, rounded up to seconds, and then what was shown before; raises as `beep` does.

        It is written in ASCII, on as many rows of 16 characters as there are; what does not fit is left out.
        """
        rows = m.rows_of(text, self.display_rows)
        # Each row has a time of its own: one that the text before still uses must be emptied.
        stale = [""] * (self._rows_in_use - len(rows))
        self._rows_in_use = len(rows)
        for number, row in enumerate([*rows, *stale], start=1):
            await self._order(m.TEXT, m.show_row(number, row, on_ms))

    async def _order(self, code: int, data: bytes) -> None:
        seat = self._seat
        if seat is None or not seat.panel.online:
            raise DeviceOffline(f"OSDP reader {self._options.address} is not connected")
        token = seat.panel.order(code, data)
        if token is None:
            raise DeviceFault(f"OSDP reader {self._options.address} is busy: too many commands wait")
        done = self._orders[token] = asyncio.get_running_loop().create_future()
        self._bus.hurry()
        try:
            async with asyncio.timeout(ORDER_TIMEOUT_S):
                outcome = await done
        except TimeoutError as error:
            raise DeviceTimeout(f"OSDP reader {self._options.address} did not confirm in time") from error
        finally:
            self._orders.pop(token, None)
        if outcome.refusal is not None:
            raise DeviceFault(f"OSDP reader {self._options.address} refused: {outcome.refusal.meaning}")

    def _fail_orders(self) -> None:
        for done in self._orders.values():
            if not done.done():
                done.set_exception(DeviceOffline(f"OSDP reader {self._options.address} is gone"))

    def _panel(self) -> Panel:
        options = self._options
        key = None if options.key_file is None else read_key(options.key_file, KEY_BYTES)
        return Panel(
            options.address,
            secrets.token_bytes,
            key=key,
            install_key=options.install_key,
            crc=options.check == "crc",
        )

    def _heard(self, event: PanelEvent) -> None:
        match event:
            case CameOnline():
                self._known, self._typed = "", ""
                self.display_rows, self._rows_in_use = event.display_rows, 0
                self._emit(Online(_described(event, self._options) + self._note))
            case m.RawCard() | m.FormattedCard():
                self._read(event)
            case m.Keys():
                self._type(event.text)
            case m.LocalStatus():
                self._note_housing(event.tampered)
            case OrderDone():
                if (done := self._orders.get(event.token)) is not None and not done.done():
                    done.set_result(event)
            case KeyInstalled():
                self._note = "; it took the venue's key: take out `install_key` now"
            case _:
                pass

    def _note_housing(self, tampered: bool) -> None:
        if tampered != self._tampered:
            self._tampered = tampered
            self._emit(Tampered(tampered))

    def _read(self, event: m.RawCard | m.FormattedCard) -> None:
        options = self._options
        if isinstance(event, m.FormattedCard):
            self._emit(Reading(options.technology, event.text))
            return
        card = wiegand.read_frame(event.bits)
        if card is None and event.wiegand and len(event.bits) in wiegand.FORMATS:
            self._emit(Noise((len(event.bits) + 7) // 8, "a card with wrong parity"))
            return
        card = card or wiegand.read_data(event.bits)
        self._emit(Reading(options.technology, card.value(options.value)))

    def _type(self, keys: str) -> None:
        """Gather digits until #; * begins again, and so does a number that is too long."""
        if not self._options.keypad:
            return
        for key in keys:
            if key == "#" and self._typed:
                self._emit(Reading("keypad", self._typed))
            self._typed = "" if key in "*#" or len(self._typed) >= MAX_KEYS else self._typed + key


def _described(event: CameOnline, options: OsdpReaderOptions) -> str:
    identity = event.identity
    channel = "secure channel" if event.secure else "no secure channel"
    rows = {0: "", 1: ", 1 row of text"}.get(event.display_rows, f", {event.display_rows} rows of text")
    again = f"; it began again: {event.again}" if event.again else ""
    kept = f"; thrown away what it kept from before: {event.forgotten}" if event.forgotten else ""
    return f"address {options.address}, maker {identity.vendor}, model {identity.model}, {channel}{rows}{again}{kept}"
