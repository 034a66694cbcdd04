"""The client side of a simulator's control socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from simulators import sockets

MAX_LINE_BYTES = 4 << 20
RETRY_S = 0.02


class ControlError(Exception):
    """The simulator refused a command, went away, or never got where it was awaited."""


class Control:
    """One simulated device, from outside: `await c.do("hold", uid="…")`, `await c.until(lambda s: s["held"])`.

    Commands share one connection, one at a time; each watch has its own.
    """

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.path = path
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()

    @classmethod
    async def connect(cls, path: Path | str, timeout_s: float = 5.0) -> Control:
        """Connect to the socket at `path`, waiting for it up to `timeout_s`. Raises `ControlError`."""
        return cls(Path(path), *await _open(Path(path), timeout_s))

    async def do(self, command: str, **parameters: object) -> dict[str, Any]:
        """Send a command; its answer without `ok`. Raises `ControlError` if it is refused."""
        async with self._lock:
            self._writer.write(msgspec.json.encode({"do": command, **parameters}) + b"\n")
            line = await self._reader.readline()
        answer = _message(line, self.path)
        if not answer.pop("ok"):
            raise ControlError(f"{self.path.name}: {command}: {answer['error']}")
        return answer

    async def state(self) -> dict[str, Any]:
        """The device's state now."""
        state: dict[str, Any] = (await self.do("state"))["state"]
        return state

    async def watch(self) -> AsyncGenerator[dict[str, Any], None]:
        """Every state from now on, beginning with the present one. Raises `ControlError` when the simulator ends."""
        reader, writer = await _open(self.path, 0)
        try:
            writer.write(b'{"do":"watch"}\n')
            while True:
                yield _message(await reader.readline(), self.path)
        finally:
            writer.close()

    async def until(self, condition: Callable[[dict[str, Any]], Any], timeout_s: float = 5.0) -> dict[str, Any]:
        """The first state that `condition` holds for. Raises `ControlError` with the last one after `timeout_s`."""
        last: dict[str, Any] = {}
        states = self.watch()
        try:
            async with asyncio.timeout(timeout_s):
                async for last in states:
                    if condition(last):
                        return last
        except TimeoutError:
            raise ControlError(f"{self.path.name}: not within {timeout_s} s; its last state is {last}") from None
        finally:
            await states.aclose()
        raise ControlError(f"{self.path.name}: the simulator ended")

    async def close(self) -> None:
        """Close the connection; the simulator goes on."""
        self._writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _open(path: Path, timeout_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            return await asyncio.open_unix_connection(sock=sockets.connect(path), limit=MAX_LINE_BYTES)
        except OSError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise ControlError(f"no simulator answers at {path}: {error}") from error
        await asyncio.sleep(RETRY_S)


def _message(line: bytes, path: Path) -> dict[str, Any]:
    if not line:
        raise ControlError(f"{path.name}: the simulator ended")
    message: dict[str, Any] = msgspec.json.decode(line)
    return message
