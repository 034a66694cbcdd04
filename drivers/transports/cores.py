"""Which processor cores the daemon's threads run on: the loop and whoever works hand in hand with it share one.

Of a Python process only one thread runs at a time, so a second core for the journal's writer brings little; it costs
the time until that core has woken from idle, twice for each tap, and the cores' fight for the interpreter's lock. On
one core the hand-over is a switch between threads. docs/decisions/0009-one-core.md has the figures.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

ALLOWED = frozenset(os.sched_getaffinity(0))
"""What the process may use, as it was started: systemd's `CPUAffinity=` and taskset(1) stay in force."""
THIS_THREAD = 0

_home = ALLOWED


def settle() -> None:
    """Keep the running loop's thread, and those it starts from here on, on the last core: the first serves interrupts.

    What is done aside, by `asyncio.to_thread`, uses the others.
    """
    global _home  # noqa: PLW0603 - one process has one loop that settles
    _home = frozenset({max(ALLOWED)})
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="aside", initializer=roam))
    _bind(_home)


def roam() -> None:
    """Let this thread use every core but the loop's: for work that lets go of the interpreter's lock.

    Also work that gives way to all others would hold up the loop on its core: until the next tick of a few
    milliseconds, by a kernel that does not interrupt a process for another.
    """
    _bind(ALLOWED - _home or ALLOWED)


@contextmanager
def roaming() -> Iterator[None]:
    """In the loop's thread, around the start of a process: a child may use what its parent may use at that moment."""
    roam()
    try:
        yield
    finally:
        _bind(_home)


def _bind(cores: frozenset[int]) -> None:
    # Where a container forbids it, or a core has gone, a gateway that is a little slower is better than none.
    with suppress(OSError):
        os.sched_setaffinity(THIS_THREAD, cores)
