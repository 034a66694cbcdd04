"""Waiting for a condition, with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WAIT_S = 20.0


async def until(condition: Callable[[], object], wait_s: float = WAIT_S) -> None:
    """Return as soon as `condition` holds; fail when it does not in time."""
    async with asyncio.timeout(wait_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
