"""The machine's clocks: one that can be set and loses the time with the power, and one that counts since the start."""

from __future__ import annotations

from random import Random

from tests.simulation.timeline import Timeline

HOUR_MS = 3_600_000
JUMPS_MS = (-HOUR_MS, HOUR_MS)


class MachineClock:
    """A PC with a battery, or a Pi without one, whose clock after a power cut is what it was, or hours before that."""

    def __init__(self, timeline: Timeline, random: Random, *, battery: bool) -> None:
        self.timeline = timeline
        self.random = random
        self.battery = battery
        self.off_ms = 0
        self.ntp = not battery and random.random() < 0.5
        self.boots = 1
        self.boot = "boot-1"
        self._booted_ms = timeline.now_ms
        self.vouched = self.ntp or battery
        self.settled_s: float | None = None

    def wall_ms(self) -> int:
        return self.timeline.now_ms + self.off_ms

    def elapsed_ms(self) -> int:
        return self.timeline.now_ms - self._booted_ms

    def synchronised(self) -> bool:
        return self.ntp

    def has_battery(self) -> bool:
        return self.battery

    # What becomes of it.

    def jump(self) -> None:
        """Somebody sets the clock, and the kernel no longer calls it synchronised."""
        self.off_ms += self.random.choice(JUMPS_MS)
        self.ntp, self.settled_s = False, None

    def comes_right(self) -> None:
        """NTP is there, and sets the clock where it is wrong."""
        self.off_ms, self.ntp, self.vouched = 0, True, True
        self.settled_s = self.timeline.now_s

    def power_cut(self) -> None:
        """The machine starts anew. Without a battery it goes on from some time in the past."""
        self.boots += 1
        self.boot = f"boot-{self.boots}"
        self._booted_ms = self.timeline.now_ms
        self.ntp, self.settled_s = False, None
        if not self.battery:
            self.vouched = False
            self.off_ms = -self.random.choice((900, 60_000, 2 * HOUR_MS))
