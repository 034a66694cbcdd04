"""A seal counts for its own time: what was recorded and is sent again makes a directory no younger (with I10)."""

import pytest

from gateway.upstream.freshness import Untimely, VenueTime, ahead_trouble, as_of, check_timely

NOW_MS = 1_790_000_000_000
HOUR_MS, MINUTE_MS = 3_600_000, 60_000


def clock(off_ms: int = 0, *, trusted: bool = True) -> VenueTime:
    return VenueTime(lambda: NOW_MS + off_ms, lambda: trusted)


@pytest.mark.parametrize(
    ("sealed_ms", "as_of_ms", "expected_ms", "why"),
    [
        (NOW_MS - 30, 0, NOW_MS - 30, "a fresh word"),
        (NOW_MS - 3 * HOUR_MS, 0, NOW_MS - 3 * HOUR_MS, "one that waited in a stream is as old as it is"),
        (NOW_MS - 3 * HOUR_MS, NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, "an older one takes nothing back"),
        (NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, "the same again adds nothing"),
        (NOW_MS + MINUTE_MS, 0, NOW_MS, "clocks that are a minute apart"),
        (NOW_MS + HOUR_MS, NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, "one from the future counts for nothing"),
        (NOW_MS, NOW_MS + 9 * HOUR_MS, NOW_MS, "a clock that was wrong before holds nothing up"),
    ],
)
def test_i10_with_a_trusted_clock_the_directory_is_as_old_as_the_seal(
    sealed_ms: int, as_of_ms: int, expected_ms: int, why: str
):
    assert as_of(sealed_ms, as_of_ms, clock()) == expected_ms, why


def test_i10_with_a_clock_in_doubt_only_what_is_newer_than_all_before_counts():
    # A Pi that begins some months in the past.
    behind = clock(-4_000 * HOUR_MS, trusted=False)
    assert as_of(NOW_MS, 0, behind) == NOW_MS
    assert as_of(NOW_MS - HOUR_MS, NOW_MS, behind) == NOW_MS
    assert ahead_trouble(NOW_MS, behind) == ""
    check_timely(NOW_MS, NOW_MS - HOUR_MS, behind)
    with pytest.raises(Untimely, match="sealed 3600 s ago: it is an old one that was sent again"):
        check_timely(NOW_MS - HOUR_MS, NOW_MS, behind)


def test_an_answer_that_is_not_of_now_is_said_with_what_to_compare():
    check_timely(NOW_MS - MINUTE_MS, 0, clock())
    check_timely(NOW_MS + MINUTE_MS, 0, clock())
    with pytest.raises(Untimely, match=r"sealed 3600 s ago: .* compare upstream's clock with this one"):
        check_timely(NOW_MS - HOUR_MS, 0, clock())
    with pytest.raises(Untimely, match="3600 s ahead, so nobody can say how old the directory is"):
        check_timely(NOW_MS + HOUR_MS, 0, clock())
