"""The RDM6300 reader of EM4100 tags."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit, Online, Reading
from drivers.codecs.decoder import Refused
from drivers.codecs.rdm6300 import Rdm6300Decoder
from drivers.noise import NoiseReport
from drivers.options import Port
from drivers.repeats import RepeatFilter
from drivers.transports import open_transport


class Rdm6300Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An RDM6300 or a reader that speaks like one; its speed is always 9600 baud."""

    port: Port
    gone_after_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000,
            description="A tag counts as taken away when it was not read for this long; until then it is one tap.",
        ),
    ] = 300


class Rdm6300Reader:
    """RDM6300 serial RFID reader: EM4100 tags, 125 kHz, 14-byte frames at 9600 baud.

    Emits one `Reading` of technology `em4100` for each time a tag is held to it; `value` is the tag's number as ten
    upper-case hex digits.
    """

    Options: ClassVar[type[msgspec.Struct]] = Rdm6300Options

    def __init__(self, options: Rdm6300Options, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._repeats = RepeatFilter(options.gone_after_ms)
        self._noise = NoiseReport(emit)
        self._decoder = Rdm6300Decoder()

    async def run(self) -> None:
        """Read tags until cancelled; raises DriverError when the port cannot be opened or is gone."""
        self._decoder = Rdm6300Decoder()
        try:
            async with await open_transport(self._options.port, self._on_bytes) as transport:
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
            elif self._repeats.is_new(event.number, asyncio.get_running_loop().time()):
                self._emit(Reading("em4100", event.number))
