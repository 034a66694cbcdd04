"""A real Mosquitto for one test: started, killed and started again on the same port and socket."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import aiomqtt

from tests.ports import free_port

WAIT_S = 10.0


class BrokerProcess:
    """Mosquitto with a configuration file of its own in a short directory: a socket path has at most 107 bytes."""

    def __init__(self, configuration: str = "", *, more: str = "") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vg-", dir="/tmp"))
        self.port = free_port()
        self.socket = self.directory / "m.sock"
        self.file = self.directory / "mosquitto.conf"
        self.file.write_text(f"{configuration or self._open_configuration()}{more}")
        self.file.chmod(0o644)
        self._process: asyncio.subprocess.Process | None = None

    def _open_configuration(self) -> str:
        return (
            f"user {getpass.getuser()}\npersistence false\nset_tcp_nodelay true\nallow_anonymous true\n"
            f"max_inflight_messages 200\nmax_queued_messages 2000\nmessage_size_limit 1048576\n"
            f"listener {self.port} 127.0.0.1\nlistener 0 {self.socket}\n"
        )

    async def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            "mosquitto",
            "-c",
            str(self.file),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(WAIT_S):
            while not await self._answers():
                assert self._process.returncode is None, "mosquitto ended at once: its configuration is wrong"
                await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    def pause(self, signal: int) -> None:
        assert self._process is not None
        self._process.send_signal(signal)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def client(
    broker: BrokerProcess, *subscriptions: str, username: str | None = None, password: str | None = None
) -> AsyncIterator[aiomqtt.Client]:
    """The other side: an independent MQTT implementation, subscribed when this returns."""
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=username,
        password=password,
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    ) as connected:
        for topic in subscriptions:
            await connected.subscribe(topic, qos=1)
        yield connected


async def next_message(connected: aiomqtt.Client, wait_s: float = WAIT_S) -> aiomqtt.Message:
    async with asyncio.timeout(wait_s):
        return await anext(aiter(connected.messages))
