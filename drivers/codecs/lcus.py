"""LCUS serial relay boards (LCUS-1, -2, -4, -8; a CH340 with a microcontroller), 9600 8N1.

A command is `A0`, the channel, `01` to close or `00` to open the relay, and the low byte of their sum. The board
answers nothing and reports nothing: `A0 01 01 A2` closes relay 1, `A0 01 00 A1` opens it.
"""

from __future__ import annotations

_START = 0xA0


def encode_switch(channel: int, *, closed: bool) -> bytes:
    """Return the four bytes that close or open relay `channel`, 1 to 254; raises ValueError for another channel."""
    if not 1 <= channel <= 254:
        raise ValueError("LCUS channels count from 1 to 254")
    body = (_START, channel, int(closed))
    return bytes((*body, sum(body) & 0xFF))
