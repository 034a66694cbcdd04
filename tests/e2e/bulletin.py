"""Waiting for something to become true, woken by news instead of by a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_S = 10.0
LOOK_AGAIN_S = 0.01


class Bulletin:
    """Whoever learns something calls `post()`; whoever waits looks again at each post."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def post(self) -> None:
        """Wake everyone who waits."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def until(self, find: Callable[[], T | None], what: Callable[[], str], wait_s: float = WAIT_S) -> T:
        """The first thing found that is true. Fails with `what()` after `wait_s`."""
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    news = self._news
                    found = find()
                    if found:
                        return found
                    await news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {wait_s:g} s: {what()}") from None


async def poll(look: Callable[[], Awaitable[T]], what: str, wait_s: float = WAIT_S) -> T:
    """Look again and again at something that sends no news, until it is true."""
    try:
        async with asyncio.timeout(wait_s):
            found = await look()
            while not found:
                await asyncio.sleep(LOOK_AGAIN_S)
                found = await look()
    except TimeoutError:
        raise AssertionError(f"not within {wait_s:g} s: {what}") from None
    return found
