"""Packs for a sink that is far behind, made by a process of its own (`packer`).

Making packs takes one core as long as the line is fast. In a thread it would have the interpreter more often than not,
and taps would wait for it. Whatever becomes of the process, the outbox goes on without it.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import msgspec
import structlog

from drivers.transports.cores import roaming
from drivers.transports.fence import end_process
from gateway.upstream import packer
from gateway.upstream.packer import LENGTH_BYTES, Order
from gateway.upstream.sinks import Pack

log = structlog.get_logger(__name__)

SILENCE_S = 30.0
"""A process that is silent for so long is hung."""
PAUSE_S = 60.0
"""After a process that failed."""
UNREAD_BYTES = 64 << 10
FRAME_BYTES_MAX = 64 << 20


class Backlog:
    """At most one process. All methods are for the loop's thread."""

    def __init__(self, journal: Path, venue: str) -> None:
        """Prepare; nothing runs yet."""
        self._arguments = (str(journal), venue)
        self._starting: asyncio.Task[Process] | None = None
        self._next_seq: int | None = None
        self._not_before_s = 0.0
        self._decoder = msgspec.msgpack.Decoder(Pack)

    @property
    def ready(self) -> bool:
        """True once there is a process that takes an order."""
        task = self._starting
        return task is not None and task.done()

    def start(self) -> None:
        """Start the process, unless there is one or one has just failed; it takes its time, in which nobody waits."""
        loop = asyncio.get_running_loop()
        if self._starting is None and loop.time() >= self._not_before_s:
            self._starting = loop.create_task(self._start())

    async def take(self, after_seq: int, aside: tuple[int, ...], *, singly: bool) -> Pack | None:
        """Return what comes after `after_seq`; None when the process is at the end, or is of no more use.

        What is wanted is settled by the first call once it is `ready`; for anything else `stop` comes first.
        """
        try:
            pack = await self._take(after_seq, Order(after_seq, aside, singly))
        except (asyncio.IncompleteReadError, OSError, TimeoutError, ValueError) as error:
            await self.stop(why=str(error) or type(error).__name__)
            return None
        if pack is None:
            await self.stop()
        return pack

    async def stop(self, why: str = "") -> None:
        """End the process; `why` says what is wrong with it."""
        starting, self._starting = self._starting, None
        self._next_seq = None
        if why:
            log.warning("upstream_packer_failed", why=why)
            self._not_before_s = asyncio.get_running_loop().time() + PAUSE_S
        if starting is None:
            return
        starting.cancel()
        await asyncio.wait({starting})
        if not starting.cancelled() and starting.exception() is None:
            await end_process(starting.result())

    async def _start(self) -> Process:
        spawning = asyncio.get_running_loop().create_task(self._spawn())
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # A process that is half started would be left behind.
            await end_process(await spawning)
            raise
        try:
            await _frame(process)
        except BaseException:
            await end_process(process)
            raise
        return process

    async def _spawn(self) -> Process:
        with roaming():
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", packer.__name__, *self._arguments),
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=UNREAD_BYTES,
            )  # fmt: skip

    async def _take(self, after_seq: int, order: Order) -> Pack | None:
        if self._starting is None:
            return None
        process = await self._starting
        if self._next_seq is None and process.stdin is not None:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
        if not (content := await _frame(process)):
            return None
        pack = self._decoder.decode(content)
        if pack.after_seq != after_seq and not pack.gap:
            raise ValueError(f"it goes on after {pack.after_seq} and not after {after_seq}")
        self._next_seq = pack.through_seq
        return pack


async def _frame(process: Process) -> bytes:
    """Read one frame. Raises IncompleteReadError, TimeoutError and ValueError."""
    if (output := process.stdout) is None:
        raise ValueError("the process has no output")
    async with asyncio.timeout(SILENCE_S):
        length = int.from_bytes(await output.readexactly(LENGTH_BYTES))
        if length > FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {length} bytes")
        return await output.readexactly(length)
