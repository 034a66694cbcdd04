"""A simulated serial barcode and QR scanner: the code's text in UTF-8, then a terminator."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar, Literal

from simulators.device import Command, CommandRefusedError, Device, Raw
from simulators.line import Line
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine

TERMINATORS = {"cr": b"\r", "lf": b"\n", "crlf": b"\r\n"}
# ISO/IEC 15424: Code 39, Code 128, QR (model 2, ECI off), EAN-13.
AIM_IDENTIFIERS = {"code39": "]A0", "code128": "]C0", "qr": "]Q1", "ean13": "]E0"}
MAX_TEXT_CHARACTERS = 7089


class Scan(Command):
    """Read a code with this text, of this symbology."""

    text: str
    symbology: Literal["code39", "code128", "qr", "ean13"] = "qr"


class Scanner(Device):
    """The scanner; `aim` makes it put the AIM identifier before each code."""

    kind: ClassVar[str] = "scanner"
    commands: ClassVar[tuple[type[Command], ...]] = (Scan, Raw)

    def __init__(self, line: Line, terminator: str = "cr", *, aim: bool = False) -> None:
        super().__init__(line)
        self._terminator = terminator
        self._aim = aim
        self._scans = 0

    def state(self) -> dict[str, Any]:
        """Adds the settings and `scans`, the number of codes read."""
        return {**super().state(), "terminator": self._terminator, "aim": self._aim, "scans": self._scans}

    def do(self, command: Command) -> dict[str, Any] | None:
        """`scan` besides what every device can."""
        if not isinstance(command, Scan):
            return super().do(command)
        if len(command.text) > MAX_TEXT_CHARACTERS:
            raise CommandRefusedError(f"no code holds more than {MAX_TEXT_CHARACTERS} characters")
        prefix = AIM_IDENTIFIERS[command.symbology] if self._aim else ""
        self.line.write((prefix + command.text).encode() + TERMINATORS[self._terminator])
        self._scans += 1
        self.changed()
        return None


def main() -> None:
    """Run one scanner on a pty."""
    parser = device_parser("scanner", __doc__)
    add_link(parser)
    parser.add_argument("--terminator", choices=TERMINATORS, default="cr", help="what ends a code (default: cr)")
    parser.add_argument("--aim", action="store_true", help="put the AIM identifier before each code")

    def make(options: argparse.Namespace) -> Scanner:
        return Scanner(PtyLine(options.link), options.terminator, aim=options.aim)

    run_device(parser, make)


if __name__ == "__main__":
    main()
