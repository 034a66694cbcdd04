"""What readers share whose library runs in a process of its own."""

from __future__ import annotations

from typing import Literal

from drivers.api import Colour, DeviceOffline, DriverFailed, Emit, Online, Reading
from drivers.nfc import line
from drivers.transports.fence import Fence


class FencedReader:
    """Starts the process, turns what it says into events, and sends it what the daemon wants shown."""

    def __init__(self, module: str, setup: line.Setup, emit: Emit) -> None:
        """Take the module that runs in the process, and what it is told first."""
        self._setup, self._emit = setup, emit
        silence_s = setup.options.hang_after_ms / 1000
        self._fence = Fence(module, setup.connect, line_bytes_max=line.LINE_BYTES_MAX, silence_s=silence_s)

    async def run(self) -> None:
        """Read cards until cancelled; raises DriverError when the device is gone or its process hung or crashed."""
        await self._fence.serve(line.encode(self._setup), self._on_line)

    async def beep(self, count: int, on_ms: int, off_ms: int) -> None:
        """Sound the buzzer, where the reader has one. Raises DeviceOffline while there is no open link."""
        self._fence.send(line.encode(line.Signal("beep", on_ms, off_ms, count)))

    async def light(self, colour: Colour, on_ms: int) -> None:
        """Show a light, where the reader has one. Raises DeviceOffline while there is no open link."""
        nearest: Literal["green", "red", "amber"] = "green"
        if colour in {"red", "amber"}:
            nearest = "red" if colour == "red" else "amber"
        self._fence.send(line.encode(line.Signal(nearest, on_ms)))

    def _on_line(self, received: bytes) -> None:
        try:
            message = line.decode_from_process(received)
        except (ValueError, RecursionError):
            why = f"{self._setup.connect}: its process said what nobody understands, and is started anew"
            raise DriverFailed(why, "crash") from None
        if isinstance(message, line.Seen):
            self._emit(
                Reading(
                    message.technology,
                    message.value,
                    symbology="ndef" if message.technology == "barcode" else "",
                    chip=message.chip,
                    text=message.text,
                    proven=message.proven,
                    counter=message.counter,
                )
            )
        elif isinstance(message, line.Ready):
            self._emit(Online(message.detail))
        elif isinstance(message, line.Trouble):
            raise DeviceOffline(message.why)
