"""Barcode and QR scanners on a serial line."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from drivers.api import Emit, Online
from drivers.codecs.scanner_line import ScannerLineDecoder
from drivers.options import Baud, Port
from drivers.scanners.scans import ScannerOptions, Scans
from drivers.transports import open_transport


class SerialScannerOptions(ScannerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scanner set up as a serial device (RS-232 or USB virtual COM port) that ends each code with CR, LF or both."""

    port: Port
    baud: Baud = 9600


class SerialScanner:
    """Serial barcode and QR scanner: one code a line, as text ended by CR, LF or both.

    Emits one `Reading` of technology `barcode` for each scan, with the symbology where the scanner tells it.
    """

    Options: ClassVar[type[msgspec.Struct]] = SerialScannerOptions

    def __init__(self, options: SerialScannerOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._scans = Scans(options, emit)
        self._decoder = self._new_decoder()

    async def run(self) -> None:
        """Read codes until cancelled; raises DriverError when the port cannot be opened or is gone."""
        self._decoder = self._new_decoder()
        try:
            async with await open_transport(self._options.port, self._on_bytes, baud=self._options.baud) as transport:
                await transport.forget_held()
                self._emit(Online())
                raise await transport.lost()
        finally:
            self._scans.close()

    def _on_bytes(self, data: bytes) -> None:
        self._decoder.receive_data(data)
        self._scans.take(self._decoder)

    def _new_decoder(self) -> ScannerLineDecoder:
        options = self._options
        return ScannerLineDecoder(prefix=options.prefix, suffix=options.suffix, aim=options.strip_aim)
