"""A library in a process of its own, watched: it may hang, crash or babble, and nothing else notices (I8).

The process is a Python module that reads JSON lines from its standard input and writes JSON lines to its standard
output. It is ended, and the driver's `run()` with it, when it falls silent, when it writes more than anybody could
need, or when a line is too long; the supervisor counts that and starts it anew, after pauses that grow.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import Never

from drivers.api import DeviceFault, DeviceOffline, DriverFailed
from drivers.transports.cores import roaming

LINES_A_SECOND_MAX = 200
ENDING_S = 1.0
_WINDOW_S = 1.0
_UNREAD_BYTES_MAX = 64 * 1024


class Fence:
    """One process at a time, running `module`; `name` is what it drives, for messages."""

    def __init__(self, module: str, name: str, *, line_bytes_max: int, silence_s: float) -> None:
        """Take how long a line may be and for how many seconds the process may say nothing."""
        self._module, self._name = module, name
        self._line_bytes_max, self._silence_s = line_bytes_max, silence_s
        self._process: Process | None = None

    async def serve(self, first: bytes, on_line: Callable[[bytes], None]) -> Never:
        """Start the process, hand it its first line, and pass each line it writes to `on_line`.

        Never returns: raises DriverFailed when it crashes, hangs or floods, and what `on_line` raises. The process is
        gone when this ends, however it ends.
        """
        with roaming():
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=self._line_bytes_max
            )
        try:
            self.send(first)
            await self._read(process, on_line)
        finally:
            self._process = None
            await end_process(process)

    def send(self, line: bytes) -> None:
        """Write one line to the process. Raises DeviceOffline while there is none, DeviceFault where it reads none."""
        writer = self._process.stdin if self._process is not None else None
        if writer is None or writer.is_closing():
            raise DeviceOffline(f"{self._name} is being started")
        if writer.transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            raise DeviceFault(f"{self._name} takes no more commands; it is started anew if it hangs")
        writer.write(line + b"\n")

    async def _read(self, process: Process, on_line: Callable[[bytes], None]) -> Never:
        if process.stdout is None:
            raise DeviceFault(f"{self._name}: the process has no output")
        loop = asyncio.get_running_loop()
        window_ends, lines = loop.time() + _WINDOW_S, 0
        while True:
            line = await self._line(process, process.stdout)
            now = loop.time()
            if now >= window_ends:
                window_ends, lines = now + _WINDOW_S, 0
            lines += 1
            if lines > LINES_A_SECOND_MAX:
                why = f"{self._name} floods: more than {LINES_A_SECOND_MAX} lines a second; started anew"
                raise DriverFailed(why, "flood")
            on_line(line)

    async def _line(self, process: Process, output: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._silence_s):
                line = await output.readuntil()
        except TimeoutError:
            why = f"{self._name} hung for {self._silence_s:g} s; its process is started anew"
            raise DriverFailed(why, "hang") from None
        except asyncio.LimitOverrunError:
            why = f"{self._name} wrote a line without an end; its process is started anew"
            raise DriverFailed(why, "flood") from None
        except asyncio.IncompleteReadError:
            raise await self._crashed(process) from None
        return line

    async def _crashed(self, process: Process) -> DriverFailed:
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING_S):
                await process.wait()
        code = process.returncode
        how = "closed its output" if code is None else f"ended by signal {-code}" if code < 0 else f"exit status {code}"
        return DriverFailed(f"{self._name}: its process crashed ({how}) and is started anew", "crash")


async def end_process(process: Process) -> None:
    """End a child with pipes for good: what hangs hears nothing softer. Nothing of it is left when this returns."""
    with suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    # Shielded: also when the one who waits is itself being stopped, nothing may be left behind.
    await asyncio.shield(_gone(process))


async def _gone(process: Process) -> None:
    """Wait for the end; asyncio does not see it while output lies unread, as after a flood (CPython gh-119710)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDING_S):
            while process.stdout is not None and await process.stdout.read(_UNREAD_BYTES_MAX):
                continue
            await process.wait()
            if process.stdin is not None:
                with suppress(OSError):
                    await process.stdin.wait_closed()
