"""How soon nfcpy finds a tag that is held to a simulated PN532: `python -m benchmarks.tags`.

The driver runs as in the daemon, with its defaults and nfcpy in a process of its own; the chip at the other end of the
pty answers at once. Each tag comes at another moment of the reader's round, long enough after the one before was taken
away, and its time counts until the driver tells of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from drivers.api import DeviceEvent, Online, Reading
from drivers.readers.nfcpy import NfcpyOptions, NfcpyReader
from simulators.cards.specimens import Specimen, make
from simulators.pn532 import Pn532
from simulators.pty_line import PtyLine

TAPS = 60
P50_MS_MAX = 150.0
PATIENCE_S = 10.0


class Heard:
    """What the driver told last, and when."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self.at_s = 0.0
        self._kinds: set[type] = set()
        self._changed = asyncio.Event()

    def __call__(self, event: DeviceEvent) -> None:
        """Take an event, as a driver's `emit`."""
        self.at_s = time.monotonic()
        self._kinds.add(type(event))
        self._changed.set()

    async def next(self, kind: type) -> float:
        """Wait for one of this kind; returns when it came, in seconds of the monotonic clock."""
        async with asyncio.timeout(PATIENCE_S):
            while kind not in self._kinds:
                self._changed.clear()
                await self._changed.wait()
        self._kinds.clear()
        return self.at_s


async def found_ms(taps: int) -> list[float]:
    """Hold so many tags to the reader; returns for each how many milliseconds passed until it was told."""
    dice, took_ms = random.Random(1), []
    heard = Heard()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        chip = Pn532(PtyLine(Path(folder) / "nfc"))
        chip.line.plug()
        options = NfcpyOptions(connect=str(chip.line.link))
        driver = asyncio.create_task(NfcpyReader(options, heard).run())
        try:
            await heard.next(Online)
            for number in range(taps):
                chip.present(None)
                await asyncio.sleep(options.gone_after_ms / 1000 + dice.random() * options.poll_ms / 500)
                began_s = time.monotonic()
                chip.present(make(Specimen(chip="ntag213", uid=f"04A1B2C3{number:06X}")))
                took_ms.append((await heard.next(Reading) - began_s) * 1000)
        finally:
            driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driver
            chip.close()
    return took_ms


def figures(taps: int = TAPS) -> dict[str, float]:
    """Return the median and the 95th percentile, with their unit in their names."""
    took_ms = asyncio.run(found_ms(taps))
    return {
        "nfc_tag_found_p50_ms": round(statistics.median(took_ms), 1),
        "nfc_tag_found_p95_ms": round(statistics.quantiles(took_ms, n=20)[-1], 1),
    }


def main() -> int:
    """Run it and print the figures; returns 1 when the median is over its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tags", description=__doc__)
    parser.add_argument("--taps", type=int, default=TAPS, help=f"how many tags; default {TAPS}")
    measured = figures(parser.parse_args().taps)
    for name, value in measured.items():
        print(f"{name:<34} {value:>8}")
    return 0 if measured["nfc_tag_found_p50_ms"] <= P50_MS_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
