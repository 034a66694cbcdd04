"""A label printer that speaks TSPL2: TSC's own, and most of the cheap ones."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from drivers.api import Emit, PrinterStatus
from drivers.codecs import tspl
from drivers.codecs.label import Label, Stock
from drivers.printers.label import LabelOptions, LabelPrinter


class TsplOptions(LabelOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the YAML says of a TSPL printer."""


class TsplLanguage:
    """TSPL2 for the label driver: an answer to `ESC ! ?` is one byte."""

    status_request = tspl.STATUS_REQUEST
    cells = tspl.CELLS

    def is_plain(self, text: str) -> bool:
        """ASCII without quotes and backslashes."""
        return tspl.is_plain(text)

    def label(self, page: Label, stock: Stock) -> bytes:
        """One label as commands."""
        return tspl.label(page, stock)

    def receive(self, data: bytes) -> tuple[PrinterStatus | None, int]:
        """Take bytes; the last one is how the printer is now."""
        return tspl.status_of(tspl.StatusByte(data[-1])) if data else None, 0

    def forget(self) -> None:
        """Nothing is kept."""


class TsplPrinter(LabelPrinter):
    """TSPL2 label printer (TSC and alike) on the network, USB or serial: ESC ! ? status."""

    Options: ClassVar[type[msgspec.Struct]] = TsplOptions

    def __init__(self, options: TsplOptions, emit: Emit) -> None:
        super().__init__(options, emit, TsplLanguage())
