"""Elatec TWN4 readers."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Colour, DeviceFault, DeviceOffline, DeviceTimeout, Emit, Online, Reading
from drivers.codecs import twn4
from drivers.codecs.decoder import Refused
from drivers.codecs.twn4 import Answer, Twn4Decoder
from drivers.noise import NoiseReport
from drivers.options import Baud, Port
from drivers.repeats import RepeatFilter
from drivers.transports import Transport, open_transport

ATTEMPTS = 3
MAX_WAITING = 8
LATE_S = 0.2
MAX_BEEPS = 10
VOLUME = 100
FREQUENCY_HZ = 2400
_LEDS: dict[str, int] = {
    "red": twn4.RED,
    "green": twn4.GREEN,
    "amber": twn4.YELLOW,
    # The nearest of its three lights.
    "blue": twn4.YELLOW,
    "white": twn4.ALL_LEDS,
}


class Twn4Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Elatec TWN4 with the Simple Protocol firmware, on USB (virtual COM port) or a serial line."""

    port: Port
    baud: Baud = 9600
    search_ms: Annotated[int, Meta(ge=0, le=1000, description="Pause between two searches for a tag.")] = 20
    gone_after_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000,
            description="A tag counts as taken away when it was not found for this long; until then it is one tap.",
        ),
    ] = 500
    answer_timeout_ms: Annotated[
        int, Meta(ge=50, le=5_000, description="How long the reader may take to answer one command.")
    ] = 1000


class Twn4Reader:
    """Elatec TWN4 RFID and NFC reader by its Simple Protocol: lines of hex digits.

    Emits one `Reading` for each time a tag is held to it; technology is `em4100`, `nfc` and so on by the tag's type,
    `value` its ID in hex. Takes `beep` and `light`.
    """

    Options: ClassVar[type[msgspec.Struct]] = Twn4Options

    def __init__(self, options: Twn4Options, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._repeats = RepeatFilter(options.gone_after_ms)
        self._noise = NoiseReport(emit)
        self._decoder = Twn4Decoder()
        self._line = asyncio.Lock()
        self._transport: Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._searching = False
        self._waiting = 0
        self._dark_at_s: float | None = None
        self._late_until_s = 0.0

    async def run(self) -> None:
        """Search tags until cancelled; raises DriverError when the port is gone or nothing answers on it."""
        options = self._options
        self._decoder = Twn4Decoder()
        try:
            async with await open_transport(options.port, self._on_bytes, baud=options.baud) as transport:
                transport.closed.add_done_callback(self._on_closed)
                # An answer that nobody fetched would be taken for the next one, and each one after for its next.
                await transport.forget_held()
                version = await self._greet(transport)
                self._transport = transport
                self._emit(Online(version))
                await self._search(transport)
        finally:
            self._transport = None
            self._noise.close()

    async def beep(self, count: int = 1, on_ms: int = 100, off_ms: int = 100) -> None:
        """Sound `count` times (at most 10); returns when the reader has taken the last command.

        Raises DeviceOffline, DeviceTimeout, or DeviceFault when it refused or too many commands wait.
        """
        for _ in range(min(count, MAX_BEEPS)):
            await self._order(twn4.beep(VOLUME, FREQUENCY_HZ, on_ms, off_ms))

    async def light(self, colour: Colour, on_ms: int = 1000) -> None:
        """Show `colour`, or the nearest that it has, for `on_ms` and then none; raises as `beep` does.

        Returns when the reader has taken the command. Another colour meanwhile takes the place of the first.
        """
        # The end of an earlier colour must not fall between this one and its own end.
        self._dark_at_s = None
        await self._order(twn4.led_off(twn4.ALL_LEDS))
        await self._order(twn4.led_on(_LEDS[colour]))
        self._dark_at_s = asyncio.get_running_loop().time() + on_ms / 1000

    async def _greet(self, transport: Transport) -> str:
        # An empty command first: it ends whatever half a line the reader still has from before.
        transport.write(b"\r")
        answer = await self._ask_patiently(transport, twn4.VERSION)
        version = twn4.read_version(answer)
        if version is None:
            raise DeviceFault(f"what answers on {self._options.port} is no TWN4 with the Simple Protocol firmware")
        await self._ask_patiently(transport, twn4.LED_INIT)
        return version

    async def _search(self, transport: Transport) -> None:
        while not transport.closed.done():
            await self._ask_patiently(transport, twn4.SEARCH_TAG)
            if self._dark_at_s is not None and asyncio.get_running_loop().time() >= self._dark_at_s:
                self._dark_at_s = None
                await self._ask_patiently(transport, twn4.led_off(twn4.ALL_LEDS))
            await asyncio.wait({transport.closed}, timeout=self._options.search_ms / 1000)
        raise await transport.lost()

    async def _ask_patiently(self, transport: Transport, command: bytes) -> Answer:
        for _ in range(ATTEMPTS):
            try:
                return await self._ask(transport, command)
            except DeviceTimeout:
                continue
        raise DeviceOffline(
            f"no TWN4 answers on {self._options.port}: check its power, its speed and that it has the firmware for the "
            "Simple Protocol"
        )

    async def _order(self, command: bytes) -> None:
        transport = self._transport
        if transport is None:
            raise DeviceOffline(f"the TWN4 on {self._options.port} is not connected")
        if self._waiting >= MAX_WAITING:
            raise DeviceFault(f"the TWN4 on {self._options.port} is busy: too many commands wait")
        self._waiting += 1
        try:
            answer = await self._ask(transport, command)
        finally:
            self._waiting -= 1
        if answer.error:
            raise DeviceFault(f"the TWN4 on {self._options.port} refused with error {answer.error}")

    async def _ask(self, transport: Transport, command: bytes) -> Answer:
        """Send one command when the line is free and return its answer."""
        loop = asyncio.get_running_loop()
        async with self._line:
            await asyncio.sleep(max(0.0, self._late_until_s - loop.time()))
            answer: asyncio.Future[Answer] = loop.create_future()
            self._answer, self._searching = answer, command == twn4.SEARCH_TAG
            try:
                transport.write(command)
                async with asyncio.timeout(self._options.answer_timeout_ms / 1000):
                    return await answer
            except TimeoutError as error:
                raise DeviceTimeout(f"no answer on {self._options.port} in time") from error
            finally:
                self._answer = None
                if answer.cancelled():
                    # Nobody waits for it any more, but it may still come; and answers carry no number, so that the
                    # next command would take it for its own, and each one after that the answer of the one before.
                    self._late_until_s = loop.time() + LATE_S

    def _on_closed(self, closed: asyncio.Future[DeviceOffline]) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(closed.result())

    def _on_bytes(self, data: bytes) -> None:
        self._decoder.receive_data(data)
        for event in self._decoder:
            if isinstance(event, Refused):
                self._noise.add(event.byte_count, event.why)
            elif self._answer is not None and not self._answer.done():
                self._answer.set_result(event)
                if self._searching:
                    self._found(event)

    def _found(self, answer: Answer) -> None:
        """Emit a tag inside the read itself: the guest waits for nothing that is not needed."""
        tag = twn4.read_tag(answer)
        if tag is not None and self._repeats.is_new(tag.number, asyncio.get_running_loop().time()):
            self._emit(Reading(tag.technology, tag.number))
