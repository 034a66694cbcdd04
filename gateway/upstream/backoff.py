"""How long to wait before the next attempt: longer each time, and never in step with other venues."""

from __future__ import annotations

from random import Random

FIRST_S = 0.5
LONGEST_S = 30.0
RETRY_AFTER_MAX_S = 300.0
"""However long upstream asks to be left alone, it is tried again after this."""


class Backoff:
    """Doubles from half a second to half a minute; each pause is a random half to whole of that."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next_s = FIRST_S

    def worked(self) -> None:
        """Begin anew after the next failure."""
        self._next_s = FIRST_S

    def pause_s(self, at_least_s: float = 0.0) -> float:
        """Return how long to wait now; `at_least_s` is what the other side asked for."""
        longest_s, self._next_s = self._next_s, min(LONGEST_S, self._next_s * 2)
        # A thousand venues come back from one outage at the same moment.
        return min(at_least_s, RETRY_AFTER_MAX_S) + longest_s * (0.5 + self._random.random() / 2)
