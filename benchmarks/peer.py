"""A peer on the same task: ThingsBoard Gateway takes the same messages from the same broker and keeps them.

It is installed from PyPI into an environment of its own under `.benchmarks/`. Its MQTT connector subscribes with QoS 1
and a session that outlives a connection; its storage is SQLite. The platform it reports to is a stub of ours that lets
it connect and then confirms nothing, as over a line that has gone bad: so it stores, and spends nothing on sending.
Without having once reached a platform it does not begin to store at all.

It answers nobody. What a sender learns is that the broker has a message; when it is on disk is seen from its database.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from benchmarks.floors import PEER_BASE
from benchmarks.people import KEPT
from benchmarks.platform_stub import PlatformStub
from benchmarks.venue import with_us
from benchmarks.wire import BareClient, Question

NAME, VERSION = "ThingsBoard Gateway", "3.8.5"
REQUIREMENT = f"thingsboard-gateway=={VERSION}"
PROMISE = (
    "It promises to keep telemetry during an outage of network or system until the platform has it; not an answer, nor"
    " that what it took is on disk. It acknowledges a message to the broker before it is stored, and its SQLite runs"
    " with synchronous=NORMAL."
)
INSTALL_TIMEOUT_S = 300
START_TIMEOUT_S = 60.0
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.005
IN_FLIGHT = 64
STOP_TIMEOUT_S = 10.0


class Sizes(msgspec.Struct, frozen=True):
    """How many messages: for the two rates, one at a time, and stored before the kill.

    At most `waiting` are not stored yet, fewer than the broker keeps for a client that is behind: with more, the broker
    itself would drop some. After `settled_s` without a new row the peer is taken to be idle; after `recovered_s`, to
    have stored all that it will.
    """

    rate: int = 4_000
    rate64: int = 400
    alone: int = 8
    before_kill: int = 1_500
    waiting: int = 1_500
    settled_s: float = 1.0
    recovered_s: float = 3.0


class Receipt(msgspec.Struct, frozen=True):
    """What one repetition measured: messages a second, ms from sending to disk, messages sent and lost at kill -9.

    `rate64` is with 64 that are not stored yet, `rate` with as many as it likes.
    """

    rate: float
    rate64: float
    p50_ms: float
    sent: int
    lost: int


class Installed(NamedTuple):
    """A command that starts the peer, or None and the reason why there is none."""

    command: Sequence[str] | None
    reason: str = ""


def installed(requirement: str = REQUIREMENT, kept: Path = KEPT) -> Installed:
    """Install the peer unless it is there already. Whatever prevents it is the reason, in words."""
    folder = kept / f"peer-{requirement.replace('==', '-')}"
    command = [str(folder / "bin" / "python"), "-c", "from thingsboard_gateway.tb_gateway import daemon; daemon()"]
    if (folder / "installed").exists():
        return Installed(command)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", command[0], "--disable-pip-version-check"]
        _run([*pip, "install", "--quiet", requirement])
    except subprocess.CalledProcessError as error:
        return Installed(None, f"{requirement} could not be installed: {_last_line(error.stderr)}")
    except subprocess.TimeoutExpired:
        return Installed(None, f"{requirement} was not installed within {INSTALL_TIMEOUT_S} s")
    (folder / "installed").touch()
    return Installed(command)


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


class Peer:
    """One peer with a folder of its own, and the client that sends to it."""

    def __init__(self, command: Sequence[str], folder: Path, broker_port: int) -> None:
        """Write its configuration; nothing runs yet."""
        self._command, self._folder = command, folder
        self._platform = PlatformStub()
        self._broker_port = broker_port
        self._process: subprocess.Popen[bytes] | None = None

    async def receive(self, client: BareClient, ask: Callable[[str], Question], sizes: Sizes) -> Receipt:
        """Measure once, from an empty storage to a second start after kill -9."""
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "logs").mkdir(parents=True)
        async with self._platform.serving() as platform_port:
            self._write_files(platform_port)
            with closing(_Sending(client, ask, self._storage)) as sending:
                try:
                    await self._start(sending)
                    await sending.settled(sizes.settled_s)
                    return await self._measured(sending, sizes)
                finally:
                    self._kill()

    async def _measured(self, sending: _Sending, sizes: Sizes) -> Receipt:
        alone_s = [await sending.stored_alone() for _ in range(sizes.alone)]
        rate64 = await sending.rate(sizes.rate64, IN_FLIGHT)
        rate = await sending.rate(sizes.rate, sizes.waiting)
        sent = await sending.until_stored(sizes.before_kill, sizes.waiting, self._kill)
        # Started again, it may still find what it has not acknowledged; what is missing then stays missing.
        await self._start(sending)
        await sending.settled(sizes.recovered_s)
        return Receipt(rate, rate64, median(alone_s) * 1000, len(sent), len(sent - sending.stored_ids()))

    async def _start(self, sending: _Sending) -> None:
        self._run()
        await sending.until_it_listens()

    def _run(self) -> None:
        environment = {**os.environ, "TB_GW_CONFIG_DIR": str(self._folder)}
        with (self._folder / "peer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*with_us(), *self._command],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    @property
    def _storage(self) -> Path:
        return self._folder / "data" / "data.db"

    def _write_files(self, platform_port: int) -> None:
        main = {
            "thingsboard": {
                "host": "127.0.0.1",
                "port": platform_port,
                "remoteShell": False,
                "remoteConfiguration": False,
                "statistics": {"enable": False},
                "deviceFiltering": {"enable": False},
                "security": {"type": "accessToken", "accessToken": "bench"},
                "qos": 1,
                "checkingDeviceActivity": {"checkDeviceInactivity": False},
            },
            "storage": {"type": "sqlite", "data_file_path": f"{self._storage.parent}/"},
            "grpc": {"enabled": False},
            "connectors": [{"type": "mqtt", "name": "taps", "configuration": "mqtt.json"}],
        }
        for name, content in (("tb_gateway", main), ("mqtt", self._connector()), ("logs", _LOGS)):
            (self._folder / f"{name}.json").write_text(json.dumps(content))

    def _connector(self) -> dict[str, object]:
        device = {
            "deviceNameExpressionSource": "topic",
            "deviceNameExpression": "(?<=requests/)(.*?)(?=/authenticate)",
            "deviceProfileExpressionSource": "constant",
            "deviceProfileExpression": "gate",
        }
        kept = {"id": "${id}", "expires_at": "${expires_at}", "value": "${data.credential.value}"}
        series = [{"type": "string", "key": key, "value": value} for key, value in kept.items()]
        return {
            "name": "taps",
            "id": "taps",
            "broker": {
                "host": "127.0.0.1",
                "port": self._broker_port,
                "clientId": "peer",
                "version": 5,
                # With a clean session the broker would forget what it had not yet handed over at the kill.
                "cleanSession": False,
                "cleanStart": False,
                "sessionExpiryInterval": 600,
                "security": {"type": "anonymous"},
            },
            "mapping": [
                {
                    "topicFilter": f"{PEER_BASE}/clients/+/requests/+/authenticate",
                    "subscriptionQos": 1,
                    "converter": {"type": "json", "deviceInfo": device, "attributes": [], "timeseries": series},
                }
            ],
        }


_LOGS = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR", "handlers": []}}


class _Sending:
    """What is sent to the peer, what the broker took of it, and what the peer's database holds."""

    def __init__(self, client: BareClient, ask: Callable[[str], Question], storage: Path) -> None:
        self._client, self._ask, self._storage = client, ask, storage
        self._open: dict[int, str] = {}
        self._none_open = asyncio.Event()
        self._taken: set[str] = set()
        self._database: sqlite3.Connection | None = None
        client.on_taken = self._took

    def close(self) -> None:
        """Let go of client and storage."""
        self._client.on_taken = lambda _: None
        if self._database is not None:
            self._database.close()

    def _took(self, number: int) -> None:
        self._taken.add(self._open.pop(number))
        if not self._open:
            self._none_open.set()

    def _send(self) -> None:
        question = self._ask(PEER_BASE)
        self._open[self._client.publish(question.topic, question.payload)] = question.id
        self._none_open.clear()

    async def until_it_listens(self) -> None:
        """Send now and then until one is stored. Raises TimeoutError."""
        until_s, before = time.monotonic() + START_TIMEOUT_S, self.stored()
        while self.stored() == before:
            if time.monotonic() > until_s:
                raise TimeoutError(f"the peer stored nothing within {START_TIMEOUT_S:g} s after its start")
            self._send()
            await asyncio.sleep(0.2)

    async def settled(self, quiet_s: float) -> None:
        """Wait until the broker has taken all and the storage has not grown for so long."""
        stored, since_s = -1, time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while self._open or time.monotonic() - since_s < quiet_s:
                if (now := self.stored()) != stored:
                    stored, since_s = now, time.monotonic()
                await asyncio.sleep(LOOK_EVERY_S)

    async def stored_alone(self) -> float:
        """Send one, and return the time until it is stored, in s."""
        before, began_s = self.stored(), time.perf_counter()
        self._send()
        await self._until_stored(before + 1)
        return time.perf_counter() - began_s

    async def rate(self, count: int, waiting_max: int) -> float:
        """Send so many, with at most `waiting_max` not stored yet, and return how many a second were."""
        before, sent, began_s = self.stored(), 0, time.perf_counter()
        while sent < count:
            for _ in range(min(count - sent, waiting_max - (sent - (self.stored() - before)))):
                self._send()
                sent += 1
            await asyncio.sleep(LOOK_EVERY_S)
        await self._until_stored(before + count)
        return count / (time.perf_counter() - began_s)

    async def until_stored(self, count: int, waiting_max: int, kill: Callable[[], None]) -> set[str]:
        """Send on until so many more are stored, kill the peer then, and return the ids of all that the broker took."""
        self._taken.clear()
        before, sent = self.stored(), 0
        async with asyncio.timeout(PATIENCE_S):
            while (stored := self.stored() - before) < count:
                for _ in range(waiting_max - (sent - stored)):
                    self._send()
                    sent += 1
                await asyncio.sleep(LOOK_EVERY_S)
        kill()
        await asyncio.wait_for(self._none_open.wait(), PATIENCE_S)
        return set(self._taken)

    def stored(self) -> int:
        """How many messages were ever stored."""
        rows = self._query("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
        return int(str(rows[0][0])) if rows else 0

    def stored_ids(self) -> set[str]:
        """The ids of all messages in the storage."""
        entries = (json.loads(str(text))["telemetry"] for (text,) in self._query("SELECT message FROM messages"))
        return {str(one["values"]["id"]) for series in entries for one in series if "id" in one["values"]}

    def _query(self, statement: str) -> list[tuple[object, ...]]:
        if self._database is None and self._storage.exists():
            self._database = sqlite3.connect(f"file:{self._storage}?mode=ro", uri=True)
        try:
            return self._database.execute(statement).fetchall() if self._database is not None else []
        except sqlite3.OperationalError:
            # Its table is not made yet.
            return []

    async def _until_stored(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if self.stored() >= count:
                    return
                await asyncio.sleep(LOOK_EVERY_S)
