"""ESC/POS commands that go around the printed page: status, automatic status, drawer pulse, reset.

Sans-I/O: numbers in, bytes out. Sources: Epson's ESC/POS reference for `DLE EOT`, `DLE DC4`, `GS a` and `ESC p`; the
drawer timing is Citizen's (off time at least four times the on time).

Two properties of real-time commands (first byte `10`) shape everything here. A printer executes them as they arrive,
also while offline or busy, and also when the same bytes stand inside the data of another command: a picture that
happens to hold `10 14 01 00 01` opens the drawer (TM-T88III specification, DLE DC4, notes). And one sent in between the
bytes of another command spoils that command, so they go out between jobs only.
"""

from __future__ import annotations

import re
from typing import Literal

DrawerPin = Literal[2, 5]

INIT = bytes.fromhex("1B40")
ASCII_IS_ASCII = bytes.fromhex("1B5200")
"""International set USA: a printer switched to Germany prints `[` as `Ä` without it."""
CANCEL_KANJI = bytes.fromhex("1C2E")
"""Printers made for Asian markets read two bytes above 7F as one ideograph until told not to."""
ENABLE_ASB = bytes.fromhex("1D610F")
"""Automatic status back for drawer (01), online (02), error (04) and paper (08)."""
DISABLE_ASB = bytes.fromhex("1D6100")
STATUS_REQUESTS = (1, 2, 3, 4)
"""The `n` of `DLE EOT n`: printer, cause of offline, cause of error, paper."""

_PULSE_ON, _PULSE_OFF = 0x19, 0xFA
_REAL_TIME = re.compile(rb"\x10(?=[\x04\x05\x14])")


def status_request(n: int) -> bytes:
    """`DLE EOT n`: ask for status byte `n`, 1 to 4. Raises ValueError for any other."""
    if n not in STATUS_REQUESTS:
        raise ValueError(f"status request {n}: there are only 1, 2, 3 and 4")
    return bytes((0x10, 0x04, n))


def drawer_pulse(pin: int) -> bytes:
    """`ESC p`: 50 ms on, 500 ms off at connector pin 2 or 5, executed in its turn after what was sent before."""
    return bytes((0x1B, 0x70, _connector(pin), _PULSE_ON, _PULSE_OFF))


def real_time_drawer_pulse(pin: int, t: int = 1) -> bytes:
    """`DLE DC4 1 m t`: a pulse of `t` x 100 ms (1 to 8) that an offline printer executes too."""
    if not 1 <= t <= 8:
        raise ValueError(f"pulse of {t} x 100 ms: give 1 to 8")
    return bytes((0x10, 0x14, 0x01, _connector(pin), t))


def _connector(pin: int) -> int:
    if pin not in (2, 5):
        raise ValueError(f"drawer pin {pin}: a drawer connector has only pins 2 and 5")
    return 0 if pin == 2 else 1


def without_real_time(picture: bytes) -> bytes:
    """Raster data with one dot added wherever it would read as a real-time command (`10` becomes `11`)."""
    return _REAL_TIME.sub(b"\x11", picture)


def holds_real_time(data: bytes) -> bool:
    """Whether a printer would find a real-time command (DLE EOT, DLE ENQ or DLE DC4) somewhere in the data."""
    return _REAL_TIME.search(data) is not None
