"""A simulated ESC/POS receipt printer with paper, cover, drawer contact, status and a receipt folder.

Each cut makes `receipt-0001.png` and `receipt-0001.txt`. While paper is out, the cover open or an error stands, it is
offline: it takes bytes until its small buffer is full and then stops reading, but answers real-time commands at once.
"""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

from simulators.device import Command, CommandRefusedError, Device, Raw
from simulators.escpos import status
from simulators.escpos.commands import (
    PRINTER_COMMANDS,
    Cover,
    Drawer,
    Drop,
    Fault,
    Flush,
    Mute,
    Paper,
    PowerCycle,
    Refuse,
    Stall,
)
from simulators.escpos.parser import Parser
from simulators.escpos.press import Press
from simulators.escpos.realtime import RealTime, RealTimeScanner
from simulators.escpos.receipts import ReceiptFolder
from simulators.line import READ_BYTES, Line
from simulators.process import device_parser, run_device
from simulators.pty_line import PtyLine
from simulators.tcp_line import TcpLine, parse_address

BUFFER_BYTES = 4096
MAX_REMEMBERED = 50
IDENTITY = {1: b"\x20", 2: b"\x02", 65: b"_1.00\0", 66: b"_EPSON\0", 67: b"_TM-T88III\0", 68: b"_SIM0001\0"}


class EscposPrinter(Device):
    """The printer. Its commands are in `simulators.escpos.commands`."""

    kind: ClassVar[str] = "escpos_printer"
    commands: ClassVar[tuple[type[Command], ...]] = (*PRINTER_COMMANDS, Raw)

    def __init__(
        self, line: Line, receipts: Path, buffer_bytes: int = BUFFER_BYTES, *, drawer_open_is_high: bool = True
    ) -> None:
        super().__init__(line)
        self._sensors = status.Sensors(drawer_open_is_high=drawer_open_is_high)
        self._folder = ReceiptFolder(receipts)
        self._buffer_bytes = buffer_bytes
        self._buffer = bytearray()
        self._parser = Parser()
        self._scanner = RealTimeScanner()
        self._press = Press(self)
        self._asb = 0
        self._asb_sent: tuple[object, ...] = ()
        self._mute = False
        self._stalled = False
        self._stall_after: int | None = None
        self._drop_after: int | None = None
        self._paper_after: tuple[int, status.Paper] | None = None
        self._printed_lines = 0
        self._kick_count = 0
        self._kicks: deque[dict[str, Any]] = deque(maxlen=MAX_REMEMBERED)

    def state(self) -> dict[str, Any]:
        """Adds sensors, faults, counters, the last drawer kicks and the last receipts."""
        return {
            **super().state(),
            "paper": self._sensors.paper,
            "cover_open": self._sensors.cover_open,
            "drawer_open": self._sensors.drawer_open,
            "error": self._sensors.error,
            "online": self._sensors.online,
            "asb": self._asb,
            "mute": self._mute,
            "stalled": self._stalled,
            "buffered_bytes": len(self._buffer) + self._parser.pending_bytes,
            "printed_lines": self._printed_lines,
            "kick_count": self._kick_count,
            "kicks": list(self._kicks),
            "receipt_count": self._folder.count,
            "receipts": list(self._folder.last),
            "unknown_commands": list(self._press.unknown),
        }

    # From the control socket

    def do(self, command: Command) -> dict[str, Any] | None:
        """Carry out the printer's own commands and those of every device."""
        match command:
            case Paper(state=paper, after_lines=lines):
                self._paper_after = (lines, paper) if lines else None
                self._sensors.paper = self._sensors.paper if lines else paper
            case Cover(open=is_open):
                self._sensors.cover_open = is_open
            case Drawer(open=is_open):
                self._sensors.drawer_open = is_open
            case Fault(kind=kind):
                self._sensors.error = kind
            case Mute(on=on):
                self._mute = on
            case Stall(on=on, after_bytes=after):
                self._stalled, self._stall_after = on and not after, after if on else None
            case Drop(after_bytes=after):
                self._drop_after = after
            case _:
                return self._do_other(command)
        self._go_on()
        return None

    def _do_other(self, command: Command) -> dict[str, Any] | None:
        match command:
            case Refuse(on=on):
                self._refuse(on=on)
            case Flush():
                self._press.end_line()
                return {"flushed": self._end_receipt(cut=False)}
            case PowerCycle():
                self._power_cycle()
            case _:
                return super().do(command)
        return None

    def _refuse(self, *, on: bool) -> None:
        if not isinstance(self.line, TcpLine):
            raise CommandRefusedError("only a network printer can refuse connections; use `unplug` here")
        try:
            self.line.refuse(on=on)
        except OSError as error:
            raise CommandRefusedError(f"cannot listen again: {error}") from error

    def _power_cycle(self) -> None:
        """Forget everything but the paper, as the real one does when its plug is pulled."""
        self._forget_input()
        paper, self._press = self._press.paper, Press(self)
        self._press.paper = paper
        self._asb = 0
        self.line.cut()
        if not isinstance(self.line, TcpLine):
            self.line.plug()
        self._go_on()

    # From the line

    def opened(self) -> None:
        """A new network connection begins without automatic status, so whoever wants it must ask for it."""
        if self.line.opened and isinstance(self.line, TcpLine):
            self._asb = 0

    def receive(self, data: bytes) -> None:
        """Obey real-time commands at once, keep everything for its turn, and print what can be printed."""
        start = 0
        for end, command in self._scanner.feed(data):
            self._buffer += data[start:end]
            self._obey(command)
            start = end
        self._buffer += data[start:]
        self._go_on()
        self._count_down(len(data))

    def _obey(self, command: RealTime) -> None:
        match command.kind:
            case "status":
                self._send(status.real_time_status(self._sensors, command.n))
            case "pulse" if self._sensors.error == "none":
                self.kick(2 if command.n == 0 else 5, command.t * 100)
            case "enquiry" if command.n and self._sensors.error in status.RECOVERABLE:
                self._sensors.error = "none"
                if command.n == 2:
                    self._forget_input()
            case "clear":
                self._forget_input()

    def _go_on(self) -> None:
        """Tell of changed sensors, print as far as possible, and set how much is read next."""
        self._push_automatic_status()
        while self._sensors.online:
            self._parser.feed(bytes(self._buffer))
            self._buffer.clear()
            op = self._parser.next_op()
            if op is None:
                break
            self._press.execute(op)
        self._push_automatic_status()
        self._set_flow()
        self.changed()

    def _set_flow(self) -> None:
        room = self._buffer_bytes - len(self._buffer)
        faults = [after for after in (self._stall_after, self._drop_after) if after is not None]
        self.line.read_limit = max(1, min(READ_BYTES, room, *faults))
        if self._stalled or room <= 0:
            self.line.pause()
        else:
            self.line.resume()

    def _count_down(self, count: int) -> None:
        """Bring ordered faults nearer; reads are never longer than up to the next one."""
        if self._stall_after is not None:
            self._stall_after = self._stall_after - count or None
            self._stalled = self._stall_after is None
        if self._drop_after is not None:
            self._drop_after = self._drop_after - count or None
            if self._drop_after is None:
                self.line.cut()
        self._set_flow()
        self.changed()

    def _forget_input(self) -> None:
        self._buffer.clear()
        self._parser.clear()

    def _send(self, data: bytes) -> None:
        if not self._mute:
            self.line.write(data)

    def _push_automatic_status(self) -> None:
        now = status.reported(self._sensors, self._asb)
        if self._asb and now != self._asb_sent:
            self._send(status.automatic_status(self._sensors))
        self._asb_sent = now

    # From the print head

    def line_printed(self) -> None:
        """Count the line; the paper may have been told to end after it."""
        self._printed_lines += 1
        if self._paper_after is not None:
            lines, paper = self._paper_after
            self._paper_after = (lines - 1, paper) if lines > 1 else None
            if lines <= 1:
                self._sensors.paper = paper
        if self._press.paper.full:
            self._end_receipt(cut=False)

    def cut(self) -> None:
        """Cut off the receipt."""
        self._end_receipt(cut=True)

    def kick(self, pin: int, on_ms: int) -> None:
        """Open the drawer."""
        self._kick_count += 1
        self._kicks.append({"at": super().state()["at"], "pin": pin, "on_ms": on_ms})
        self._sensors.drawer_open = True
        self._push_automatic_status()
        self.changed()

    def answer(self, kind: str, data: bytes) -> None:
        """Answer a buffered command: it was executed, so everything before it has been printed."""
        match kind:
            case "asb":
                self._asb = data[0]
                # Enabling it sends the status once, whatever it is.
                self._asb_sent = ()
                self._push_automatic_status()
            case "process":
                self._send(b"\x37\x22" + data + b"\0")
            case "identity":
                self._send(IDENTITY.get(data[0] - 48 if data[0] in (49, 50) else data[0], b""))
            case _:
                paper = data[0] % 48 == 1
                self._send(bytes((status.paper_bits(self._sensors) if paper else self._sensors.pin3,)))

    def _end_receipt(self, *, cut: bool) -> int | None:
        if not self._press.paper.used:
            return None
        number = self._folder.add(self._press.paper.cut(), cut=cut)
        self.changed()
        return number


def main() -> None:
    """Run one printer on TCP or a pty."""
    parser = device_parser("escpos_printer", __doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", type=_address, metavar="HOST:PORT", help="listen there (port 0: a free one)")
    where.add_argument("--link", type=Path, metavar="PATH", help="symlink to make to the pty")
    parser.add_argument("--receipts", type=Path, required=True, metavar="DIR", help="folder for the receipts")
    parser.add_argument("--buffer-bytes", type=int, default=BUFFER_BYTES, metavar="N", help="receive buffer")
    parser.add_argument("--drawer-open-is-low", action="store_true", help="wire pin 3 the other way round")

    def make(options: argparse.Namespace) -> EscposPrinter:
        line = TcpLine(*options.tcp) if options.tcp else PtyLine(options.link)
        high = not options.drawer_open_is_low
        return EscposPrinter(line, options.receipts, options.buffer_bytes, drawer_open_is_high=high)

    run_device(parser, make)


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
