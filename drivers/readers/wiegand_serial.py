"""Wiegand readers behind a bridge to a serial line."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit, Online, Reading
from drivers.codecs import wiegand
from drivers.codecs.decoder import Refused
from drivers.codecs.wiegand import FORMATS, MAX_BITS, Framing, WiegandDecoder
from drivers.noise import NoiseReport
from drivers.options import Baud, Port
from drivers.reader_options import Technology
from drivers.repeats import RepeatFilter
from drivers.transports import open_transport

HexBytes = Annotated[
    str,
    Meta(
        pattern="^([0-9A-Fa-f]{2}){0,8}$", extra={"expected": "up to eight pairs of hex digits in quotes, such as `02`"}
    ),
]


class WiegandSerialOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Wiegand reader behind a bridge; how the bridge writes a card is its maker's affair, so it is set here."""

    port: Port
    baud: Baud = 9600
    framing: Annotated[
        wiegand.Form,
        Meta(
            description="How the bridge writes a card: hex, decimal or bits as text in lines that end in CR, LF or "
            "both; binary as bytes."
        ),
    ] = "hex"
    bits: Annotated[
        int, Meta(ge=4, le=MAX_BITS, description="How many bits the bridge passes on: 26, 34 or 37 with parity bits.")
    ] = 26
    parity: Annotated[
        bool,
        Meta(description="Whether the first and last of these bits are parity bits: they are checked and taken off."),
    ] = True
    left_aligned: Annotated[
        bool, Meta(description="Whether the bits stand at the beginning of their bytes or digits, not at the end.")
    ] = False
    start: Annotated[HexBytes, Meta(description="Bytes before each card, as hex, such as 02.")] = ""
    end: Annotated[
        HexBytes, Meta(description="Bytes after each card, as hex; for text without the CR and LF of the line.")
    ] = ""
    value: Annotated[
        wiegand.Value,
        Meta(description="The card as text: hex (D41B81), facility-number (212-7041) or number (7041)."),
    ] = "hex"
    technology: Technology = "wiegand"
    repeat_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="The same card again within this time is still the same tap.")
    ] = 1000

    def __post_init__(self) -> None:
        if self.parity and self.bits not in FORMATS:
            raise ValueError("bits must be 26, 34 or 37, or set `parity: false`")

    @property
    def layout(self) -> Framing:
        """The framing as the codec takes it."""
        return Framing(
            form=self.framing,
            bits=self.bits,
            parity=self.parity,
            left_aligned=self.left_aligned,
            start=bytes.fromhex(self.start),
            end=bytes.fromhex(self.end),
        )


class WiegandSerialReader:
    """Wiegand reader behind a serial bridge: 26, 34 or 37 bits with parity, framed as configured.

    Emits one `Reading` for each card, inside the read that completes it.
    """

    Options: ClassVar[type[msgspec.Struct]] = WiegandSerialOptions

    def __init__(self, options: WiegandSerialOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._repeats = RepeatFilter(options.repeat_ms)
        self._noise = NoiseReport(emit)
        self._decoder = WiegandDecoder(options.layout)

    async def run(self) -> None:
        """Read cards until cancelled; raises DriverError when the port cannot be opened or is gone."""
        options = self._options
        self._decoder = WiegandDecoder(options.layout)
        try:
            async with await open_transport(options.port, self._on_bytes, baud=options.baud) as transport:
                await transport.forget_held()
                self._emit(Online())
                raise await transport.lost()
        finally:
            self._noise.close()

    def _on_bytes(self, data: bytes) -> None:
        self._decoder.receive_data(data)
        for event in self._decoder:
            if isinstance(event, Refused):
                self._noise.add(event.byte_count, event.why)
            else:
                self._read(event.value(self._options.value))

    def _read(self, value: str) -> None:
        if self._repeats.is_new(value, asyncio.get_running_loop().time()):
            self._emit(Reading(self._options.technology, value))
