"""The venue's time: the system's clock while that can be believed, else one that goes on by itself.

Two clocks are watched against each other: the one that tells the time and may be set, and the one that counts since the
machine started and never jumps. When they part by a second or more at once, somebody or something set the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

STEP_MS = 1_000
"""A change of the clock from one look to the next that is no correction in passing. NTP slews by less than 1 ms a s."""
STEPS_KEPT = 20


class SystemClock(Protocol):
    """The machine's clocks, from outside."""

    boot: str

    def wall_ms(self) -> int:
        """Return UTC milliseconds by the clock that can be set."""
        ...

    def elapsed_ms(self) -> int:
        """Return milliseconds since the machine started, sleep included; never set, never back."""
        ...

    def synchronised(self) -> bool:
        """Return True while the system says that NTP keeps its clock."""
        ...

    def has_battery(self) -> bool:
        """Return True where the time outlasts a power cut."""
        ...


class Step(msgspec.Struct, frozen=True):
    """The system's clock was set by `by_ms`; `followed` when the venue's time went with it."""

    by_ms: int
    followed: bool


class VenueClock:
    """Tells the time. `trusted` and `follows_steps` are set by whoever knows who vouches."""

    def __init__(self, system: SystemClock) -> None:
        """Begin by following the system's clock."""
        self.system = system
        self.trusted = True
        self.follows_steps = True
        self.last_known_only = False
        self.on_step: Callable[[Step], None] = lambda _: None
        self._apart_ms = system.wall_ms() - system.elapsed_ms()
        self._own_apart_ms: int | None = None
        self._known_apart_ms: int | None = None

    def now_ms(self) -> int:
        """Return the venue's time in UTC milliseconds. It may go back where the system's clock was set back."""
        elapsed_ms = self.system.elapsed_ms()
        apart_ms = self.system.wall_ms() - elapsed_ms
        by_ms, before_ms, self._apart_ms = apart_ms - self._apart_ms, self._apart_ms, apart_ms
        if abs(by_ms) >= STEP_MS:
            self._stepped(by_ms, before_ms)
        return elapsed_ms + self._offset_ms(self._apart_ms)

    @property
    def known_ms(self) -> int:
        """The last known time: the greatest of the journal and what passed since; 0 where there is none."""
        return 0 if self._known_apart_ms is None else self._known_apart_ms + self.system.elapsed_ms()

    @property
    def holds_own(self) -> bool:
        """True while the venue's time is its own and not the system's."""
        return self._own_apart_ms is not None

    @property
    def off_ms(self) -> int:
        """How far the system's clock is ahead of the venue's time."""
        return self.system.wall_ms() - self.now_ms()

    def know(self, journal_ms: int) -> None:
        """Take notice of the greatest time in the journal: it is that late already."""
        self._known_apart_ms = journal_ms - self.system.elapsed_ms() if journal_ms else None

    def follow_system(self) -> None:
        """Tell what the system's clock tells."""
        self._own_apart_ms = None

    def set(self, at_ms: int) -> None:
        """Take `at_ms` for the time now, whatever the system's clock says."""
        apart_ms = at_ms - self.system.elapsed_ms()
        self._own_apart_ms = None if abs(apart_ms - self._apart_ms) < STEP_MS else apart_ms

    def _offset_ms(self, apart_ms: int) -> int:
        if self._own_apart_ms is not None:
            return self._own_apart_ms
        if self.trusted or self._known_apart_ms is None:
            return apart_ms
        # It cannot be earlier than what the journal has seen; how much later it is, only a clock could say.
        return self._known_apart_ms if self.last_known_only else max(apart_ms, self._known_apart_ms)

    def _stepped(self, by_ms: int, before_ms: int) -> None:
        """The venue's time goes on by itself, unless the system says that NTP set the clock.

        Also where nobody vouches for it: a wrong time that is later would stand in the journal for good.
        """
        followed = self.follows_steps or self.system.synchronised()
        self._own_apart_ms = None if followed else self._offset_ms(before_ms)
        self.on_step(Step(by_ms, followed))
