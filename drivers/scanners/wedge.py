"""Scanners that type what they read, as keyboards do."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit, Online
from drivers.codecs import wedge
from drivers.codecs.wedge import WedgeDecoder
from drivers.scanners.scans import ScannerOptions, Scans
from drivers.transports.keyboard import Keyboard, open_keyboard
from drivers.transports.usb_address import kind_of
from drivers.transports.usb_keyboard import UsbKeyboard, open_usb_keyboard


class WedgeOptions(ScannerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scanner set up as a keyboard (HID) that ends each code with Enter or Tab."""

    port: Annotated[
        str,
        Meta(
            pattern=r"^(/.+|usb://[0-9a-fA-F]{4}:[0-9a-fA-F]{4}(/[^/]+)?)$",
            description="Where the scanner is: usb://0c2e:0b61 with vendor and product as in lsusb, or with "
            "/SERIALNUMBER or /port=1-1.4 where there are several; for one that is not on USB its input device "
            "under /dev/venue (Bluetooth) or /dev/input/by-path.",
            examples=["usb://0c2e:0b61", "usb://0c2e:0b61/port=1-1.4", "/dev/venue/keyboard-00:1a:7d:da:71:13"],
        ),
    ]
    layout: Annotated[
        wedge.Layout, Meta(description="The keyboard layout the scanner is set to: us or de (German).")
    ] = "us"
    pause_ms: Annotated[
        int, Meta(ge=50, le=10_000, description="Keys further apart than this do not belong to one code.")
    ] = 1000

    def __post_init__(self) -> None:
        """Raise ValueError for an address that can never work."""
        if self.port.startswith("usb:") and kind_of(self.port) is None:
            raise ValueError(
                f"port: {self.port!r} is no USB address; write usb://VENDOR:PRODUCT, and /SERIALNUMBER or /port=1-1.4"
            )

    @property
    def usb_kind(self) -> tuple[int, int] | None:
        """Vendor and product of a scanner that is read over USB; None for one that the kernel reads."""
        return kind_of(self.port)


class WedgeScanner:
    """Keyboard-wedge scanner: on USB read in place of the kernel, elsewhere by evdev with keys that no console knows.

    Emits one `Reading` of technology `barcode` for each scan, with the symbology where the scanner tells it.
    """

    Options: ClassVar[type[msgspec.Struct]] = WedgeOptions

    def __init__(self, options: WedgeOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._scans = Scans(options, emit)
        self._decoder = self._new_decoder()

    async def run(self) -> None:
        """Read codes until cancelled; raises DriverError when the device cannot be taken for this alone, or is gone."""
        self._decoder = self._new_decoder()
        try:
            async with await self._open() as keyboard:
                self._emit(Online(keyboard.name))
                raise await keyboard.lost()
        finally:
            self._scans.close()

    async def _open(self) -> Keyboard | UsbKeyboard:
        if self._options.usb_kind is not None:
            return await open_usb_keyboard(self._options.port, self._on_key)
        return await open_keyboard(self._options.port, self._on_key, self._on_lost)

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
