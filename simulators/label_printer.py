"""A simulated label printer, ZPL or TSPL, with labels, a head, a ribbon, a pause button and a folder of printed labels.

Each label makes `label-0001.png` and `label-0001.txt`. While it cannot print it keeps what comes, up to its buffer, and
then stops reading; it answers status requests all the while.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from simulators.device import Command, Device, Raw
from simulators.labels.tspl import TsplReader, status_byte
from simulators.labels.zpl import ZplReader, host_status
from simulators.line import READ_BYTES, Line
from simulators.process import device_parser, run_device
from simulators.pty_line import PtyLine
from simulators.tcp_line import TcpLine, parse_address

BUFFER_BYTES = 64 * 1024


class Labels(Command):
    """Load labels, or take the last one out."""

    out: bool


class Head(Command):
    """Open or close the print head."""

    open: bool


class Ribbon(Command):
    """Load ribbon, or let it run out."""

    out: bool


class Pause(Command):
    """Press the pause button."""

    on: bool = True


class Mute(Command):
    """While on, answer nothing."""

    on: bool = True


class Sensors(msgspec.Struct):
    """What the printer finds when it looks at itself."""

    paper_out: bool = False
    head_open: bool = False
    ribbon_out: bool = False
    paused: bool = False

    @property
    def ready(self) -> bool:
        """Whether it prints."""
        return not (self.paper_out or self.head_open or self.ribbon_out or self.paused)


class LabelPrinter(Device):
    """The printer."""

    kind: ClassVar[str] = "label_printer"
    commands: ClassVar[tuple[type[Command], ...]] = (Labels, Head, Ribbon, Pause, Mute, Raw)

    def __init__(self, line: Line, folder: Path, language: Literal["zpl", "tspl"], dpi: int = 203) -> None:
        super().__init__(line)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._language = language
        self._sensors = Sensors()
        self._mute = False
        self._reader: ZplReader | TsplReader = (
            ZplReader(self._status, self._answer) if language == "zpl" else TsplReader(self._status, self._answer, dpi)
        )
        numbers = (re.fullmatch(r"label-(\d+)\.png", entry.name) for entry in folder.iterdir())
        self._number = max((int(found[1]) for found in numbers if found), default=0)
        self._count = 0

    def state(self) -> dict[str, Any]:
        """Adds sensors, what waits, and what was printed."""
        return {
            **super().state(),
            **msgspec.structs.asdict(self._sensors),
            "language": self._language,
            "buffered_bytes": self._reader.pending_bytes,
            "label_count": self._count,
            "last_label": str(self._path(self._number)) if self._count else None,
            "setup": dict(self._reader.setup),
            "unknown_commands": sorted(self._reader.unknown),
        }

    def do(self, command: Command) -> dict[str, Any] | None:
        """Carry out the printer's own commands and those of every device."""
        match command:
            case Labels(out=out):
                self._sensors.paper_out = out
            case Head(open=is_open):
                self._sensors.head_open = is_open
            case Ribbon(out=out):
                self._sensors.ribbon_out = out
            case Pause(on=on):
                self._sensors.paused = on
            case Mute(on=on):
                self._mute = on
            case _:
                return super().do(command)
        self._go_on()
        return None

    def receive(self, data: bytes) -> None:
        """Answer status requests, and print what is complete."""
        self._reader.obey(data)
        self._go_on()

    def _go_on(self) -> None:
        while self._sensors.ready and (label := self._reader.next_label()) is not None:
            self._number += 1
            self._count += 1
            label.save(self._path(self._number))
        room = BUFFER_BYTES - self._reader.pending_bytes if not self._sensors.ready else READ_BYTES
        self.line.read_limit = max(1, min(READ_BYTES, room))
        if room <= 0:
            self.line.pause()
        else:
            self.line.resume()
        self.changed()

    def _path(self, number: int) -> Path:
        return self._folder / f"label-{number:04d}.png"

    def _status(self) -> bytes:
        flags = msgspec.structs.asdict(self._sensors)
        return host_status(**flags, waiting=0) if self._language == "zpl" else status_byte(**flags)

    def _answer(self, data: bytes) -> None:
        if not self._mute:
            self.line.write(data)


def main() -> None:
    """Run one printer on TCP or a pty."""
    parser = device_parser("label_printer", __doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", type=_address, metavar="HOST:PORT", help="listen there (port 0: a free one)")
    where.add_argument("--link", type=Path, metavar="PATH", help="symlink to make to the pty")
    parser.add_argument("--receipts", type=Path, required=True, metavar="DIR", help="folder for the labels")
    parser.add_argument("--language", choices=("zpl", "tspl"), default="zpl", help="what it understands")
    parser.add_argument("--dpi", type=int, default=203, help="dots an inch, to which TSPL's millimetres are turned")

    def make(options: argparse.Namespace) -> LabelPrinter:
        line = TcpLine(*options.tcp) if options.tcp else PtyLine(options.link)
        return LabelPrinter(line, options.receipts, options.language, options.dpi)

    run_device(parser, make)


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
