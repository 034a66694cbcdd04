"""One repetition: every figure and every floor, one after the other, on the same machine in the same minute."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from statistics import median

import mqtt5
import msgspec

from benchmarks.card import SlowCard
from benchmarks.crowd import arrivals_s
from benchmarks.figures import Run
from benchmarks.floors import ECHO_BASE, NAIVE_BASE, BareLog, written_bytes
from benchmarks.killed import CutOff, last_seq, requests_after
from benchmarks.local import taps_at_rest, taps_in_turn
from benchmarks.peer import Installed, Peer, Receipt
from benchmarks.peer import Sizes as PeerSizes
from benchmarks.people import tag_number
from benchmarks.venue import BASE, CLIENT, GATES, PULSE_MS, START_TIMEOUT_S, Venue
from benchmarks.wire import BareClient, Question, Timing, load, quantile

GRANTED = b'"granted"'
EXPIRES_MS = 30_000
WAL_EVERY_S = 0.005
QUIET_TIMEOUT_S = 60.0


class Sizes(msgspec.Struct, frozen=True):
    """How many of each; guests must last for all taps of all repetitions.

    The gateway's housekeeping comes round every second: after `quiet_s` without a byte it has nothing to write.
    """

    guests: int = 1_000_000
    repetitions: int = 5
    commits: int = 3_000
    echoes: int = 4_000
    taps: int = 7_000
    naive: int = 3_000
    taps64: int = 30_000
    local: int = 1_000
    paced: int = 30
    warm_up: int = 200
    card: int = 300
    card64: int = 6_000
    crowd: int = 1_000
    before_kill: int = 3_000
    peer: PeerSizes = PeerSizes()
    quiet_s: float = 1.5


QUICK = Sizes(
    guests=20_000,
    repetitions=1,
    commits=100,
    echoes=100,
    taps=200,
    naive=200,
    taps64=1_000,
    local=50,
    paced=3,
    warm_up=20,
    card=20,
    card64=300,
    crowd=60,
    before_kill=300,
    peer=PeerSizes(rate=200, rate64=100, alone=1, before_kill=100),
    quiet_s=0.2,
)
CROWD_RATE = 100.0


class States:
    """What the gateway says of itself in its retained states."""

    def __init__(self, client: BareClient) -> None:
        self._known: dict[str, str] = {}
        self._changed = asyncio.Event()
        client.on_publish = self._took

    def forget(self) -> None:
        """Forget what a gateway said that is gone."""
        self._known.clear()

    async def until(self, topic: str, *wanted: str) -> None:
        """Wait until `topic` says one of the `wanted` states. Raises TimeoutError."""
        async with asyncio.timeout(START_TIMEOUT_S):
            while self._known.get(topic) not in wanted:
                self._changed.clear()
                await self._changed.wait()

    def _took(self, packet: mqtt5.PublishPacket) -> None:
        # What is gone from the configuration is cleared with nothing in it.
        self._known[packet.topic] = msgspec.json.decode(packet.payload)["state"] if packet.payload else ""
        self._changed.set()


class Bench:
    """Measures one venue; `run()` is one repetition."""

    def __init__(self, venue: Venue, sizes: Sizes, peer: Installed | None = None) -> None:
        """Measure a venue whose broker runs; `peer` is left out when there is no command that starts it."""
        self._venue = venue
        self._sizes = sizes
        self._peer = self._peer_of(peer)
        self._dice = Random(0)
        self._guests = iter(range(sizes.guests))
        self._numbers = itertools.count()
        self._wal_bytes = 0
        self._rss_before_mb = 0.0
        self._stack = ExitStack()
        self._bare: BareLog
        self.client: BareClient
        self._states: States

    async def prepare(self) -> float:
        """Connect, start the gateway for the first time, and return how long its start took, in s."""
        port, password = self._venue.port, self._venue.password
        watcher = self._stack.enter_context(closing(await BareClient.tcp(port, "bench-watch", CLIENT, password)))
        self._states = States(watcher)
        for topic in (f"{BASE}/gateway/state", *self._devices("local", *self._venue.crowd.gates)):
            await watcher.subscribe(topic)
        self.client = self._stack.enter_context(closing(await BareClient.tcp(port, "bench", CLIENT, password)))
        for base in (BASE, ECHO_BASE, NAIVE_BASE):
            await self.client.subscribe(f"{base}/clients/{CLIENT}/responses")
        took_s = await self._start()
        await self.taps(self._sizes.warm_up, 1)
        self._bare = self._stack.enter_context(closing(self._bare_log()))
        return took_s

    async def run(self) -> Run:
        """Measure everything once, then kill the gateway and start it again."""
        sizes = self._sizes
        self._wal_bytes = 0
        commits, commit_bytes = self._bare.commits(sizes.commits)
        paced, _ = self._bare.commits(sizes.paced, PULSE_MS / 1000)
        echo = await self._echo(sizes.warm_up, sizes.echoes)
        tap, tap_bytes = await self._taps_and_bytes(sizes.taps, 1)
        local_paced = taps_at_rest(self._venue.local, self._next_tag, sizes.paced)
        naive = await self._naive(sizes.warm_up, sizes.naive)
        cpu_s = self._venue.cpu_s()
        tap64, tap64_bytes = await self._taps_and_bytes(sizes.taps64, 64)
        cpu_us = (self._venue.cpu_s() - cpu_s) / (sizes.taps64 + sizes.warm_up) * 1e6
        rss_mb, anonymous_mb = self._venue.resident_mb(), self._venue.resident_mb("RssAnon")
        rss_before_mb = self._rss_before_mb
        receipt = await self._receipt()
        sync_ms, card, card64 = await self._slow_card()
        await self._kill()
        await self._start(config=self._venue.crowded_config)
        local, crowd = await self._local()
        lost, start_s = await self._answers_lost()
        return Run(
            commit_p50_ms=commits.quantile_ms(0.5),
            commit_p99_ms=commits.quantile_ms(0.99),
            commit_bytes=commit_bytes,
            commit_paced_p50_ms=paced.quantile_ms(0.5),
            echo_p50_ms=echo.quantile_ms(0.5),
            echo_p99_ms=echo.quantile_ms(0.99),
            floor_p50_ms=echo.quantile_ms(0.5) + commits.quantile_ms(0.5),
            tap_p50_ms=tap.quantile_ms(0.5),
            tap_p99_ms=tap.quantile_ms(0.99),
            tap_bytes=tap_bytes,
            naive64_rate=naive.rate,
            naive64_p50_ms=naive.quantile_ms(0.5),
            tap64_rate=tap64.rate,
            tap64_p50_ms=tap64.quantile_ms(0.5),
            tap64_p99_ms=tap64.quantile_ms(0.99),
            tap64_max_ms=tap64.quantile_ms(1),
            tap64_bytes=tap64_bytes,
            tap64_cpu_us=cpu_us,
            wal_mb=self._wal_bytes / 1e6,
            local_p50_ms=median(local) * 1000,
            local_p99_ms=quantile(local, 0.99) * 1000,
            local_paced_p50_ms=median(local_paced) * 1000,
            rss_before_mb=rss_before_mb,
            rss_mb=rss_mb,
            rss_anonymous_mb=anonymous_mb,
            start_s=start_s,
            lost=lost,
            sd_sync_p50_ms=sync_ms,
            sd_tap_p50_ms=card.quantile_ms(0.5),
            sd_tap64_p50_ms=card64.quantile_ms(0.5),
            sd_tap64_rate=card64.rate,
            crowd_p50_ms=crowd.quantile_ms(0.5),
            crowd_p99_ms=crowd.quantile_ms(0.99),
            crowd_max_ms=crowd.quantile_ms(1),
            peer_rate=receipt.rate if receipt else None,
            peer64_rate=receipt.rate64 if receipt else None,
            peer_p50_ms=receipt.p50_ms if receipt else None,
            peer_sent=receipt.sent if receipt else None,
            peer_lost=receipt.lost if receipt else None,
        )

    def close(self) -> None:
        """Leave the broker, and close the bare log."""
        self._stack.close()

    async def restart_on(self, config: Path) -> float:
        """Start the gateway, which has ended, on another configuration; returns how long its start took, in s."""
        return await self._start(config)

    async def restart(self) -> float:
        """Kill the gateway with -9 and start it again; returns the time to its first granted answer, in s."""
        await self._kill()
        return await self._start()

    async def _kill(self) -> None:
        self._venue.kill_daemon()
        await self._states.until(f"{BASE}/gateway/state", "offline")

    async def _receipt(self) -> Receipt | None:
        """Measure the peer, if there is one, while the gateway has nothing to do."""
        return await self._peer.receive(self.client, self.question, self._sizes.peer) if self._peer else None

    async def _slow_card(self) -> tuple[float, Timing, Timing]:
        """Return what one sync takes on a slow card, in ms, and taps of a gateway on it, one and 64 in flight."""
        with closing(SlowCard(self._venue.state_dir, self._venue.folder / "card.control")) as card:
            await self._kill()
            await self._start(environment=card.environment())
            await self.taps(self._sizes.warm_up // 4, 1)
            one = await self.taps(self._sizes.card, 1)
            sync_ms = card.sync_p50_ms(self._sizes.card)
            await self.taps(self._sizes.warm_up, 64)
            return sync_ms, one, await self.taps(self._sizes.card64, 64)

    async def _local(self) -> tuple[list[float], Timing]:
        """Return how long guests wait at local gates, one after the other and as a crowd."""
        crowd = self._venue.crowd
        for topic in self._devices(*crowd.gates):
            await self._states.until(topic, "online")
        local_s = taps_in_turn(list(crowd.gates.values()), self._next_tag, self._sizes.local)
        due_s = arrivals_s(self._sizes.crowd, CROWD_RATE, self._dice)
        return local_s, Timing(crowd.taps(self._next_tag, due_s), due_s[-1])

    async def _answers_lost(self) -> tuple[int, float]:
        """Kill the gateway amid a load; return how many answers are not in its journal, and the start after it in s."""
        journal = self._venue.state_dir / "journal.db"
        seq = last_seq(journal)
        load = CutOff(self.client, self.question, 64)
        await load.after(self._sizes.before_kill, self._venue.kill_daemon)
        await self._states.until(f"{BASE}/gateway/state", "offline")
        start_s = await self._start()
        return len(load.answered - requests_after(journal, seq)), start_s

    async def _start(self, config: Path | None = None, environment: Mapping[str, str] | None = None) -> float:
        """Return the time from the start of the process to the first granted answer, in s."""
        self._states.forget()
        began_s = time.perf_counter()
        self._venue.start_daemon(config, environment)
        await self._states.until(f"{BASE}/gateway/state", "online")
        await self.taps(1, 1)
        took_s = time.perf_counter() - began_s
        for topic in self._devices("local"):
            await self._states.until(topic, "online")
        self._rss_before_mb = self._venue.resident_mb()
        return took_s

    async def _echo(self, warm_up: int, count: int) -> Timing:
        await load(self.client, lambda: self.question(ECHO_BASE), warm_up, 1)
        return await load(self.client, lambda: self.question(ECHO_BASE), count, 1)

    async def _naive(self, warm_up: int, count: int) -> Timing:
        await load(self.client, lambda: self.question(NAIVE_BASE), warm_up, 64, GRANTED)
        return await load(self.client, lambda: self.question(NAIVE_BASE), count, 64, GRANTED)

    async def _taps_and_bytes(self, count: int, in_flight: int) -> tuple[Timing, float]:
        """Return the timing of `count` taps and the bytes each cost on disk, with all that follows from them."""
        await self.taps(self._sizes.warm_up, in_flight)
        before = await self._quiet()
        timing = await self.taps(count, in_flight)
        return timing, (await self._quiet() - before) / count

    async def taps(self, count: int, in_flight: int) -> Timing:
        """Time `count` taps over MQTT, so many of them in flight, each by a guest who has not come yet."""
        watch = asyncio.create_task(self._watch_wal())
        try:
            return await load(self.client, self.question, count, in_flight, GRANTED)
        finally:
            watch.cancel()

    async def _watch_wal(self) -> None:
        while True:
            self._see_wal()
            await asyncio.sleep(WAL_EVERY_S)

    def _see_wal(self) -> None:
        if self._venue.wal.exists():
            self._wal_bytes = max(self._wal_bytes, self._venue.wal.stat().st_size)

    async def _quiet(self) -> int:
        """Wait until the gateway writes nothing any more, and return all that it ever wrote, in bytes."""
        written, since_s = -1, 0.0
        async with asyncio.timeout(QUIET_TIMEOUT_S):
            while True:
                self._see_wal()
                now = written_bytes(self._venue.daemon.pid)
                if now != written:
                    written, since_s = now, time.monotonic()
                elif time.monotonic() - since_s >= self._sizes.quiet_s:
                    return written
                await asyncio.sleep(WAL_EVERY_S)

    def question(self, base: str = BASE) -> Question:
        """Return the next tap, by a guest who has not come yet."""
        number = next(self._numbers)
        request = f"request-{number}"
        expires_at = time.time_ns() // 1_000_000 + EXPIRES_MS
        payload = (
            f'{{"id":"{request}","expires_at":{expires_at},'
            f'"data":{{"credential":{{"technology":"em4100","value":"{self._next_tag()}"}}}}}}'
        )
        topic = f"{base}/clients/{CLIENT}/requests/{GATES[number % len(GATES)]}/authenticate"
        return Question(request, topic, payload.encode())

    def _next_tag(self) -> str:
        """Return the tag of a guest who has not come yet."""
        guest = next(self._guests, None)
        if guest is None:
            raise RuntimeError("all guests are inside: the directory is too small for so many taps")
        return tag_number(guest)

    def _bare_log(self) -> BareLog:
        """Return a log with the journal's page size and rows of its typical size, hash and id included."""
        path = self._venue.state_dir / "journal.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
            ((page_bytes,),) = journal.execute("PRAGMA page_size").fetchall()
            sizes = journal.execute("SELECT length(body) + length(id) + length(hash) FROM journal").fetchall()
        return BareLog(self._venue.folder / "bare.db", page_bytes, round(median(size for (size,) in sizes)))

    def _peer_of(self, installed: Installed | None) -> Peer | None:
        if installed is None or installed.command is None:
            return None
        return Peer(installed.command, self._venue.folder / "peer", self._venue.open_port)

    @staticmethod
    def _devices(*gates: str) -> list[str]:
        return [f"{BASE}/devices/{gate}-{device}/state" for gate in gates for device in ("reader", "relay")]
