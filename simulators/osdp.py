"""Simulated OSDP readers (IEC 60839-11-5) on one bus, plain or with the secure channel.

Answers ID, CAP, POLL, LSTAT, LED, BUZ, TEXT and KEYSET, and opens the secure channel, for each address.
"""

from __future__ import annotations

import argparse
import secrets
from collections import deque
from typing import Any, ClassVar, Literal

from drivers.codecs import osdp
from drivers.codecs import osdp_messages as m
from drivers.codecs.osdp import Frame, OsdpDecoder, SecurityBlock
from drivers.codecs.osdp_secure import (
    CHALLENGE,
    CLIENT,
    CONFIRMED,
    DEFAULT_KEY,
    NONCE_BYTES,
    SERVER,
    Keys,
    SecureSession,
)
from simulators.device import Command, CommandRefusedError, Device, Raw, Silent, parse_hex
from simulators.line import Line
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine

MAX_QUEUED = 32
CARD_UID = bytes(8)
ROW_CHARACTERS = 16
LED_CONTROL, BUZZER, TEXT_OUTPUT = bytes([4, 4, 1]), bytes([5, 2, 1]), 6
"""Capabilities: function, how far it goes, how many."""
_IN_CLEAR = frozenset({m.ID, m.CAP, m.CHLNG, m.SCRYPT})
"""What a reader with a key answers outside of the secure channel."""


class Present(Command):
    """Hold a card to the reader with this address: its bits as text of 0 and 1."""

    address: int
    bits: str
    wiegand: bool = True


class Type(Command):
    """Press keys: digits, `*` and `#`."""

    address: int
    keys: str


class Tamper(Command):
    """Open the reader's housing, or close it."""

    address: int
    active: bool = True


class Away(Command):
    """While on, the reader is off the bus; when it comes back it has forgotten its session."""

    address: int
    on: bool = True


class Corrupt(Command):
    """Send this many of the next replies with a wrong check."""

    address: int
    replies: int = 1


class Reader:
    """One reader: what it was told, and what it has still to tell."""

    def __init__(
        self, address: int, key: bytes | None, *, factory_new: bool = False, display_rows: Literal[0, 1, 2, 4] = 0
    ) -> None:
        self.address = address
        self.display = [" " * ROW_CHARACTERS] * display_rows
        self.key = key
        self.factory_new = factory_new
        self.away = False
        self.corrupt = 0
        self.tampered = False
        self.lights: list[str] = []
        self.beeps: list[str] = []
        self.frames = 0
        self._events: deque[tuple[int, bytes]] = deque(maxlen=MAX_QUEUED)
        self.forget()

    def forget(self) -> None:
        """Begin again, as after a loss of power."""
        self._keys: Keys | None = None
        self._session: SecureSession | None = None
        self._last: tuple[int, bytes] | None = None
        self._sequence: int | None = None

    @property
    def secure(self) -> bool:
        """True while its secure channel is open."""
        return self._session is not None

    @property
    def seen(self) -> tuple[object, ...]:
        """What a test waits for a change of."""
        return self.secure, len(self.lights), len(self.beeps), *self.display

    def queue(self, code: int, data: bytes) -> None:
        """Tell this at the next poll."""
        self._events.append((code, data))

    def answer(self, frame: Frame) -> bytes | None:
        """The bytes of the reply to one command; a repeated command gets the same bytes again."""
        if self.away:
            return None
        self.frames += 1
        if self._last is not None and self._last[0] == frame.sequence != 0:
            return self._spoilt(self._last[1])
        if frame.sequence == 0:
            self.forget()
        elif self._sequence is None or frame.sequence != self._sequence % 3 + 1:
            return self._plain(frame, m.NAK, bytes([m.WRONG_SEQUENCE]))
        self._sequence = frame.sequence
        wire = self._reply(frame)
        self._last = (frame.sequence, wire)
        return self._spoilt(wire)

    def _spoilt(self, wire: bytes) -> bytes:
        if self.corrupt:
            self.corrupt -= 1
            return wire[:-1] + bytes([wire[-1] ^ 1])
        return wire

    def _reply(self, frame: Frame) -> bytes:
        if frame.block is not None and frame.block.kind in {CHALLENGE, SERVER}:
            return self._handshake(frame, frame.block.data)
        if self._session is None:
            if self.key is not None and frame.code not in _IN_CLEAR:
                return self._plain(frame, m.NAK, bytes([m.NEEDS_SECURITY]))
            return self._plain(frame, *self._carry_out(frame.code, frame.data))
        data = self._session.open(frame)
        if data is None:
            self.forget()
            return self._plain(frame, m.NAK, bytes([m.NO_SECURITY]))
        code, told = self._carry_out(frame.code, data)
        return self._session.seal(Frame(self.address, True, frame.sequence, code, told, crc=frame.crc))

    def _handshake(self, frame: Frame, which: bytes) -> bytes:
        key = self.key if which == b"\x01" else DEFAULT_KEY if self.factory_new else None
        if key is None:
            return self._plain(frame, m.NAK, bytes([m.NO_SECURITY]))
        if frame.code == m.CHLNG:
            nonce = secrets.token_bytes(NONCE_BYTES)
            self._keys = Keys(key, frame.data, nonce)
            return self._plain(frame, m.CCRYPT, CARD_UID + nonce + self._keys.client_cryptogram, CLIENT, which)
        if self._keys is None or frame.data != self._keys.server_cryptogram:
            return self._plain(frame, m.NAK, bytes([m.NO_SECURITY]))
        reply = self._plain(frame, m.RMAC_I, self._keys.first_mac, CONFIRMED, which)
        self._session = SecureSession(self._keys, panel=False)
        return reply

    def _plain(self, frame: Frame, code: int, data: bytes, kind: int | None = None, which: bytes = b"") -> bytes:
        block = None if kind is None else SecurityBlock(kind, which)
        return osdp.encode(Frame(self.address, True, frame.sequence, code, data, block, crc=frame.crc))

    def _carry_out(self, code: int, data: bytes) -> tuple[int, bytes]:
        match code:
            case m.ID:
                return m.PDID, bytes.fromhex("CAFE01") + bytes([1, 2]) + bytes(4) + bytes([1, 2, 3])
            case m.CAP:
                level = {0: 0, 1: 1, 2: 2, 4: 3}[len(self.display)]
                return m.PDCAP, LED_CONTROL + BUZZER + (bytes([TEXT_OUTPUT, level, 1]) if level else b"")
            case m.POLL:
                return self._events.popleft() if self._events else (m.ACK, b"")
            case m.LSTAT:
                return m.LSTATR, bytes([self.tampered, 0])
            case m.LED:
                self.lights.append(data.hex())
            case m.BUZ:
                self.beeps.append(data.hex())
            case m.TEXT if len(data) == 6 + data[5] and 1 <= data[3] <= len(self.display):
                self._write(data[3] - 1, data[4] - 1, data[6:].decode("ascii"))
            case m.KEYSET:
                self.key, self.factory_new = data[2:18], False
            case _:
                return m.NAK, b"\x03"
        return m.ACK, b""

    def _write(self, row: int, column: int, text: str) -> None:
        """Put a text on the display. How long it stays there is not simulated."""
        before = self.display[row]
        self.display[row] = (before[:column] + text + before[column + len(text) :])[:ROW_CHARACTERS]


class Osdp(Device):
    """A bus with the readers on it."""

    kind: ClassVar[str] = "osdp"
    commands: ClassVar[tuple[type[Command], ...]] = (Present, Type, Tamper, Away, Corrupt, Silent, Raw)

    def __init__(self, line: Line, readers: dict[int, Reader]) -> None:
        super().__init__(line)
        self._readers = readers
        self._silent = False
        self._decoder = OsdpDecoder()

    def state(self) -> dict[str, Any]:
        """Adds each reader by its address: secure channel or not, what it showed, sounded and wrote, frames it got."""
        shown = {
            str(address): {
                "secure": reader.secure,
                "lights": reader.lights[-8:],
                "beeps": reader.beeps[-8:],
                "display": [row.rstrip() for row in reader.display],
                "frames": reader.frames,
            }
            for address, reader in self._readers.items()
        }
        return {**super().state(), "readers": shown}

    def do(self, command: Command) -> dict[str, Any] | None:
        """`present`, `type`, `tamper`, `away`, `corrupt` and `silent` besides what every device can."""
        match command:
            case Present(address=address, bits=bits, wiegand=wiegand):
                self._reader(address).queue(m.RAW, _card(bits, wiegand=wiegand))
            case Type(address=address, keys=keys):
                data = keys.replace("*", "\x7f").replace("#", "\r").encode()
                self._reader(address).queue(m.KEYPAD, bytes([0, len(data)]) + data)
            case Tamper(address=address, active=active):
                self._reader(address).tampered = active
                self._reader(address).queue(m.LSTATR, bytes([active, 0]))
            case Away(address=address, on=on):
                self._reader(address).away = on
                self._reader(address).forget()
            case Corrupt(address=address, replies=replies):
                self._reader(address).corrupt = replies
            case Silent(on=on):
                self._silent = on
            case _:
                return super().do(command)
        return None

    def receive(self, data: bytes) -> None:
        """Answer what is addressed to a reader here."""
        if self._silent:
            return
        self._decoder.receive_data(data)
        for frame in self._decoder:
            reader = self._readers.get(frame.address) if isinstance(frame, Frame) and not frame.reply else None
            if reader is not None and isinstance(frame, Frame):
                before = reader.seen
                if (reply := reader.answer(frame)) is not None:
                    self.line.write(reply)
                if before != reader.seen:
                    self.changed()

    def _reader(self, address: int) -> Reader:
        if address not in self._readers:
            raise CommandRefusedError(f"there is no reader {address} on this bus")
        return self._readers[address]


def _card(bits: str, *, wiegand: bool) -> bytes:
    if not bits or len(bits) > 256 or set(bits) - {"0", "1"}:
        raise CommandRefusedError("`bits` must be 1 to 256 characters 0 and 1")
    whole = bits.ljust(-(-len(bits) // 8) * 8, "0")
    data = int(whole, 2).to_bytes(len(whole) // 8, "big")
    return bytes([0, wiegand]) + len(bits).to_bytes(2, "little") + data


def make_readers(
    addresses: list[int],
    key: str = "",
    security: Literal["none", "key", "new"] = "none",
    display_rows: Literal[0, 1, 2, 4] = 0,
) -> dict[int, Reader]:
    """Readers at `addresses`: without secure channel, with `key` (hex), or new from the factory."""
    secret, new = parse_hex(key) if security == "key" else None, security == "new"
    return {one: Reader(one, secret, factory_new=new, display_rows=display_rows) for one in addresses}


def main() -> None:
    """Run a bus of readers on a pty."""
    parser = device_parser("osdp", __doc__)
    add_link(parser)
    parser.add_argument("--address", type=int, action="append", help="an address; once for each reader (default: 0)")
    parser.add_argument("--key", default="", help="the readers' base key as 32 hex digits, for tests")
    parser.add_argument("--factory-new", action="store_true", help="the readers have the key from their factory")
    rows = "rows of 16 characters that each reader's display has"
    parser.add_argument("--display-rows", type=int, choices=(0, 1, 2, 4), default=0, help=rows)

    def make(options: argparse.Namespace) -> Osdp:
        security: Literal["none", "key", "new"] = "new" if options.factory_new else "key" if options.key else "none"
        readers = make_readers(options.address or [0], options.key, security, options.display_rows)
        return Osdp(PtyLine(options.link), readers)

    run_device(parser, make)


if __name__ == "__main__":
    main()
