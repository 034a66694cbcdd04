"""A pcscd of one's own with vsmartcard's virtual reader, and a simulated card in it.

pcscd takes its socket as systemd hands it over, so that it is found only by whoever is told where it is. The virtual
reader connects to the card (loopback), by vsmartcard's protocol: two bytes of length, then one byte of control (off,
on, reset, ATR) or an APDU.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from simulators.cards.iso_dep import IsoDepCard

PCSCD = shutil.which("pcscd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
CONTACTLESS_ATR = bytes.fromhex("3B8180018080")
OFF, ON, RESET, ATR = b"\x00", b"\x01", b"\x02", b"\x04"
PORT_TRIES = 20
GET_UID = bytes.fromhex("FFCA000000")
_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""As systemd hands over a socket: descriptor 3, and the process that it is for."""


def missing() -> str:
    """Why this cannot run here, in words; empty where it can."""
    if PCSCD is None:
        return "pcscd is not installed (Debian: pcscd)"
    if not DRIVER.exists():
        return "vsmartcard's virtual reader is not installed (Debian: vsmartcard-vpcd)"
    return ""


class VirtualSlot:
    """A card that lies in one slot of the virtual reader: Debian's driver ends pcscd when a card is taken away."""

    def __init__(self, card: IsoDepCard) -> None:
        self.apdus: list[bytes] = []
        self._card = card
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def listen(self, port: int) -> int:
        """Wait for the virtual reader on a port of this machine, 0 for a free one; returns it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = self._answer(await reader.readexactly(size))
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()

    def _answer(self, message: bytes) -> bytes | None:
        if message in {OFF, ON, RESET}:
            self._card.select()
            return None
        if message == ATR:
            return CONTACTLESS_ATR
        self.apdus.append(message)
        # The number is the reader's own answer: the card itself knows no such command.
        return self._card.uid + b"\x90\x00" if message == GET_UID else self._card.apdu(message)


async def two_ports(first: VirtualSlot, second: VirtualSlot) -> int:
    """Serve both slots, whose ports follow each other; returns the first."""
    for _ in range(PORT_TRIES):
        port = await first.listen(0)
        try:
            await second.listen(port + 1)
        except OSError:
            await first.close()
        else:
            return port
    raise OSError("no two free ports follow each other")


@asynccontextmanager
async def private_pcscd(first: IsoDepCard, second: IsoDepCard) -> AsyncIterator[tuple[VirtualSlot, VirtualSlot, Path]]:
    """Run it with a card in each slot; yields the slots and the socket that clients take from PCSCLITE_CSOCK_NAME."""
    folder = Path(tempfile.mkdtemp(prefix="vg-"))
    slots = VirtualSlot(first), VirtualSlot(second)
    port = await two_ports(*slots)
    configuration = folder / "readers"
    configuration.mkdir()
    (configuration / "vpcd").write_text(
        f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME 127.0.0.1:0x{port:X}\nLIBPATH {DRIVER}\nCHANNELID 0x{port:X}\n'
    )
    path = folder / "pcscd.comm"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        process = await _start(listening, configuration)
    try:
        yield *slots, path
    finally:
        await _end(process)
        for slot in slots:
            await slot.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _start(listening: socket.socket, configuration: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ACTIVATE, str(listening.fileno()), str(PCSCD), "--foreground", "--config",
        str(configuration), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL, pass_fds=(listening.fileno(),), env={"LISTEN_FDS": "1"},
    )  # fmt: skip


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
