"""How many wrong requests of one client are answered, so that a babbling one costs the others little (I8, I9)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

ANSWERED_PER_S = 250
"""More wrong requests than this within a second are counted and not answered; right ones are served as ever."""
CLIENTS_MAX = 100
WINDOW_S = 1.0


class Patience:
    """Counts the wrong requests of each client within the present second."""

    def __init__(self, now_s: Callable[[], float], answered_per_s: int = ANSWERED_PER_S) -> None:
        """Measure by a clock that never goes back, in seconds."""
        self._now_s = now_s
        self._most = answered_per_s
        self._counted: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def is_left(self, client: str) -> bool:
        """Count one wrong request; True when it is to be answered."""
        now_s = self._now_s()
        began_s, count = self._counted.pop(client, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            began_s, count = now_s, 0
        self._counted[client] = began_s, count + 1
        if len(self._counted) > CLIENTS_MAX:
            self._counted.popitem(last=False)
        return count < self._most
