from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from gateway.domain.interlocks import Door, refusal
from gateway.domain.reasons import Reason
from gateway.domain.state import GateStatus

SHUT = Door("locked", contact_works=True, contact_active=False, lock_open=False)


def test_a_gate_without_neighbours_may_open() -> None:
    assert refusal([]) is None
    assert refusal([SHUT, SHUT]) is None


@pytest.mark.parametrize(
    ("status", "works", "active", "lock_open"), list(product(get_args(GateStatus), *[[False, True]] * 3))
)
def test_only_a_gate_that_is_known_to_be_shut_and_locked_lets_its_neighbour_open(
    status: GateStatus, works: bool, active: bool, lock_open: bool
) -> None:
    door = Door(status, works, active, lock_open)
    expected = Reason.INTERLOCKED if works else Reason.GATE_UNAVAILABLE
    assert refusal([SHUT, door]) is (None if door == SHUT else expected)
