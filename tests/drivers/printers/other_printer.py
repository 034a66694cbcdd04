"""A receipt printer that this project did not write: emupos, in a process and an environment of its own.

It takes ESC/POS on TCP, answers status questions, has a drawer, and draws every receipt as a picture and as text. What
happens to it is done and seen through its control interface, which the driver knows nothing of.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.ports import free_port

EMUPOS = Path(sys.prefix) / "peers/bin/emupos"
NAME = "bar"
MISSING = "emupos is not installed: it needs Python 3.13 or newer on this machine, and then 'scripts/setup tests'"

needs_the_other_printer = pytest.mark.skipif(not EMUPOS.exists(), reason=MISSING)


class OtherPrinter:
    """What a person at the printer does and sees."""

    def __init__(self, port: int, control: str, session: aiohttp.ClientSession, news: Any) -> None:
        self.port = port
        self._control = f"{control}/devices/{NAME}"
        self._session = session
        self._news = news
        self.not_understood: list[str] = []

    async def fault(self, name: str, *, active: bool = True) -> None:
        """Take the paper out, open the cover and so on, or make it good again."""
        ask = self._session.put if active else self._session.delete
        async with ask(f"{self._control}/faults/{name}") as answer:
            assert answer.status == 204, await answer.text()

    async def shut_drawer(self) -> None:
        """Push the drawer in."""
        async with self._session.post(f"{self._control}/drawer/close") as answer:
            assert answer.status == 204, await answer.text()

    async def told(self, kind: str) -> dict[str, Any]:
        """Wait for the next event of this kind; what the printer did not understand until then is kept."""
        while True:
            event = await self._news.receive_json(timeout=5)
            if event["type"] == "printer.command.unknown":
                self.not_understood.append(event["data"]["bytes"])
            if event["type"] == kind:
                return event["data"]

    async def receipt(self) -> tuple[list[str], Image.Image]:
        """Wait for the next receipt to be cut off: its lines as text, and its picture."""
        receipt = f"{self._control}/receipts/{(await self.told('printer.job.completed'))['receipt_id']}"
        async with self._session.get(f"{receipt}/text") as answer:
            text = await answer.text()
        async with self._session.get(f"{receipt}/image") as answer:
            picture = Image.open(io.BytesIO(await answer.read()))
            picture.load()
        return text.splitlines(), picture


@contextmanager
def started(folder: Path) -> Iterator[tuple[int, str]]:
    """Start one; gives its port for receipts and the address of its control interface."""
    port, control = free_port(), free_port()
    settings = folder / "emupos.yaml"
    settings.write_text(
        f"schema: 1\napi: {{port: {control}}}\ndevices:\n"
        f"  - {{id: {NAME}, type: printer, profile: epson-tm-t20iii, connections: [{{tcp: {{port: {port}}}}}]}}\n"
    )
    process = subprocess.Popen(
        [EMUPOS, "run", "--config", settings],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "Showing events" in line:
                break
        else:
            pytest.fail("emupos did not start: " + "".join(said))
        yield port, f"http://127.0.0.1:{control}/api/v1"
    finally:
        process.terminate()
        process.communicate(timeout=20)


@asynccontextmanager
async def beside(port: int, control: str) -> AsyncIterator[OtherPrinter]:
    """Stand beside a printer that runs, with nothing wrong with it and its drawer shut."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{control}/events") as news:
        printer = OtherPrinter(port, control, session, news)
        for name in ("paper-near-end", "paper-out", "cover-open", "offline"):
            await printer.fault(name, active=False)
        await printer.shut_drawer()
        yield printer
