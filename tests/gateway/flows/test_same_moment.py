"""Two gates read one single-use ticket in the same millisecond, ten thousand times (I4)."""

from __future__ import annotations

import asyncio
from random import Random

from gateway.domain.access import Entitlement
from gateway.domain.reasons import Reason
from tests.gateway.fakes import settle
from tests.gateway.flows.test_entry import Doors

TIMES = 10_000


async def test_i04_two_gates_and_one_single_use_ticket_in_the_same_millisecond_ten_thousand_times() -> None:
    doors, dice, loop = Doors(anti_passback="off"), Random(4), asyncio.get_running_loop()
    for number in range(TIMES):
        card, guest = f"{number + 10:010}", f"guest-{number}"
        doors.directory.add(card, guest, Entitlement(f"single-{number}", guest, ("hall",), uses_total=1))
        first, second = dice.sample(sorted(doors.gates), 2)
        doors.house.committed.clear()
        began_s = loop.time()
        # The second reads it before the first is on disk, while it is on its way there, or when it has just arrived.
        if slow := dice.random() < 0.5:
            doors.house.journal.hold()
        doors.tap(first, card)
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        doors.tap(second, card)
        if slow:
            doors.house.journal.release()
        await settle()
        assert loop.time() - began_s < 0.001
        assert doors.decisions() == ["granted", Reason.NO_USES_LEFT]
        assert doors.pulses == number + 1
        doors.walk_through(first)
        await settle()
        assert doors.house.kinds().count("EntryPassed") == 1
    assert doors.house.state.uses == {f"single-{number}": 1 for number in range(TIMES)}
