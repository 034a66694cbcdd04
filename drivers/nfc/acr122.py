"""Light and buzzer of an ACS ACR122U, whichever library carries the commands (ACR122U API 2.04, 6.2)."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from drivers.nfc import line

_TICKS_MAX, _TICK_MS = 0xFF, 100
_LIGHTS = {"green": 0x0E, "red": 0x0D, "amber": 0x0F}
"""Mask and state of both lights, which stay so until the next such command."""
_REST: Literal["green"] = "green"
"""What nfcpy leaves the lights at as well."""


def led_and_buzzer(wanted: line.Signal) -> bytes:
    """Return the ACR122U's command for a signal (API 2.04, 6.2): state, cycle times in 100 ms, count, buzzer link.

    The reader answers when the last cycle is over and sees no card until then, so only a beep, which is short, has any.
    """
    if wanted.what != "beep":
        return bytes([0xFF, 0x00, 0x40, _LIGHTS[wanted.what], 0x04, 0, 0, 0, 0])
    on, off = max(1, _ticks(wanted.duration_ms)), _ticks(wanted.off_ms)
    count = max(1, min(_TICKS_MAX, wanted.count))
    # The buzzer sounds during the first part of the cycle, and no light changes.
    return bytes([0xFF, 0x00, 0x40, 0x00, 0x04, on, off, count, 0x01])


def _ticks(duration_ms: int) -> int:
    return min(_TICKS_MAX, round(duration_ms / _TICK_MS))


class Signals:
    """What waits to be shown, and the light that has to go back to rest."""

    def __init__(
        self, waiting: deque[line.Signal], send: Callable[[bytes], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the queue, and how a command is sent; `now` gives seconds of a monotonic clock."""
        self._waiting, self._send, self._now = waiting, send, now
        self._rest_at = math.inf

    def show(self) -> None:
        """Show what waits, and end a light whose time is over; call it several times a second."""
        while self._waiting:
            wanted = self._waiting.popleft()
            self._send(led_and_buzzer(wanted))
            if wanted.what != "beep":
                self._rest_at = self._now() + wanted.duration_ms / 1000
        if self._now() >= self._rest_at:
            self._rest_at = math.inf
            self._send(led_and_buzzer(line.Signal(_REST, 0)))
