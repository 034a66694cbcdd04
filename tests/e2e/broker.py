"""A real Mosquitto, run with the files that `venue-gateway broker write` made."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

from tests.e2e.bulletin import WAIT_S

RETRY_S = 0.005


class Broker:
    """Mosquitto on a TCP port and a Unix socket; killed and started again at will."""

    def __init__(self, configuration: Path, unix_socket: Path, port: int) -> None:
        self.configuration = configuration
        self.socket = unix_socket
        self.port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens on both."""
        self.socket.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            "mosquitto", "-c", str(self.configuration),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(WAIT_S):
            while not await self._listens():
                assert self._process.returncode is None, f"mosquitto refuses {self.configuration}"
                await asyncio.sleep(RETRY_S)

    async def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; SIGHUP makes it read its users and grants again."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    async def _listens(self) -> bool:
        return await listens(self.socket) and await listens(self.port)


async def listens(address: Path | int) -> bool:
    """Whether somebody takes connections at a Unix socket or a TCP port of this machine."""
    try:
        if isinstance(address, int):
            _, writer = await asyncio.open_connection("127.0.0.1", address)
        else:
            _, writer = await asyncio.open_unix_connection(str(address))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
