"""Starting hostile neighbours and the one who measures what they do to a gate."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from simulators.venue import environment

ROOT = Path(__file__).parents[2]
READY_S = 60.0


class Neighbour:
    """One process of `tests.e2e.hostile`; an async context manager that kills it at the end."""

    def __init__(self, kind: str, **options: object) -> None:
        self._arguments = [kind, *(f"{key}={value}" for key, value in options.items())]
        self.told: list[str] = []
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.e2e.hostile", *self._arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment(), limit=1 << 24, cwd=ROOT,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())
        await self.line("ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def ask(self, line: str, wait_s: float) -> str:
        """Send a line, and wait for the next one told."""
        assert self._process.stdin is not None
        known = len(self.told)
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(wait_s):
            while len(self.told) <= known:
                await self._heard()
        return self.told[known]

    async def line(self, wanted: str, wait_s: float = READY_S) -> None:
        """Wait until it has told this line."""
        async with asyncio.timeout(wait_s):
            while wanted not in self.told:
                await self._heard()

    async def _heard(self) -> None:
        """Wait for something new. One that has ended, which says why on its standard error, is not waited for."""
        self._news.clear()
        assert self._reading is not None
        assert not self._reading.done(), f"{self._arguments[0]} ended after {self.told[-3:]}"
        await self._news.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told.append(line.decode().strip())
            self._news.set()
        self._news.set()


class Meter(Neighbour):
    """A reader and a relay whose other ends are held by a process that measures."""

    def __init__(self, tags: Sequence[str], pause_ms: int) -> None:
        super().__init__("meter", tags=",".join(tags), pause_ms=pause_ms)

    @property
    def ports(self) -> list[str]:
        """Where the gateway finds the reader and the relay."""
        return self.told[0].split()

    async def taps(self, count: int) -> list[float]:
        """Hold so many tags to the reader; returns for each the time to the relay's first byte, in ms, sorted."""
        times_ms: list[float] = json.loads(await self.ask(str(count), 5.0 * count))
        return sorted(times_ms)


def p99_ms(times_ms: Sequence[float]) -> float:
    """The time that 99 of 100 do not exceed."""
    return times_ms[min(len(times_ms) - 1, len(times_ms) * 99 // 100)]


@asynccontextmanager
async def together(*neighbours: Neighbour) -> AsyncIterator[tuple[Any, ...]]:
    """Let them all in at once."""
    async with asyncio.TaskGroup() as group:
        for one in neighbours:
            group.create_task(one.__aenter__())
    try:
        yield neighbours
    finally:
        for one in neighbours:
            await one.__aexit__()
