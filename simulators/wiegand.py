"""A simulated Wiegand reader behind a serial bridge, which writes each card once."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from drivers.codecs.wiegand import FORMATS, frame_of
from simulators.device import Command, CommandRefusedError, Device, Raw
from simulators.line import Line
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine

FORMS = ("hex", "decimal", "bits", "binary")


class Present(Command):
    """Hold a card to the reader: its bits without parity, as hex."""

    data: str


class Wiegand(Device):
    """The bridge; `form` and `bits` are how it writes a card, parity bits included."""

    kind: ClassVar[str] = "wiegand"
    commands: ClassVar[tuple[type[Command], ...]] = (Present, Raw)

    def __init__(self, line: Line, form: str = "hex", bits: int = 26) -> None:
        super().__init__(line)
        self._form = form
        self._bits = bits
        self._cards = 0

    def state(self) -> dict[str, Any]:
        """Adds the settings and `cards`, the number of cards written."""
        return {**super().state(), "form": self._form, "bits": self._bits, "cards": self._cards}

    def do(self, command: Command) -> dict[str, Any] | None:
        """`present` besides what every device can."""
        if not isinstance(command, Present):
            return super().do(command)
        self.line.write(written(command.data, self._form, self._bits))
        self._cards += 1
        self.changed()
        return None


def written(data: str, form: str, bits: int) -> bytes:
    """The bytes for a card of `data` (hex). Raises `CommandRefusedError` when it does not fit."""
    try:
        number = int(data, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << (bits - 2):
        raise CommandRefusedError(f"`data` must be hex of at most {bits - 2} bits")
    frame = frame_of(number, bits)
    whole = int(frame, 2)
    if form == "binary":
        return whole.to_bytes((bits + 7) // 8, "big")
    text = {"hex": f"{whole:X}", "decimal": str(whole), "bits": frame}[form]
    return text.encode() + b"\r\n"


def main() -> None:
    """Run one bridge on a pty."""
    parser = device_parser("wiegand", __doc__)
    add_link(parser)
    parser.add_argument("--form", choices=FORMS, default="hex", help="how a card is written (default: hex)")
    parser.add_argument("--bits", type=int, choices=list(FORMATS), default=26, help="bits with parity (default: 26)")

    def make(options: argparse.Namespace) -> Wiegand:
        return Wiegand(PtyLine(options.link), options.form, options.bits)

    run_device(parser, make)


if __name__ == "__main__":
    main()
