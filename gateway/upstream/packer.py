"""Packs a backlog in a process of its own: `python -m gateway.upstream.packer JOURNAL VENUE`.

It writes an empty frame when it is ready, reads one line that says what is wanted, and writes packs one after the other
until it has come to the end of the journal; then it writes an empty frame and ends. A frame is its length in 4 bytes,
big-endian, and a pack in MessagePack. It waits while nobody reads, and ends when its reader does.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.upstream.packing import PACK_ROWS_MAX, PACK_ROWS_MIN, Packing, Wanted

LENGTH_BYTES = 4
NICENESS = 10
"""Taps come first, also where a core is shared."""
_OUTPUT = 1


class Order(msgspec.Struct, frozen=True):
    """What is wanted: all after `after_seq` but what is set `aside`, in the form for the sink."""

    after_seq: int
    aside: tuple[int, ...] = ()
    singly: bool = False


def framed(content: bytes) -> bytes:
    """Return a frame."""
    return len(content).to_bytes(LENGTH_BYTES) + content


def main() -> None:
    """Serve one order."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    packing = Packing(Path(sys.argv[1]), sys.argv[2], mapped=True)
    packing.source()
    _write(framed(b""))
    if not (line := sys.stdin.buffer.readline()):
        return
    order, line_is_free = msgspec.json.decode(line, type=Order), select.poll()
    line_is_free.register(_OUTPUT, select.POLLOUT)
    wanted = Wanted(PACK_ROWS_MAX, frozenset(order.aside), order.singly, lambda: bool(line_is_free.poll(0)))
    encoder, after_seq = msgspec.msgpack.Encoder(), order.after_seq
    while (pack := packing.pack(after_seq, wanted)) is not None:
        _write(framed(encoder.encode(pack)))
        if pack.through_seq < after_seq + PACK_ROWS_MIN:
            # This is the end; what is recorded from now on is gathered elsewhere.
            break
        after_seq = pack.through_seq
    _write(framed(b""))


def _write(content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(_OUTPUT, left) :]


if __name__ == "__main__":
    # The gateway has gone, or has no more use for this.
    with suppress(BrokenPipeError):
        main()
