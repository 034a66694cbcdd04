"""Which cores the loop, what is done aside, and child processes may use."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from drivers.transports import cores

pytestmark = pytest.mark.skipif(len(cores.ALLOWED) < 2, reason="there is only one core here")
LAST = {max(cores.ALLOWED)}
OTHERS = set(cores.ALLOWED) - LAST


def here() -> set[int]:
    return os.sched_getaffinity(0)


async def of_a_child() -> set[int]:
    program = "import os; print(*os.sched_getaffinity(0))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    told, _ = await child.communicate()
    return {int(core) for core in told.split()}


def in_a_settled_loop(monkeypatch: pytest.MonkeyPatch, look: Callable[[], Awaitable[None]]) -> None:
    """Affinity belongs to a thread, so a thread of its own leaves the other tests where they are."""

    async def settled() -> None:
        cores.settle()
        await look()

    # What the module remembers is put back afterwards.
    monkeypatch.setattr(cores, "_home", cores.ALLOWED)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, settled()).result()


def test_a_loop_that_has_settled_stays_on_the_last_core_and_what_is_done_aside_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look() -> None:
        assert here() == LAST
        assert await asyncio.to_thread(here) == OTHERS
        with ThreadPoolExecutor(1) as beside:
            assert await asyncio.get_running_loop().run_in_executor(beside, here) == LAST

    in_a_settled_loop(monkeypatch, look)


def test_children_use_the_other_cores_even_when_two_start_at_once_and_the_loop_is_back_home_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look() -> None:
        async def start() -> set[int]:
            with cores.roaming():
                return await of_a_child()

        assert await asyncio.gather(start(), start()) == [OTHERS] * 2
        assert here() == LAST
        assert await of_a_child() == LAST

    in_a_settled_loop(monkeypatch, look)


def test_without_a_loop_that_settles_nothing_changes() -> None:
    with cores.roaming():
        assert here() == set(cores.ALLOWED)
    assert here() == set(cores.ALLOWED)


def test_where_binding_is_forbidden_the_loop_runs_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    async def look() -> None:
        assert here() == set(cores.ALLOWED)
        assert await asyncio.to_thread(here) == set(cores.ALLOWED)

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    in_a_settled_loop(monkeypatch, look)
