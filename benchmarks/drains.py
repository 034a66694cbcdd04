"""How fast a backlog goes up, beside a bare client that makes the same posts, and one that sends event by event.

The bare client sends what the relay sent, with the same headers and guards, and waits for each answer as the relay has
to. It has the bodies in memory; the relay reads, composes and compresses them meanwhile. The servers run on the same
cores.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random

import aiohttp
import msgspec
import nats

from benchmarks.people import KEPT, ROOT
from benchmarks.venue import listens, wait_for, with_us
from gateway.config.upstream import SinkEntry
from gateway.store.reading import Reader
from gateway.upstream.making import make_sink
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from gateway.upstream.sinks import Pack, Sink, Verdict

VENUE = "bench"
SUBJECT = f"venues.{VENUE}.events"
STREAM = "EVENTS"
ROUNDS = 2
"""Of relay and bare client in turn, so that both have good and bad moments of the machine."""
Send = Callable[[Pack], Awaitable[None]]


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """Events a second: of the relay, of a bare client with the same bodies, and of one with an event at a time."""

    events: int
    packs: int
    relay_rate: float
    bare_rate: float
    single_rate: float

    @property
    def of_bare(self) -> float:
        """The relay's share of what the bare client does."""
        return self.relay_rate / self.bare_rate

    @property
    def times_single(self) -> float:
        """How many times as fast as one request per event."""
        return self.relay_rate / self.single_rate


class _Places:
    """Where the relay is; of a journal, only the end counts here."""

    def __init__(self, last_seq: int) -> None:
        self.last_seq = last_seq

    def cursor(self, _: str) -> int:
        """Begin at the beginning."""
        return 0

    def set_cursor(self, name: str, seq: int) -> None:
        """Remember nothing."""


class _Kept:
    """A sink that keeps what goes through it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.singly, self.keep_s = sink.singly, sink.keep_s
        self.packs: list[Pack] = []

    async def deliver(self, pack: Pack) -> Verdict:
        """Pass it on."""
        verdict = await self._sink.deliver(pack)
        self.packs.append(pack)
        return verdict

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()


async def relayed(journal: Path, entry: SinkEntry) -> tuple[float, list[Pack]]:
    """Relay the whole journal to a sink; returns how long it took in s, and what was sent."""
    with _reader(journal) as reader:
        last_seq = reader.newest(1)[0].seq
    sink, outbox = _Kept(make_sink(entry, VENUE, "bench")), Outbox(journal, VENUE)
    relay = Relay("bench", sink, outbox, _Places(last_seq), Random(1), print, lambda: 0)
    began_s = time.perf_counter()
    task = asyncio.get_running_loop().create_task(relay.run())
    try:
        while relay.through_seq < last_seq:  # noqa: ASYNC110 - the relay tells nobody
            await asyncio.sleep(0.002)
        return time.perf_counter() - began_s, sink.packs
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await outbox.close()


class _reader:  # noqa: N801 - a context, as contextlib's own
    def __init__(self, journal: Path) -> None:
        self._reader = Reader(journal)

    def __enter__(self) -> Reader:
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._reader.close()


async def timed(send: Send, packs: list[Pack]) -> float:
    """Send packs one after the other; returns how long that took in s."""
    began_s = time.perf_counter()
    for pack in packs:
        await send(pack)
    return time.perf_counter() - began_s


def single(packs: list[Pack], count: int) -> list[Pack]:
    """Return the first events as packs of one, made beforehand."""
    events: list[msgspec.Raw] = []
    for pack in packs:
        events += msgspec.json.decode(gzip.decompress(pack.body), type=list[msgspec.Raw])
        if len(events) >= count:
            break
    return [
        msgspec.structs.replace(
            packs[0], after_seq=seq - 1, through_seq=seq, count=1, body=gzip.compress(b"[" + bytes(event) + b"]", 1)
        )
        for seq, event in enumerate(events[:count], 1)
    ]


@asynccontextmanager
async def reference_upstream(folder: Path) -> AsyncIterator[SinkEntry]:
    """The reference upstream, empty, in a process of its own, with TLS and a certificate of its own."""
    await asyncio.to_thread(_settle, folder)
    command = [*with_us(), sys.executable, "-m", "simulators.upstream", "--folder", str(folder), "--tls", "right"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        if process.stdout is None:
            raise RuntimeError("the reference upstream did not start")
        url = json.loads(await process.stdout.readline())["ready"]
        yield SinkEntry(url=url, ca_file=str(folder / "authority.crt"))
    finally:
        await _end(process)
        shutil.rmtree(folder)


@asynccontextmanager
async def nats_server(folder: Path, port: int) -> AsyncIterator[str]:
    """A nats-server with an empty stream, in a process of its own."""
    await asyncio.to_thread(_settle, folder)
    command = [*with_us(), "nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    try:
        await asyncio.to_thread(wait_for, lambda: listens(port), "nats-server")
        client = await nats.connect(f"nats://127.0.0.1:{port}")
        await client.jetstream().add_stream(name=STREAM, subjects=["venues.*.events"])
        await client.close()
        yield f"nats://127.0.0.1:{port}"
    finally:
        await _end(process)
        shutil.rmtree(folder)


def _settle(folder: Path) -> None:
    """Make a server's folder, and put on the disk what was written before, so that nobody pays for another."""
    folder.mkdir()
    os.sync()


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


async def https_drain(journal: Path, singles: int) -> Drain:
    """Measure the three over HTTPS, each with an upstream of its own that is empty."""
    with _folder() as folder:
        took_s = bare_s = 0.0
        packs: list[Pack] = []
        for _ in range(ROUNDS):
            async with reference_upstream(folder / "relay") as upstream:
                again_s, packs = await relayed(journal, upstream)
            async with reference_upstream(folder / "bare") as upstream, _session(upstream) as session:
                bare_s += await timed(_poster(session, upstream.url), packs)
            took_s += again_s
        one_by_one = single(packs, singles)
        async with reference_upstream(folder / "single") as upstream, _session(upstream) as session:
            single_s = await timed(_poster(session, upstream.url), one_by_one)
        return _drain(packs, took_s, bare_s, len(one_by_one) / single_s)


def _session(upstream: SinkEntry) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=upstream.ca_file)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


def _poster(session: aiohttp.ClientSession, url: str) -> Send:
    headers = {"Content-Type": "application/cloudevents-batch+json", "Content-Encoding": "gzip"}

    async def post(pack: Pack) -> None:
        query = {"source": pack.source, "after": str(pack.after_seq), "through": str(pack.through_seq)}
        address = f"{url}/v1/venues/{VENUE}/events"
        async with session.post(address, params=query, data=pack.body, headers=headers) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the reference upstream answers {answer.status}")

    return post


async def jetstream_drain(journal: Path, singles: int, port: int) -> Drain:
    """Measure the three over JetStream, each with a server of its own that is empty."""
    with _folder() as folder:
        took_s = bare_s = 0.0
        packs: list[Pack] = []
        for _ in range(ROUNDS):
            async with nats_server(folder / "relay", port) as url:
                again_s, packs = await relayed(journal, SinkEntry(url=url))
            async with nats_server(folder / "bare", port) as url:
                bare_s += await _published(url, packs)
            took_s += again_s
        one_by_one = single(packs, singles)
        async with nats_server(folder / "single", port) as url:
            single_s = await _published(url, one_by_one)
        return _drain(packs, took_s, bare_s, len(one_by_one) / single_s)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="drain-", dir=KEPT))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _published(url: str, packs: list[Pack]) -> float:
    """Publish as the sink does: the same bodies and headers, each message guarded by the one before."""
    client = await nats.connect(url)
    js, last_seq = client.jetstream(), 0

    async def publish(pack: Pack) -> None:
        nonlocal last_seq
        headers = {
            "Content-Type": "application/cloudevents-batch+json",
            "Content-Encoding": "gzip",
            "Venue-Source": pack.source,
            "Venue-After": str(pack.after_seq),
            "Venue-Through": str(pack.through_seq),
            "Nats-Expected-Last-Subject-Sequence": str(last_seq),
            "Nats-Msg-Id": pack.through_id,
        }
        last_seq = (await js.publish(SUBJECT, pack.body, headers=headers, stream=STREAM)).seq

    try:
        return await timed(publish, packs)
    finally:
        await client.close()


def _drain(packs: list[Pack], took_s: float, bare_s: float, single_rate: float) -> Drain:
    """Make the rates of what `ROUNDS` took together; `packs` are those of one."""
    events = sum(pack.count for pack in packs)
    return Drain(
        events=events,
        packs=len(packs),
        relay_rate=ROUNDS * events / took_s,
        bare_rate=ROUNDS * events / bare_s,
        single_rate=single_rate,
    )
