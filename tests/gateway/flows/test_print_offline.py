"""Receipts of a printer that is unplugged: they wait for it, or are refused, as the configuration says."""

from __future__ import annotations

import asyncio

from gateway.config.schema import Limits
from gateway.domain.reasons import Reason
from tests.gateway.fakes import PAPER_OUT, settle
from tests.gateway.flows.test_printing import Bar


async def test_receipts_wait_for_a_printer_that_is_unplugged() -> None:
    bar = await Bar().start()
    bar.unplug()
    bar.print("one")
    await asyncio.sleep(60)
    bar.plug_in()
    await asyncio.sleep(5)
    assert bar.kinds()[-1] == "Done"


async def test_receipts_are_refused_and_given_up_where_that_is_configured() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.flow.configure(Limits(print_when_offline="refuse"))
    bar.print("one")
    await asyncio.sleep(1)
    assert bar.kinds()[-1] == "Held", "out of paper is not unplugged"
    bar.unplug()
    await settle()
    assert bar.kinds()[-1] == "Failed"
    assert bar.house.events[-1].reason is Reason.DEVICE_OFFLINE
    assert bar.print("two").reason is Reason.DEVICE_OFFLINE
    bar.plug_in()
    await settle()
    assert bar.print("three") is None
    await settle()
    assert len(bar.queued()) == 2
