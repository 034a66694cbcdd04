"""What scanners share, however their codes arrive: what the YAML says of a code, and when one is a new scan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from drivers.api import Emit, Reading
from drivers.codecs.decoder import Refused
from drivers.codecs.scanner_line import ScannedLine
from drivers.noise import NoiseReport
from drivers.repeats import RepeatFilter


class ScannerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is the same for every scanner."""

    prefix: Annotated[str, Meta(max_length=32, description="Characters the scanner puts before each code.")] = ""
    suffix: Annotated[
        str,
        Meta(max_length=32, description="Characters the scanner puts after each code, without what ends the line."),
    ] = ""
    strip_aim: Annotated[
        bool,
        Meta(description="Take an AIM identifier such as ]Q1 off the code; it says whether it was a QR code."),
    ] = True
    repeat_ms: Annotated[
        int,
        Meta(ge=0, le=60_000, description="The same code again within this time is still the same scan."),
    ] = 1000


class Scans:
    """Makes one reading of each scan, and counts what was none."""

    def __init__(self, options: ScannerOptions, emit: Emit) -> None:
        self._emit = emit
        self._repeats = RepeatFilter(options.repeat_ms)
        self._noise = NoiseReport(emit)

    def take(self, events: Iterable[ScannedLine | Refused]) -> None:
        """Emit what a decoder found, at once."""
        for event in events:
            if isinstance(event, Refused):
                self._noise.add(event.byte_count, event.why)
            elif self._repeats.is_new(event.text, asyncio.get_running_loop().time()):
                self._emit(Reading("barcode", event.text, event.symbology))

    def close(self) -> None:
        """Tell of the noise that was not told of yet."""
        self._noise.close()
