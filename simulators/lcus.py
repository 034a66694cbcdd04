"""A simulated LCUS serial relay board (9600 8N1).

A command is `A0 channel 00|01 sum`, the sum being that of the three bytes before it; there is no answer of any kind.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, ClassVar

from simulators.device import Command, Device, Raw, Silent
from simulators.line import Line
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine
from simulators.relays import Relays

START = 0xA0
FRAME_BYTES = 4


class Log(Command):
    """Answer with the last relay changes and their times."""


class Lcus(Device):
    """The board. Frames that are damaged, or name a channel it has not, are ignored and counted."""

    kind: ClassVar[str] = "lcus"
    commands: ClassVar[tuple[type[Command], ...]] = (Raw, Silent, Log)

    def __init__(self, line: Line, channels: int = 2, log_file: Path | None = None) -> None:
        super().__init__(line)
        self._relays = Relays(channels, log_file)
        self._buffer = bytearray()
        self._frames = 0
        self._ignored_bytes = 0
        self._silent = False

    def state(self) -> dict[str, Any]:
        """Adds `relays`, `frames` (good ones received), `ignored_bytes` and `silent`."""
        return {
            **super().state(),
            "relays": self._relays.state(),
            "frames": self._frames,
            "ignored_bytes": self._ignored_bytes,
            "silent": self._silent,
        }

    def do(self, command: Command) -> dict[str, Any] | None:
        """`silent` and `log` besides what every device can."""
        match command:
            case Silent(on=on):
                self._silent = on
                self.changed()
            case Log():
                return {"log": self._relays.log()}
            case _:
                return super().do(command)
        return None

    def receive(self, data: bytes) -> None:
        """Find frames in whatever arrives, byte by byte or all at once."""
        self._buffer += b"" if self._silent else data
        while len(self._buffer) >= FRAME_BYTES:
            self._take_frame()
        self.changed()

    def close(self) -> None:
        """Close the log and give back the line."""
        super().close()
        self._relays.close()

    def _take_frame(self) -> None:
        start, channel, action, checksum = self._buffer[:FRAME_BYTES]
        right = checksum == (start + channel + action) & 0xFF
        if start == START and right and action in (0, 1) and 1 <= channel <= len(self._relays):
            del self._buffer[:FRAME_BYTES]
            self._frames += 1
            self._relays.set(channel, on=action == 1)
        else:
            # One byte only: a frame may begin inside the noise.
            del self._buffer[0]
            self._ignored_bytes += 1


def main() -> None:
    """Run one board on a pty."""
    parser = device_parser("lcus", __doc__)
    add_link(parser)
    parser.add_argument(
        "--channels", type=int, choices=range(1, 17), default=2, metavar="N", help="relays (default: 2)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append each relay change as a line of JSON")

    def make(options: argparse.Namespace) -> Lcus:
        return Lcus(PtyLine(options.link), options.channels, options.log)

    run_device(parser, make)


if __name__ == "__main__":
    main()
