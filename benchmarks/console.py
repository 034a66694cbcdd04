"""The console beside a full house: `python -m benchmarks.console`.

64 devices and 100 taps a second, as in `benchmarks.devices`. Phases in which nobody watches and phases in which a plain
reader takes the whole stream follow each other every few seconds: whatever else the disk does falls on both alike.
Then a real Chromium loads the page again and again. Prints how long the page takes to paint, and what watching costs of
a core and of the taps.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
from selenium import webdriver

from benchmarks.devices import PRINTERS, House, at, tap
from gateway.config.console import USERS_FILE
from gateway.web.users import Users

USER, PASSWORD = "bench", "a long password"
LOADS = 9
PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
READY = "return document.documentElement.dataset.ready === 'yes' ? performance.now() : null"


class Watched(House):
    """A full house with a console; with a drawer at each printer it has 64 devices."""

    def __init__(self) -> None:
        """Choose a port and write the file of users; nothing runs yet."""
        super().__init__()
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


async def _run(house: Watched, seconds: float, per_second: int) -> tuple[float, list[float]]:
    """Return the share of a core that the daemon took, in percent, and the times of the taps."""
    before_s, began_s = house.cpu_s(), time.perf_counter()
    taps = await tap(house, per_second, seconds)
    return 100 * (house.cpu_s() - before_s) / (time.perf_counter() - began_s), taps


async def measure(seconds: float, per_second: int, rounds: int) -> dict[str, float]:
    """Return the figures of one run, each with its unit in its name."""
    house = Watched()
    try:
        await house.start()
        await _run(house, 3, per_second)
        async with signed_in(house) as http:
            alone, watched, read = await _by_turns(house, http, seconds, per_second, rounds)
            token = next(one.value for one in http.cookie_jar if one.key == "vg_console")
            loading = asyncio.create_task(asyncio.to_thread(_painted, house.url, token))
            while not loading.done():
                await tap(house, per_second, seconds)
            painted, ready = await loading
        taps_alone, taps_watched = (sorted(one for _, taps in phases for one in taps) for phases in (alone, watched))
        share_alone, share_watched = (sum(share for share, _ in phases) / rounds for phases in (alone, watched))
        pairs = zip(alone, watched, strict=True)
        ratios = sorted(at(after, 0.99) / at(before, 0.99) for (_, before), (_, after) in pairs)
        return {
            "first_paint_p50_ms": round(at(painted, 0.5) / 1000, 1),
            "first_paint_max_ms": round(painted[-1], 1),
            "everything_shown_p50_ms": round(at(ready, 0.5) / 1000, 1),
            "core_share_alone_percent": round(share_alone, 1),
            "core_share_watched_percent": round(share_watched, 1),
            "core_share_of_console_percent": round(share_watched - share_alone, 1),
            "stream_kb_a_second": round(read / 1000 / (rounds * seconds), 1),
            "tap_p50_alone_ms": round(at(taps_alone, 0.5), 2),
            "tap_p50_watched_ms": round(at(taps_watched, 0.5), 2),
            "tap_p99_alone_ms": round(at(taps_alone, 0.99), 2),
            "tap_p99_watched_ms": round(at(taps_watched, 0.99), 2),
            "tap_p99_ratio": round(at(taps_watched, 0.99) / at(taps_alone, 0.99), 2),
            "tap_p99_ratio_of_a_round_p50": round(ratios[len(ratios) // 2], 2),
        }
    finally:
        await asyncio.to_thread(house.close)


Phase = tuple[float, list[float]]


async def _by_turns(
    house: Watched, http: aiohttp.ClientSession, seconds: float, per_second: int, rounds: int
) -> tuple[list[Phase], list[Phase], int]:
    """Return the phases alone, those watched, and how many bytes the watcher read."""
    alone: list[Phase] = []
    watched: list[Phase] = []
    read = [0]
    for _ in range(rounds):
        alone.append(await _run(house, seconds, per_second))
        watching = asyncio.create_task(watch(http, house, read))
        watched.append(await _run(house, seconds, per_second))
        watching.cancel()
        await asyncio.wait([watching])
    return alone, watched, read[0]


def main() -> int:
    """Run the benchmark of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each phase lasts; default 2")
    parser.add_argument("--per-second", type=int, default=100, help="taps a second; default 100")
    parser.add_argument("--rounds", type=int, default=25, help="pairs of phases; default 25")
    options = parser.parse_args()
    for name, value in asyncio.run(measure(options.seconds, options.per_second, options.rounds)).items():
        print(f"{name:<34} {value:>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
