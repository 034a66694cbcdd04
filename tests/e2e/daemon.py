"""The real daemon in a process of its own, and what it says in its log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from simulators.venue import environment
from tests.e2e.bulletin import WAIT_S, Bulletin

BUGS = frozenset({
    "driver_crashed", "device_event_failed", "task_failed", "housekeeping_failed", "mqtt.message_failed",
    "printing_failed", "console_failed", "upstream_failed",
    "bench_failed", "drawer_pulse_failed", "print_render_failed", "log_lines_dropped",
})  # fmt: skip
"""What only a mistake in the gateway can make it log, whatever is done to it from outside."""
STOP_S = 15.0


class Finished(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


async def command(*arguments: str | Path, wait_s: float = 60.0) -> Finished:
    """Run `venue-gateway` with these arguments to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(wait_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


class Daemon:
    """`venue-gateway run`, started, stopped, killed and started again. Its log is kept over all runs."""

    def __init__(self, config: Path, log_level: str = "info") -> None:
        self.config = config
        self.lines: list[dict[str, Any]] = []
        self.stray: list[str] = []
        """What it wrote that is no line of its log."""
        self.text: list[str] = []
        self.environment: dict[str, str] = environment()
        """What it is started in; a test may put a faulty disk below it."""
        self.module = "gateway"
        self._level = log_level
        self._bulletin = Bulletin()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """True between start and end."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def mark(self) -> int:
        """Where the log stands now, for `logged(since=…)`."""
        return len(self.lines)

    async def start(self) -> None:
        """Start it; returns when the process is there, which is before it is ready."""
        assert not self.running
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self.module, "run", "--config", str(self.config), "--log-level", self._level,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )  # fmt: skip
        assert self._process.stderr is not None
        self._reading = asyncio.create_task(self._read(self._process.stderr))

    async def logged(self, event: str, *, since: int = 0, wait_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """The first line with this `event` and these fields after the mark `since`, awaited if need be."""

        def find() -> dict[str, Any] | None:
            wanted = {"event": event, **fields}
            return next((line for line in self.lines[since:] if wanted.items() <= line.items()), None)

        def ended() -> dict[str, Any] | None:
            found = find()
            assert found or self.running, f"the daemon ended before it logged {event} {fields}: {self.tail()}"
            return found

        return await self._bulletin.until(
            ended, lambda: f"{event} {fields} in the log, which ends: {self.tail()}", wait_s
        )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> int:
        """Tell it to stop, and return its exit status."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end; returns the exit status. One that does not end is killed and fails the test."""
        assert self._process is not None
        assert self._reading is not None
        try:
            async with asyncio.timeout(STOP_S):
                status = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(f"the daemon did not end within {STOP_S} s: {self.tail()}") from None
        await self._reading
        self._bulletin.post()
        return status

    def tail(self, count: int = 12) -> str:
        """The last lines of the log."""
        return "\n" + "".join(self.text[-count:])

    def bugs(self) -> list[str]:
        """Lines that show a mistake in the gateway."""
        return [str(line) for line in self.lines if line.get("event") in BUGS or "exception" in line] + [
            line for line in self.stray if "Traceback" in line or "Error" in line
        ]

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while raw := await stream.readline():
            line = raw.decode()
            self.text.append(line)
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.stray.append(line)
            self._bulletin.post()
