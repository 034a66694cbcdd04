"""Of what time the directory is, as upstream's seals say: what was recorded and comes again makes it no younger."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.domain.orders import EARLY_MAX_MS

S_PER_MS = 0.001


def _always() -> bool:
    return True


class VenueTime(msgspec.Struct, frozen=True):
    """The venue's time in UTC milliseconds, and whether somebody vouches for it."""

    now_ms: Callable[[], int]
    trusted: Callable[[], bool] = _always


class Untimely(Exception):
    """A word that is to be of now is not; the message is for a technician."""


def check_timely(sealed_ms: int, as_of_ms: int, time: VenueTime) -> None:
    """Raise Untimely unless a seal at this time can be the answer to a question that was asked just now.

    Without a clock that is vouched for, only what was known before can tell.
    """
    newest_ms = max(_floor_ms(as_of_ms, time), time.now_ms() if time.trusted() else 0)
    if sealed_ms < newest_ms - EARLY_MAX_MS:
        old_s = (newest_ms - sealed_ms) * S_PER_MS
        raise Untimely(
            f"upstream's word that nothing is newer was sealed {old_s:.0f} s ago: it is an old one that was sent "
            "again, or one of the two clocks is wrong; compare upstream's clock with this one"
        )
    if ahead := ahead_trouble(sealed_ms, time):
        raise Untimely(ahead)


def ahead_trouble(sealed_ms: int, time: VenueTime) -> str:
    """Return what is wrong with a seal from the future; empty where it is none, or nobody can say."""
    ahead_ms = sealed_ms - time.now_ms()
    if not time.trusted() or ahead_ms <= EARLY_MAX_MS:
        return ""
    return (
        f"upstream seals with a time that is {ahead_ms * S_PER_MS:.0f} s ahead, so nobody can say how old the "
        "directory is; compare upstream's clock with this one"
    )


def as_of(sealed_ms: int, as_of_ms: int, time: VenueTime) -> int:
    """Return of what time the directory is after a word that was sealed then; `as_of_ms` is what it was before.

    A seal counts for its own time and never for that of its arrival, and one from the future counts for nothing. A
    clock in doubt is no measure: then the newest seal counts as it is.
    """
    floor_ms = _floor_ms(as_of_ms, time)
    if ahead_trouble(sealed_ms, time):
        return floor_ms
    return max(floor_ms, min(sealed_ms, time.now_ms()) if time.trusted() else sealed_ms)


def _floor_ms(as_of_ms: int, time: VenueTime) -> int:
    """Return what was known before; nothing, where a clock that was wrong put it into the future."""
    return 0 if time.trusted() and as_of_ms > time.now_ms() + EARLY_MAX_MS else as_of_ms
