"""Real NATS servers with JetStream, alone or as a cluster, that can be killed and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import nats
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

READY_S = 20.0


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class NatsServer:
    """`nats-server` of Debian. `settings` go into its configuration as they are."""

    def __init__(self, folder: Path, settings: str = "", *, name: str = "n1", port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_ports(1)[0]
        self.name = name
        self._file = folder / f"{name}.conf"
        self._file.write_text(
            f"server_name: {name}\nhost: 127.0.0.1\nport: {self.port}\n"
            f"jetstream: {{store_dir: {json.dumps(str(folder / name))}, max_memory_store: 64MB, max_file_store: 4GB}}\n"
            f"{settings}\n"
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec("nats-server", "-c", str(self._file), stderr=log)
        async with asyncio.timeout(READY_S):
            while not await self._listens():
                assert self._process.returncode is None, (self.folder / f"{self.name}.log").read_text()[-2000:]
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


def cluster(folder: Path, size: int = 3) -> list[NatsServer]:
    """Return servers that find each other once they are started."""
    ports = free_ports(2 * size)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[size:])
    return [
        NatsServer(
            folder,
            f"cluster {{name: venues, listen: 127.0.0.1:{ports[size + number]}, routes: [{routes}]}}",
            name=f"n{number + 1}",
            port=ports[number],
        )
        for number in range(size)
    ]


class Consumer:
    """Somebody above the venues: reads what is in a stream."""

    def __init__(self, urls: Sequence[str], **login: Any) -> None:
        self._urls, self._login = list(urls), login
        self.client: Any = None
        self.js: JetStreamContext

    async def __aenter__(self) -> Self:
        self.client = await nats.connect(self._urls, error_cb=_quietly, max_reconnect_attempts=-1, **self._login)
        self.js = self.client.jetstream(timeout=10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    def asking(self, timeout_s: float) -> JetStreamContext:
        """Return another way to ask, for what may not be answered."""
        return self.client.jetstream(timeout=timeout_s)

    async def messages(self, stream: str = "EVENTS") -> list[RawStreamMsg]:
        """Return all there is, in the stream's order, one by one from whoever leads it.

        A subscription may be served by any replica, and that of a leader which was killed can have something that was
        never agreed upon (nats-server 2.9.10; see docs/upstream.md).
        """
        state = (await self.js.stream_info(stream)).state
        found = []
        for seq in range(state.first_seq, state.last_seq + 1):
            with suppress(NotFoundError):
                found.append(await self.js.get_msg(stream, seq))
        return found


async def _quietly(_: Exception) -> None:
    pass
