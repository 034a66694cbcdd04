"""The console beside a full house: `python -m benchmarks.console`.

64 devices and 100 taps a second, as in `benchmarks.devices`. Phases in which nobody watches and phases in which a plain
reader takes the whole stream follow each other every few seconds, each first as often as the other: whatever else the
disk does falls on both alike. What is left of it is in the confidence intervals, over pairs of phases.
Then a real Chromium loads the page again and again. Prints how long the page takes to paint, and what watching costs of
a core and of the taps.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
from selenium import webdriver

from benchmarks.devices import PRINTERS, House, at, tap
from benchmarks.people import KEPT
from gateway.config.console import USERS_FILE
from gateway.web.users import Users

USER, PASSWORD = "bench", "a long password"
LOADS = 9
WARM_S, SETTLE_S = 3.0, 0.3
DRAWS = 500
MEMORY = Path("/dev/shm")  # noqa: S108 - a benchmark's own folder in it
"""Watching writes nothing. A disk that now and then takes a hundred milliseconds hides whatever watching costs."""
WATCH = """\
import signal, sys, urllib.request
read = 0
def end(*_):
    print(read, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
stream = urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers={"Cookie": sys.argv[2]}))
print(flush=True)
while chunk := stream.read1(65536):
    read += len(chunk)
"""
PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
READY = "return document.documentElement.dataset.ready === 'yes' ? performance.now() : null"


class Watched(House):
    """A full house with a console; with a drawer at each printer it has 64 devices."""

    def __init__(self, kept: Path = KEPT) -> None:
        """Choose a port and write the file of users, in a folder under `kept`; nothing runs yet."""
        super().__init__(kept)
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port: int = held.getsockname()[1]
        Users(self.folder / "state" / USERS_FILE).put(USER, "technician", PASSWORD)

    def _yaml(self) -> str:
        drawers = "".join(f"  drawer-{n}: {{driver: drawer-kick, printer: printer-{n}}}\n" for n in range(PRINTERS))
        whole = super()._yaml().replace("gates:\n", f"{drawers}gates:\n", 1)
        return f"{whole}console: {{listen: '127.0.0.1:{self.port}'}}\n"

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def _browser() -> Iterator[webdriver.Chrome]:
    profile = tempfile.mkdtemp(prefix="bench-chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def _painted(url: str, token: str) -> tuple[list[float], list[float]]:
    """Load the signed-in page again and again; return first paint and the time until all is shown, in ms, sorted."""
    painted, ready = [], []
    with _browser() as driver:
        driver.get(url)
        driver.add_cookie({"name": "vg_console", "value": token, "httpOnly": True, "sameSite": "Strict"})
        for _ in range(LOADS):
            driver.get(f"{url}/#devices")
            driver.refresh()
            ready.append(_until(driver, READY))
            painted.append(_until(driver, PAINT))
    return sorted(painted), sorted(ready)


def _until(driver: webdriver.Chrome, script: str) -> float:
    until_s = time.monotonic() + 20
    while (value := driver.execute_script(script)) is None:
        if time.monotonic() > until_s:
            raise TimeoutError(script)
    return float(value)


@contextlib.asynccontextmanager
async def signed_in(house: Watched) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a browser's session that has signed in."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        answer = await http.post(f"{house.url}/api/login", json={"user": USER, "password": PASSWORD})
        answer.raise_for_status()
        yield http


async def watch(http: aiohttp.ClientSession, house: Watched, read: list[int]) -> None:
    """Take the whole stream until cancelled; `read[0]` counts its bytes."""
    async with http.get(f"{house.url}/api/stream", timeout=aiohttp.ClientTimeout(total=None)) as stream:
        while data := await stream.content.readany():
            read[0] += len(data)


class Phase(NamedTuple):
    """Some seconds of a full house: the share of a core that the daemon took, in percent, and the times of the taps."""

    share: float
    taps_s: list[float]


class Pair(NamedTuple):
    """Two phases beside each other in time, so that whatever else the computer does falls on both alike."""

    alone: Phase
    watched: Phase


async def _run(house: Watched, seconds: float, per_second: int) -> Phase:
    before_s, began_s = house.cpu_s(), time.perf_counter()
    taps_s = await tap(house, per_second, seconds)
    return Phase(100 * (house.cpu_s() - before_s) / (time.perf_counter() - began_s), taps_s)


@contextlib.asynccontextmanager
async def _watcher(url: str, token: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Take the whole stream in a process of its own: what a browser does with it must not delay what is measured."""
    words = (sys.executable, "-c", WATCH, f"{url}/api/stream", f"vg_console={token}")
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    if process.stdout is not None:
        # It says when the stream has begun.
        await process.stdout.readline()
    try:
        yield process
    finally:
        process.terminate()


async def _pairs(house: Watched, token: str, seconds: float, per_second: int, rounds: int) -> tuple[list[Pair], int]:
    """Return the pairs, whose phases change places each time, and how many bytes the watcher read."""
    pairs: list[Pair] = []
    read = 0
    for number in range(rounds):
        phases: dict[bool, Phase] = {}
        for watched in (number % 2 == 1, number % 2 == 0):
            if not watched:
                await asyncio.sleep(SETTLE_S)
                phases[watched] = await _run(house, seconds, per_second)
                continue
            async with _watcher(house.url, token) as process:
                # The page's whole state, which a newcomer gets once, is not what watching costs.
                await asyncio.sleep(SETTLE_S)
                phases[watched] = await _run(house, seconds, per_second)
            told, _ = await process.communicate()
            read += int(told)
        pairs.append(Pair(phases[False], phases[True]))
    return pairs, read


def _p99_ratio(pairs: Sequence[Pair]) -> float:
    """Return how many times longer the 99th percentile of all taps is while somebody watches."""
    alone, watched = (sorted(one for pair in pairs for one in pair[side].taps_s) for side in (0, 1))
    return at(watched, 0.99) / at(alone, 0.99)


def _median_ratio(pairs: Sequence[Pair]) -> float:
    """Return the median over the pairs of the ratio of their 99th percentiles."""
    return statistics.median(at(sorted(b.taps_s), 0.99) / at(sorted(a.taps_s), 0.99) for a, b in pairs)


def _interval(pairs: Sequence[Pair], ratio: Callable[[Sequence[Pair]], float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of a ratio: pairs drawn with replacement, again and again (bootstrap)."""
    dice = random.Random(1)
    drawn = sorted(ratio(dice.choices(pairs, k=len(pairs))) for _ in range(DRAWS))
    return drawn[round(0.025 * DRAWS)], drawn[round(0.975 * DRAWS) - 1]


async def measure(
    seconds: float, per_second: int, rounds: int, kept: Path = KEPT, *, paint: bool = True
) -> dict[str, float]:
    """Return the figures of one run, each with its unit in its name."""
    house = Watched(kept)
    try:
        await house.start()
        await _run(house, WARM_S, per_second)
        async with signed_in(house) as http:
            token = next(one.value for one in http.cookie_jar if one.key == "vg_console")
            pairs, read = await _pairs(house, token, seconds, per_second, rounds)
            figures = await _paint(house, token, per_second) if paint else {}
        return figures | _figures(pairs) | {"stream_kb_a_second": round(read / 1000 / (rounds * seconds), 1)}
    finally:
        await asyncio.to_thread(house.close)


async def _paint(house: Watched, token: str, per_second: int) -> dict[str, float]:
    loading = asyncio.create_task(asyncio.to_thread(_painted, house.url, token))
    while not loading.done():
        await tap(house, per_second, 1.0)
    painted, ready = await loading
    return {
        "first_paint_p50_ms": round(at(painted, 0.5) / 1000, 1),
        "first_paint_max_ms": round(painted[-1], 1),
        "everything_shown_p50_ms": round(at(ready, 0.5) / 1000, 1),
    }


def _figures(pairs: Sequence[Pair]) -> dict[str, float]:
    figures: dict[str, float] = {"taps_a_side": sum(len(pair.alone.taps_s) for pair in pairs)}
    shares = [statistics.fmean(pair[side].share for pair in pairs) for side in (0, 1)]
    figures["core_share_alone_percent"], figures["core_share_watched_percent"] = (round(one, 2) for one in shares)
    figures["core_share_of_console_percent"] = round(shares[1] - shares[0], 2)
    for side, name in enumerate(("alone", "watched")):
        taps_s = sorted(one for pair in pairs for one in pair[side].taps_s)
        figures[f"tap_p50_{name}_ms"], figures[f"tap_p99_{name}_ms"] = (
            round(at(taps_s, share), 2) for share in (0.5, 0.99)
        )
    for name, ratio in (("tap_p99_ratio", _p99_ratio), ("tap_p99_ratio_of_a_pair", _median_ratio)):
        low, high = _interval(pairs, ratio)
        figures |= {name: round(ratio(pairs), 3), f"{name}_low": round(low, 3), f"{name}_high": round(high, 3)}
    return figures


def main() -> int:
    """Run the benchmark of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each phase lasts; default 2")
    parser.add_argument("--per-second", type=int, default=100, help="taps a second; default 100")
    parser.add_argument("--rounds", type=int, default=32, help="pairs of phases; default 32")
    parser.add_argument("--in-memory", action="store_true", help="keep the state in /dev/shm, so that no disk is in it")
    parser.add_argument("--no-paint", action="store_true", help="leave the browser out")
    options = parser.parse_args()
    kept = MEMORY if options.in_memory else KEPT
    measured = measure(options.seconds, options.per_second, options.rounds, kept, paint=not options.no_paint)
    for name, value in asyncio.run(measured).items():
        print(f"{name:<34} {value:>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
