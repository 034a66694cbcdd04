"""Scanners that type what they read, as keyboards do."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit, Online
from drivers.codecs import wedge
from drivers.codecs.wedge import WedgeDecoder
from drivers.scanners.scans import ScannerOptions, Scans
from drivers.transports.keyboard import open_keyboard


class WedgeOptions(ScannerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scanner set up as a keyboard (HID) that ends each code with Enter or Tab."""

    port: Annotated[
        str,
        Meta(
            pattern="^/.+",
            description="The scanner's input device: its lasting name under /dev/input/by-id, ending in -event-kbd.",
            examples=["/dev/input/by-id/usb-Honeywell_3320G-event-kbd"],
        ),
    ]
    layout: Annotated[
        wedge.Layout, Meta(description="The keyboard layout the scanner is set to: us or de (German).")
    ] = "us"
    pause_ms: Annotated[
        int, Meta(ge=50, le=10_000, description="Keys further apart than this do not belong to one code.")
    ] = 1000


class WedgeScanner:
    """Keyboard-wedge scanner (USB HID by evdev), grabbed: while this runs, what it types reaches no console.

    Emits one `Reading` of technology `barcode` for each scan, with the symbology where the scanner tells it.
    """

    Options: ClassVar[type[msgspec.Struct]] = WedgeOptions

    def __init__(self, options: WedgeOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._scans = Scans(options, emit)
        self._decoder = self._new_decoder()

    async def run(self) -> None:
        """Read codes until cancelled; raises DriverError when the device cannot be opened and grabbed, or is gone."""
        self._decoder = self._new_decoder()
        try:
            async with await open_keyboard(self._options.port, self._on_key, self._on_lost) as keyboard:
                self._emit(Online(keyboard.name))
                raise await keyboard.lost()
        finally:
            self._scans.close()

    def _on_key(self, code: int, value: int, at_s: float) -> None:
        self._scans.take(self._decoder.key(code, value, at_s))

    def _on_lost(self) -> None:
        self._scans.take(self._decoder.lost())

    def _new_decoder(self) -> WedgeDecoder:
        options = self._options
        return WedgeDecoder(
            options.layout,
            prefix=options.prefix,
            suffix=options.suffix,
            aim=options.strip_aim,
            pause_s=options.pause_ms / 1000,
        )
