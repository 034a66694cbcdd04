"""A label printer that speaks ZPL II: Zebra's own, and the many that emulate them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from drivers.api import Emit, PrinterStatus
from drivers.codecs import zpl
from drivers.codecs.label import Label, Stock
from drivers.printers.label import LabelOptions, LabelPrinter


class ZplOptions(LabelOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the YAML says of a ZPL printer."""


class ZplLanguage:
    """ZPL II for the label driver: an answer to `~HS` is three lines, of which the first two tell."""

    status_request = zpl.STATUS_REQUEST
    cells = zpl.CELLS

    def __init__(self) -> None:
        self._decoder = zpl.HostStatusDecoder()
        self._lines: list[zpl.HostStatus] = []

    def is_plain(self, text: str) -> bool:
        """ASCII as far as the bitmap fonts have it."""
        return zpl.is_plain(text)

    def label(self, page: Label, stock: Stock) -> bytes:
        """One label as commands."""
        return zpl.label(page, stock)

    def receive(self, data: bytes) -> tuple[PrinterStatus | None, int]:
        """Take bytes; a status when the third line is there."""
        self._decoder.receive_data(data)
        status, refused = None, 0
        for event in self._decoder:
            if not isinstance(event, zpl.HostStatus):
                refused += event.byte_count
                continue
            self._lines.append(event)
            if len(self._lines) == 3:
                status = zpl.status_of(self._lines)
                self._lines.clear()
        return status, refused

    def forget(self) -> None:
        """Begin with the first line again."""
        self._decoder = zpl.HostStatusDecoder()
        self._lines.clear()


class ZplPrinter(LabelPrinter):
    """ZPL II label printer (Zebra and alike) on the network, USB or serial: ~HS status."""

    Options: ClassVar[type[msgspec.Struct]] = ZplOptions

    def __init__(self, options: ZplOptions, emit: Emit) -> None:
        super().__init__(options, emit, ZplLanguage())
