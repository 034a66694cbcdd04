"""What depends on the time while nobody vouches for it (I10). Pure: values in, a verdict out."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from gateway.domain.clock_events import ClockDoubted, ClockVouched
from gateway.domain.reasons import Reason

UntrustedPolicy: TypeAlias = Literal["deny", "flag", "last_known"]
Standing: TypeAlias = ClockVouched | ClockDoubted
"""What the journal said last of the clock."""
DRIFT_MS = 5_000
"""How far the system's clock may have slewed against the time since boot and still be the one that was vouched for."""

AHEAD_MAX_MS = 24 * 3_600_000
"""What stands further ahead of the venue's time than this was noted by a clock that was wrong, and does not count."""


class Doubt(msgspec.Struct, frozen=True):
    """Nobody vouches for the time. It is `known_ms` or later: the greatest time of the journal and what passed since.

    `policy` deny refuses what depends on the time, flag admits and marks it, last_known decides by `known_ms`.
    """

    policy: UntrustedPolicy
    known_ms: int = 0

    @property
    def suspends_rules(self) -> bool:
        """True where rules about the time are not asked, because the time itself is not known."""
        return self.policy != "last_known"

    def surely_ms(self, now_ms: int) -> int:
        """Return the time by which an end has surely come, where the clock says `now_ms`."""
        return min(now_ms, self.known_ms)

    def verdict(self, valid_until_ms: int | None = None) -> Reason | None:
        """Return what becomes of something that depends on the time; None where it is admitted and flagged.

        Time only goes forward, so what had ended at the last known time is over, whatever the clock says now.
        """
        if valid_until_ms is not None and self.known_ms >= valid_until_ms:
            return Reason.EXPIRED
        return Reason.CLOCK_UNTRUSTED if self.policy == "deny" else None


def vouched_ms(standing: Standing | None, boot: str, elapsed_ms: int) -> int | None:
    """Return what time it is by a vouch from before a restart of the gateway.

    None when there is none, or when the machine has been off since.
    """
    if not isinstance(standing, ClockVouched) or standing.boot != boot:
        return None
    return standing.at_ms + elapsed_ms - standing.elapsed_ms
