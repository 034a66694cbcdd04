"""How often a password may be wrong: buckets that fill with failures and leak, with a bound on how many are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

TRIES = 5
"""Wrong passwords in a row that cost nothing but the typing."""
LEAK_S = 30.0
"""After that, one more try in this many seconds."""
KEPT_MAX = 2000


class Throttle:
    """Counts failures for each key, such as an address or a name."""

    def __init__(self, now_s: Callable[[], float], tries: int = TRIES, leak_s: float = LEAK_S) -> None:
        """Take a clock that only goes forward."""
        self._now_s = now_s
        self._tries = tries
        self._leak_s = leak_s
        self._full_until: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, *keys: str) -> float:
        """Return how long to wait until another try is taken; 0 when it is taken now."""
        return max(0.0, *(self._level_s(key) - (self._tries - 1) * self._leak_s for key in keys))

    def failed(self, *keys: str) -> None:
        """Count a failure, or a try under way that may become one."""
        now_s = self._now_s()
        for key in keys:
            self._full_until[key] = now_s + self._level_s(key) + self._leak_s
            self._full_until.move_to_end(key)
        while len(self._full_until) > KEPT_MAX:
            self._full_until.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        """Forget the failures of these keys."""
        for key in keys:
            self._full_until.pop(key, None)

    def _level_s(self, key: str) -> float:
        return max(0.0, self._full_until.get(key, 0.0) - self._now_s())
