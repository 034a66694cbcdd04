"""What an ESC/POS printer sends back: `DLE EOT` replies and automatic status blocks (ASB), told apart and decoded.

Sans-I/O: `StatusDecoder` takes bytes as they come and gives events; `with_reply` and `from_block` turn those into a
`PrinterStatus`. Source: Epson's ESC/POS reference. A `DLE EOT` reply is one byte `0xx1xx10`; an ASB block is four
bytes, the first `0xx1xx00`, the others with bits 4 and 7 clear, so that no byte of a block is taken for a reply.
"""

from __future__ import annotations

from collections import deque

import msgspec

from drivers.api import Noise, PrinterStatus

MAX_PENDING = 32
"""Status requests that may wait for their reply at once; a printer that owes more has stopped answering."""
LIMIT_BYTES = 4096
"""More at once is babble, and reading it byte by byte would hold up everyone else."""
BLOCK_BYTES = 4
UNNAMED_ERROR = "error"
_FLOW_CONTROL = (0x11, 0x13)


class Reply(msgspec.Struct, frozen=True):
    """The status byte a printer sent for `DLE EOT request`."""

    request: int
    value: int


class StatusBlock(msgspec.Struct, frozen=True):
    """One automatic status of four bytes."""

    data: bytes


StatusEvent = Reply | StatusBlock | Noise


class StatusDecoder:
    """Splits a printer's return channel into replies and blocks.

    A reply does not say which request it answers, so `asked()` is told every request in the order sent. XON and XOFF
    of a serial line are passed over, also inside a block. Anything else becomes `Noise`, and decoding goes on with the
    next byte that can start something. Holds at most three bytes.
    """

    def __init__(self) -> None:
        self._block = bytearray()
        self._asked: deque[int] = deque()

    @property
    def pending(self) -> int:
        """How many requests have no reply yet."""
        return len(self._asked)

    def asked(self, n: int) -> None:
        """Note that `DLE EOT n` was sent. Raises OverflowError when `MAX_PENDING` replies are outstanding."""
        if len(self._asked) >= MAX_PENDING:
            raise OverflowError(f"{MAX_PENDING} status requests have no answer; call forget() first")
        self._asked.append(n)

    def forget(self) -> None:
        """Expect no more replies: what was asked was not answered in time."""
        self._asked.clear()

    def receive(self, data: bytes) -> list[StatusEvent]:
        """Every event the bytes complete, in order. Of more than `LIMIT_BYTES` at once only the newest are read."""
        events: list[StatusEvent] = []
        if (surplus := len(data) - LIMIT_BYTES) > 0:
            events += [*self._drop_block(), Noise(surplus, "more at once than a printer ever says")]
            data = data[surplus:]
        events += [event for byte in data if byte not in _FLOW_CONTROL for event in self._byte(byte)]
        return events

    def _byte(self, byte: int) -> list[StatusEvent]:
        if self._block and not byte & 0x90:
            return self._continue_block(byte)
        events: list[StatusEvent] = self._drop_block()
        if byte & 0x93 == 0x10:
            self._block.append(byte)
        elif byte & 0x93 == 0x12 and self._asked:
            events.append(Reply(self._asked.popleft(), byte))
        elif byte & 0x93 == 0x12:
            events.append(Noise(1, "a status reply that nobody asked for"))
        else:
            events.append(Noise(1, "neither a status reply nor an automatic status"))
        return events

    def _continue_block(self, byte: int) -> list[StatusEvent]:
        self._block.append(byte)
        if len(self._block) < BLOCK_BYTES:
            return []
        data = bytes(self._block)
        self._block.clear()
        return [StatusBlock(data)]

    def _drop_block(self) -> list[StatusEvent]:
        if not self._block:
            return []
        count = len(self._block)
        self._block.clear()
        return [Noise(count, "an automatic status that broke off")]


def with_reply(status: PrinterStatus, reply: Reply) -> PrinterStatus:
    """The status after one more `DLE EOT` reply; 3, asked after 2, names the error that 2 only mentions."""
    value = reply.value
    match reply.request:
        case 1:
            return _changed(status, online=not value & 0x08, drawer_pin_high=bool(value & 0x04))
        case 2:
            return _changed(status, cover_open=bool(value & 0x04), error=UNNAMED_ERROR if value & 0x40 else None)
        case 3:
            unnamed = UNNAMED_ERROR if status.error == UNNAMED_ERROR else None
            return _changed(status, error=_error(value) or unnamed)
        case 4:
            return _changed(status, paper_out=bool(value & 0x60), paper_low=bool(value & 0x0C))
    return status


def from_block(block: StatusBlock) -> PrinterStatus:
    """The whole status an automatic status block says."""
    printer, errors, paper, _reserved = block.data
    return PrinterStatus(
        online=not printer & 0x08,
        cover_open=bool(printer & 0x20),
        paper_out=bool(paper & 0x0C),
        paper_low=bool(paper & 0x03),
        error=_error(errors & 0x68),
        drawer_pin_high=bool(printer & 0x04),
    )


def _error(value: int) -> str | None:
    """The words for an error byte; replies to `DLE EOT 3` and the second byte of a block share their bits."""
    words = {0x08: "cutter jammed", 0x20: "needs service", 0x04: "mechanical error", 0x40: "waiting to recover"}
    return next((word for bit, word in words.items() if value & bit), None)


def _changed(status: PrinterStatus, **fields: bool | str | None) -> PrinterStatus:
    return msgspec.structs.replace(status, **fields)
