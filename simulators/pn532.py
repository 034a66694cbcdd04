"""A simulated PN532 reader on a serial line (NXP UM0701-02), with simulated cards to hold to it.

It knows what a reading host needs: the version, registers, the field, finding a card (InListPassiveTarget) and speaking
to it (InCommunicateThru). `hang` makes it deaf in the middle of its work, as a chip that lost its clock.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar

from simulators.cards.card import Card, FelicaCard
from simulators.cards.specimens import Specimen, make
from simulators.device import Command, CommandRefusedError, Device, Raw, Silent
from simulators.line import Line
from simulators.pn532_frames import ACK, Inbox, frame
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine

VERSION = bytes.fromhex("32010607")
FIFO_DATA, RX_MODE = 0x6339, 0x6303
_CRC_CHECKED = 0x80
_NO_ANSWER = b"\x01"
_SYNTAX_ERROR = bytes.fromhex("0000FF01FF7F8100")
MAX_TAP_MS = 3_600_000


class Hold(Command):
    """Hold a card to the reader until `release`."""

    card: Specimen


class Release(Command):
    """Take the card away."""


class Tap(Command):
    """Hold a card for `ms` milliseconds."""

    card: Specimen
    ms: int = 500


def crc_a(data: bytes) -> bytes:
    """The checksum of ISO/IEC 14443-3 type A, lowest byte first."""
    crc = 0x6363
    for byte in data:
        low = (byte ^ crc) & 0xFF
        low = (low ^ (low << 4)) & 0xFF
        crc = (crc >> 8) ^ (low << 8) ^ (low << 3) ^ (low >> 4)
    return (crc & 0xFFFF).to_bytes(2, "little")


class Pn532(Device):
    """The chip. `found` counts how often a card was found, `exchanges` what was said to one."""

    kind: ClassVar[str] = "pn532"
    commands: ClassVar[tuple[type[Command], ...]] = (Hold, Release, Tap, Silent, Raw)

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self._inbox = Inbox()
        self._card: Card | None = None
        self._registers: dict[int, int] = {}
        self._deaf = False
        self._found = self._exchanges = 0
        self._held_at: float | None = None
        self._end: asyncio.TimerHandle | None = None
        self._answers: dict[int, Callable[[bytes], bytes]] = {
            0x00: lambda data: data,
            0x02: lambda _: VERSION,
            0x06: self._read_registers,
            0x08: self._write_registers,
            0x10: lambda _: b"",
            0x12: lambda _: b"",
            0x14: lambda _: b"",
            0x16: lambda _: b"\x00",
            0x32: self._configure_field,
            0x42: self._exchange,
            0x4A: self._list_targets,
            0x52: lambda _: b"\x00",
        }

    def state(self) -> dict[str, Any]:
        """Adds `held`, `held_at`, `found`, `exchanges` and `deaf`."""
        return {
            **super().state(),
            "held": self._card is not None,
            "held_at": self._held_at,
            "found": self._found,
            "exchanges": self._exchanges,
            "deaf": self._deaf,
        }

    def do(self, command: Command) -> dict[str, Any] | None:
        """`hold`, `release`, `tap` and `silent` besides what every device can."""
        match command:
            case Hold(card=one):
                self._hold(one)
            case Tap(card=one, ms=ms):
                if not 0 < ms <= MAX_TAP_MS:
                    raise CommandRefusedError(f"`ms` must be from 1 to {MAX_TAP_MS}")
                self._hold(one)
                self._end = asyncio.get_running_loop().call_later(ms / 1000, self._release)
            case Release():
                self._release()
            case Silent(on=on):
                self._deaf = on
                self.changed()
            case _:
                return super().do(command)
        return None

    def present(self, card: Card | None) -> None:
        """Put a card into the field, or none."""
        self._stop_timer()
        self._card = card
        self._held_at = time.monotonic() if card is not None else None
        self.changed()

    def receive(self, data: bytes) -> None:
        """Acknowledge and answer each command."""
        for command in self._inbox.take(data):
            if self._deaf or not command:
                continue
            answer = self._answers.get(command[0])
            if answer is None:
                self.line.write(ACK + _SYNTAX_ERROR)
            else:
                self.line.write(ACK + frame(bytes([command[0] + 1]) + answer(command[1:])))

    def close(self) -> None:
        """Give back the line."""
        self._stop_timer()
        super().close()

    def _hold(self, one: Specimen) -> None:
        try:
            self.present(make(one))
        except ValueError as error:
            raise CommandRefusedError(str(error)) from error

    def _release(self) -> None:
        self.present(None)

    def _stop_timer(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    # The chip's commands.

    def _read_registers(self, data: bytes) -> bytes:
        names = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
        # The last SENS_REQ still lies in the FIFO where nobody answered it.
        return bytes(0x26 if name == FIFO_DATA else self._registers.get(name, 0) for name in names)

    def _write_registers(self, data: bytes) -> bytes:
        for at in range(0, len(data) - 2, 3):
            self._registers[int.from_bytes(data[at : at + 2], "big")] = data[at + 2]
        return b""

    def _configure_field(self, data: bytes) -> bytes:
        if data[:1] == b"\x01" and self._card is not None:
            self._card.select()
        return b""

    def _list_targets(self, data: bytes) -> bytes:
        card = self._card
        if card is None or len(data) < 2:
            return b"\x00"
        felica = isinstance(card, FelicaCard)
        if data[1] == 0x01 and felica:
            self._found += 1
            return b"\x01\x01\x14\x01" + card.uid + bytes(8) + b"\x00\x03"
        if data[1] != 0x00 or felica or not _is_meant(card.uid, data[2:]):
            return b"\x00"
        self._found += 1
        self._registers[RX_MODE] = self._registers.get(RX_MODE, 0) | _CRC_CHECKED
        card.select()
        return b"\x01\x01" + card.sens_res[::-1] + bytes([card.sak, len(card.uid)]) + card.uid

    def _exchange(self, data: bytes) -> bytes:
        self._exchanges += 1
        answer = self._card.exchange(data) if self._card is not None else None
        if answer is None:
            return _NO_ANSWER
        # Where the chip does not check it the checksum comes along; a refusal of four bits has none.
        checked = self._registers.get(RX_MODE, 0) & _CRC_CHECKED
        return b"\x00" + (answer if checked or len(answer) == 1 else answer + crc_a(answer))


def _is_meant(uid: bytes, wanted: bytes) -> bool:
    """Whether a card with `uid` answers a search for `wanted`, which has a cascade tag 88 before longer numbers."""
    return not wanted or wanted.replace(b"\x88", b"", 1) == uid or wanted == uid


def main() -> None:
    """Run one reader on a pty."""
    parser = device_parser("pn532", __doc__)
    add_link(parser)

    def make_device(options: argparse.Namespace) -> Pn532:
        return Pn532(PtyLine(options.link))

    run_device(parser, make_device)


if __name__ == "__main__":
    main()
