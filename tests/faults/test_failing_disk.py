"""The disk is full, or fails, at every single call: nothing told is lost, and what is not told has not happened."""

from __future__ import annotations

import errno

import pytest

from tests.faults.failing import sweep
from tests.faults.library import FOREVER, SYNCS, TRUNCATIONS, WRITES
from tests.length import length
from tests.simulation.running import workplace

CHANGES = WRITES | TRUNCATIONS
EVERY = length(43, 1)
EVERY_SYNC = length(5, 1)


@pytest.mark.parametrize("count", [1, FOREVER], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.timeout(900)
def test_i01_a_write_that_fails_loses_nothing_and_the_gateway_recovers(error: int, count: int) -> None:
    with workplace() as folder:
        outcome = sweep(folder / "disk", CHANGES, error, count, EVERY)
    print(outcome)
    assert not outcome.found, "\n".join(outcome.found[:20])
    assert outcome.ends.get("recovered", 0) >= outcome.trials // 2, outcome
    assert not any(end.isupper() for end in outcome.ends), outcome


@pytest.mark.parametrize("count", [1, FOREVER], ids=["once", "from then on"])
@pytest.mark.timeout(900)
def test_i01_after_a_sync_that_fails_nothing_is_promised_and_the_disk_is_read_anew(count: int) -> None:
    with workplace() as folder:
        outcome = sweep(folder / "disk", SYNCS, errno.EIO, count, EVERY_SYNC)
    print(outcome)
    assert not outcome.found, "\n".join(outcome.found[:20])
    assert outcome.ends.get("ended", 0) > 0, outcome
    assert not any(end.isupper() for end in outcome.ends), outcome
