"""Barcode and QR scanners on a serial line."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit, Online, Reading
from drivers.codecs.decoder import Refused
from drivers.codecs.scanner_line import ScannerLineDecoder
from drivers.noise import NoiseReport
from drivers.options import Baud, Port
from drivers.repeats import RepeatFilter
from drivers.transports import open_transport


class SerialScannerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scanner set up as a serial device (RS-232 or USB virtual COM port) that ends each code with CR, LF or both."""

    port: Port
    baud: Baud = 9600
    prefix: Annotated[str, Meta(max_length=32, description="Characters the scanner puts before each code.")] = ""
    suffix: Annotated[
        str, Meta(max_length=32, description="Characters the scanner puts after each code, without CR and LF.")
    ] = ""
    strip_aim: Annotated[
        bool,
        Meta(description="Take an AIM identifier such as ]Q1 off the code; it says whether it was a QR code."),
    ] = True
    repeat_ms: Annotated[
        int,
        Meta(ge=0, le=60_000, description="The same code again within this time is still the same scan."),
    ] = 1000


class SerialScanner:
    """Serial barcode and QR scanner: one code a line, as text ended by CR, LF or both.

    Emits one `Reading` of technology `barcode` for each scan, with the symbology where the scanner tells it.
    """

    Options: ClassVar[type[msgspec.Struct]] = SerialScannerOptions

    def __init__(self, options: SerialScannerOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._repeats = RepeatFilter(options.repeat_ms)
        self._noise = NoiseReport(emit)
        self._decoder = self._new_decoder()

    async def run(self) -> None:
        """Read codes until cancelled; raises DriverError when the port cannot be opened or is gone."""
        self._decoder = self._new_decoder()
        try:
            async with await open_transport(self._options.port, self._on_bytes, baud=self._options.baud) as transport:
                self._emit(Online())
                raise await transport.lost()
        finally:
            self._noise.close()

    def _on_bytes(self, data: bytes) -> None:
        self._decoder.receive_data(data)
        for event in self._decoder:
            if isinstance(event, Refused):
                self._noise.add(event.byte_count, event.why)
            elif self._repeats.is_new(event.text, asyncio.get_running_loop().time()):
                self._emit(Reading("barcode", event.text, event.symbology))

    def _new_decoder(self) -> ScannerLineDecoder:
        options = self._options
        return ScannerLineDecoder(prefix=options.prefix, suffix=options.suffix, aim=options.strip_aim)
