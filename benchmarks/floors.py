"""What nothing could beat, and what a first attempt would do: a bare echo, one bare commit, a naive service.

`python -m benchmarks.floors echo|naive …` is one of the two answering processes; it prints `ready` and serves until it
is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sqlite3
import time
from pathlib import Path

import aiomqtt
import aiosqlite
import mqtt5
import msgspec
import uvloop

from benchmarks.wire import BareClient, Timing

ECHO_BASE = "venue/echo"
NAIVE_BASE = "venue/naive"
PEER_BASE = "venue/peer"


def bare_database(path: Path, page_bytes: int = 4096) -> sqlite3.Connection:
    """Open an append-only table the way the journal is opened: WAL, `synchronous=FULL`."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"PRAGMA page_size={page_bytes}")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return database


class BareLog:
    """A table that takes one row in each commit, by nothing but SQLite, with its checkpoints where it does them.

    It is kept open through all repetitions and begins with enough commits to have made a checkpoint: from then on the
    WAL is written over in place, which is faster and writes less than lengthening it.
    """

    WARM_UP_COMMITS = 1500

    def __init__(self, path: Path, page_bytes: int, row_bytes: int) -> None:
        """Make the table, with the journal's page size and a row as large as one of its own."""
        self._database = bare_database(path, page_bytes)
        self._body = os.urandom(row_bytes)
        self.commits(self.WARM_UP_COMMITS)

    def commits(self, count: int, pause_s: float = 0) -> tuple[Timing, float]:
        """Commit `count` rows, one at a time; returns their times and the bytes each caused to be written to disk.

        With `pause_s` between them they come like guests do, one now and then, to a machine that was idle.
        """
        times_s: list[float] = []
        before = written_bytes(os.getpid())
        for _ in range(count):
            if pause_s:
                time.sleep(pause_s)
            began_s = time.perf_counter()
            self._commit_once()
            times_s.append(time.perf_counter() - began_s)
        return Timing(times_s, sum(times_s)), (written_bytes(os.getpid()) - before) / count

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _commit_once(self) -> None:
        # A statement on its own is its own transaction, and one call is the fastest way into SQLite.
        self._database.execute("INSERT INTO log (body) VALUES (?)", (self._body,))


def written_bytes(pid: int) -> int:
    """Return the bytes a process has caused to be written to disk so far (proc(5), /proc/pid/io)."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise RuntimeError(f"no write_bytes in /proc/{pid}/io: this kernel has no task I/O accounting")


async def serve_echo(socket_path: str) -> None:
    """Answer every request of the benchmark's client with its own payload, as fast as one can."""
    client = await BareClient.unix(socket_path, "echo")

    def echo(packet: mqtt5.PublishPacket) -> None:
        client.publish(_responses(packet.topic), packet.payload)

    client.on_publish = echo
    await client.subscribe(f"{ECHO_BASE}/clients/+/requests/+/+")
    print("ready", flush=True)
    await client.lost


def _responses(request_topic: str) -> str:
    return request_topic.split("/requests/", 1)[0] + "/responses"


async def serve_naive(port: int, journal: Path, directory: Path) -> None:
    """Do the same job as one would write it first: a look-up and one commit for each request, in turn."""
    bare_database(journal).close()
    nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with (
        aiosqlite.connect(f"file:{directory}?mode=ro", uri=True) as known,
        aiosqlite.connect(journal) as log,
        aiomqtt.Client("127.0.0.1", port, identifier="naive", socket_options=nodelay) as client,
    ):
        await log.execute("PRAGMA synchronous=FULL")
        await client.subscribe(f"{NAIVE_BASE}/clients/+/requests/+/+", qos=1)
        print("ready", flush=True)
        async for message in client.messages:
            await _answer(client, known, log, message)


async def _answer(
    client: aiomqtt.Client, known: aiosqlite.Connection, log: aiosqlite.Connection, message: aiomqtt.Message
) -> None:
    request = msgspec.json.decode(bytes(message.payload))
    value = request["data"]["credential"]["value"]
    found = await known.execute_fetchall("SELECT holder FROM credential WHERE value = ?", (value,))
    decision = "granted" if found else "denied"
    entry = {"request": request["id"], "topic": str(message.topic), "decision": decision, "at": time.time()}
    await log.execute("INSERT INTO log (body) VALUES (?)", (msgspec.json.encode(entry),))
    await log.commit()
    answer = {"id": request["id"], "status": "done", "data": {"decision": decision}}
    await client.publish(_responses(str(message.topic)), msgspec.json.encode(answer), qos=1)


def main() -> None:
    """Run one of the two answering processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("service", choices=["echo", "naive"])
    parser.add_argument("--socket", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--journal", type=Path, default=Path())
    parser.add_argument("--directory", type=Path, default=Path())
    options = parser.parse_args()
    if options.service == "echo":
        uvloop.run(serve_echo(options.socket))
    else:
        asyncio.run(serve_naive(options.port, options.journal, options.directory))


if __name__ == "__main__":
    main()
