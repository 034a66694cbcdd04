"""The wedge's driver in a process of its own: prints each reading as JSON, and ends after as many as it is told."""

import asyncio
import json
import sys

from drivers.api import Online, Reading
from drivers.scanners.wedge import WedgeOptions, WedgeScanner


def tell(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(layout: str, count: int) -> None:
    left = count
    done = asyncio.Event()

    def emit(event: object) -> None:
        nonlocal left
        if isinstance(event, Online):
            tell({"online": event.detail})
        if isinstance(event, Reading):
            tell({"value": event.value, "symbology": event.symbology})
            left -= 1
            if not left:
                done.set()

    driver = WedgeScanner(WedgeOptions(port="/dev/input/event7", layout=layout), emit)
    task = asyncio.create_task(driver.run())
    async with asyncio.timeout(10):
        await asyncio.wait({task, asyncio.create_task(done.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    task.cancel()
    await asyncio.wait({task})


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
