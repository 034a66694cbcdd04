"""A full house of devices on one gateway: `python -m benchmarks.devices`.

32 readers and 16 relay boards on ptys, 8 receipt printers on TCP, whose other ends this process holds; 100 taps a
second and a few receipts. Prints the share of one core the daemon takes, how long a tap takes from the tag's last byte
to the relay's first, and a receipt of 40 lines from the request to its first and last byte at the printer (cold: the
slowest of each printer's first one); then how soon nfcpy finds a tag (`benchmarks.tags`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt

from benchmarks import tags
from benchmarks.people import KEPT, ROOT, keep_out_of_git, tag_number
from drivers.codecs.rdm6300 import encode_frame

READERS, GATES, PRINTERS = 32, 16, 8
GUESTS = 20_000
CLOSE = bytes.fromhex("A00101A2")
LINES = 40
PRINTER_FINE = {1: 0x12, 2: 0x12, 3: 0x12, 4: 0x12}
"""What a printer that is well answers to DLE EOT 1 to 4."""
READY_S = 30.0
LIMITS = {
    "core_share_at_100_taps_percent": 60.0,
    "receipt_last_byte_p95_ms": 50.0,
    "nfc_tag_found_p50_ms": tags.P50_MS_MAX,
}


class Pty:
    """One pty: the gateway opens `port`, we are the device."""

    def __init__(self) -> None:
        self.device, self._port = os.openpty()
        os.set_blocking(self.device, False)
        self.port = os.ttyname(self._port)

    def close(self) -> None:
        """Unplug."""
        os.close(self.device)
        os.close(self._port)


class Relay(Pty):
    """A relay board that notes when it is told to close."""

    def __init__(self) -> None:
        super().__init__()
        self.closed_s: list[float] = []

    def listen(self) -> None:
        """Take commands as they come."""
        asyncio.get_running_loop().add_reader(self.device, self._hear)

    def _hear(self) -> None:
        now_s = time.perf_counter()
        data = os.read(self.device, 4096)
        self.closed_s += [now_s] * data.count(CLOSE)


class Printer:
    """A printer on TCP that answers status questions and notes when the first and last byte of a job came."""

    def __init__(self) -> None:
        self.port = 0
        self.first_s = self.last_s = 0.0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            for asked, answer in PRINTER_FINE.items():
                question = bytes([0x10, 0x04, asked])
                writer.write(bytes([answer]) * data.count(question))
                data = data.replace(question, b"")
            if data:
                self.last_s = time.perf_counter()
                self.first_s = self.first_s or self.last_s


class House:
    """The daemon, its broker and the far ends of its devices, in a folder that goes in the end."""

    def __init__(self, kept: Path = KEPT) -> None:
        keep_out_of_git()
        self.folder = Path(tempfile.mkdtemp(prefix="devices-", dir=kept))
        self.sockets = Path(tempfile.mkdtemp(prefix="bench-"))
        self.readers = [Pty() for _ in range(READERS)]
        self.relays = [Relay() for _ in range(GATES)]
        self.printers = [Printer() for _ in range(PRINTERS)]
        self.config = self.folder / "venue.yaml"
        self.processes: list[subprocess.Popen[str]] = []
        self.daemon: subprocess.Popen[str]

    async def start(self) -> None:
        """Write the configuration, import the guests, start broker and daemon, and wait for every device."""
        for printer in self.printers:
            await printer.open()
        for relay in self.relays:
            relay.listen()
        self.config.write_text(self._yaml())
        guests = self.folder / "guests.ndjson"
        guests.write_text("".join(self._guests()))
        await asyncio.to_thread(self._gateway, "directory", "import", "--empty", str(guests))
        user = ["--user", "root"] if os.geteuid() == 0 else []
        await asyncio.to_thread(self._gateway, "broker", "write", str(self.folder / "broker"), *user)
        await self._begin(["mosquitto", "-c", str(self.folder / "broker/mosquitto.conf")], "broker.log")
        command = [sys.executable, "-m", "gateway", "run", "--config", str(self.config)]
        self.daemon = await self._begin(command, "gateway.log")
        await self._all_online()

    def cpu_s(self) -> float:
        """Return the processor time the daemon has used, all threads (proc(5), /proc/pid/stat)."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End every process and remove every file."""
        for process in reversed(self.processes):
            process.terminate()
            process.wait(15)
        for end in (*self.readers, *self.relays):
            end.close()
        for folder in (self.folder, self.sockets):
            shutil.rmtree(folder, ignore_errors=True)

    def _gateway(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "gateway", *arguments, "--config", str(self.config)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=120, stdout=subprocess.DEVNULL)

    async def _begin(self, command: list[str], log: str) -> subprocess.Popen[str]:
        with (self.folder / log).open("w") as file:
            process = await asyncio.to_thread(
                subprocess.Popen, command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=file
            )
        self.processes.append(process)
        return process

    async def _all_online(self) -> None:
        until_s = time.monotonic() + READY_S
        wanted = READERS + GATES + PRINTERS
        while (self.folder / "gateway.log").read_text().count('"status":"online"') < wanted:
            if time.monotonic() > until_s:
                raise TimeoutError((self.folder / "gateway.log").read_text()[-2000:])
            await asyncio.sleep(0.1)

    def _guests(self) -> Iterator[str]:
        return _guests()

    def _yaml(self) -> str:
        devices = [f"  reader-{n}: {{driver: rdm6300, port: {one.port}}}" for n, one in enumerate(self.readers)]
        devices += [f"  relay-{n}: {{driver: lcus, port: {one.port}}}" for n, one in enumerate(self.relays)]
        devices += [
            f"  printer-{n}: {{driver: escpos, connect: 'tcp://127.0.0.1:{one.port}'}}"
            for n, one in enumerate(self.printers)
        ]
        per_gate = READERS // GATES
        gates = [
            f"  gate-{n}: {{to: hall, lock: relay-{n}.1, pulse_ms: 50, anti_passback: 'off', readers: "
            f"[{', '.join(f'reader-{n * per_gate + reader}' for reader in range(per_gate))}]}}"
            for n in range(GATES)
        ]
        grants = ", ".join(f"printer-{n}: [print]" for n in range(PRINTERS))
        lines = [
            "venue: {id: bench, timezone: Europe/Berlin, currency: EUR}",
            f"broker: unix://{self.sockets}/mqtt.sock",
            "state_dir: state",
            "zones: {hall: {}}",
            "devices:",
            *devices,
            "gates:",
            *gates,
            f"clients: {{bench: {{may: {{{grants}}}}}}}",
        ]
        return "\n".join(lines) + "\n"


def _guests() -> Iterator[str]:
    for guest in range(GUESTS):
        yield (
            f'{{"type":"credential","technology":"em4100","value":"{tag_number(guest)}","holder":"guest-{guest}"}}\n'
            f'{{"type":"entitlement","id":"ticket-{guest}","holder":"guest-{guest}","zones":["hall"],'
            '"valid_from":"2020-01-01T00:00:00Z","valid_until":"2120-01-01T00:00:00Z","reentry":true}\n'
        )


async def tap(house: House, per_second: int, seconds: float) -> list[float]:
    """Hold tags to all readers in turn; return for each gate's pulse the time since its tap, in s."""
    began_s = time.perf_counter()
    tags, readers = itertools.cycle(range(GUESTS)), itertools.cycle(range(READERS))
    sent: list[list[float]] = [[] for _ in house.relays]
    for relay in house.relays:
        relay.closed_s.clear()
    for number in range(round(per_second * seconds)):
        await asyncio.sleep(max(0.0, began_s + number / per_second - time.perf_counter()))
        reader = next(readers)
        os.write(house.readers[reader].device, encode_frame(tag_number(next(tags))))
        sent[reader * GATES // READERS].append(time.perf_counter())
    await asyncio.sleep(0.5)
    lost = sum(len(taps) - len(relay.closed_s) for taps, relay in zip(sent, house.relays, strict=True))
    if lost:
        raise RuntimeError(f"{lost} taps opened no gate")
    pairs = zip(sent, (relay.closed_s for relay in house.relays), strict=True)
    return sorted(after - before for taps, pulses in pairs for before, after in zip(taps, pulses, strict=True))


async def receipts(house: House, count: int, pause_s: float) -> tuple[list[float], list[float]]:
    """Ask for receipts of 40 lines, one printer after the other; return times to the first and last byte, in s."""
    texts = [f"{n + 1:2} x Apfelschorle 0,5 l      {n},50 EUR" for n in range(LINES)]
    document = {"lines": [{"type": "text", "text": text} for text in texts]}
    first: list[float] = []
    last: list[float] = []
    async with aiomqtt.Client(f"{house.sockets}/mqtt.sock", transport="unix") as client:
        for number in range(count):
            printer = house.printers[number % PRINTERS]
            printer.first_s = printer.last_s = 0.0
            request = {"id": f"r-{number}-{time.monotonic_ns()}", "data": {"document": document}}
            topic = f"venue/bench/clients/bench/requests/printer-{number % PRINTERS}/print"
            began_s = time.perf_counter()
            await client.publish(topic, json.dumps(request), qos=1)
            await asyncio.sleep(pause_s)
            if not printer.first_s:
                raise RuntimeError("a receipt did not come")
            first.append(printer.first_s - began_s)
            last.append(printer.last_s - began_s)
    return sorted(first), sorted(last)


def at(values: list[float], share: float) -> float:
    """Return a percentile of sorted times, in milliseconds."""
    return values[min(len(values) - 1, int(len(values) * share))] * 1000


async def measure(seconds: float, per_second: int, count: int) -> dict[str, float]:
    """Return the figures of one run, each with its unit in its name."""
    house = House()
    try:
        await house.start()
        _, cold = await receipts(house, PRINTERS, 0.5)
        before_s, began_s = house.cpu_s(), time.perf_counter()
        await asyncio.sleep(min(5.0, seconds))
        idle = (house.cpu_s() - before_s) / (time.perf_counter() - began_s)
        before_s, began_s = house.cpu_s(), time.perf_counter()
        taps = await tap(house, per_second, seconds)
        busy = (house.cpu_s() - before_s) / (time.perf_counter() - began_s)
        first, last = await receipts(house, count, 0.4)
        return {
            "core_share_idle_percent": round(100 * idle, 1),
            "core_share_at_100_taps_percent": round(100 * busy, 1),
            "tap_p50_ms": round(at(taps, 0.5), 2),
            "tap_p99_ms": round(at(taps, 0.99), 2),
            "receipt_last_byte_cold_ms": round(cold[-1] * 1000, 1),
            "receipt_first_byte_p50_ms": round(at(first, 0.5), 1),
            "receipt_last_byte_p50_ms": round(at(last, 0.5), 1),
            "receipt_last_byte_p95_ms": round(at(last, 0.95), 1),
        }
    finally:
        house.close()


def main() -> int:
    """Run the benchmark of the command line; returns 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the taps last; default 20")
    parser.add_argument("--per-second", type=int, default=100, help="taps a second; default 100")
    parser.add_argument("--receipts", type=int, default=40, help="how many receipts; default 40")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.seconds, options.per_second, options.receipts))
    figures |= tags.figures()
    missed = [name for name, limit in LIMITS.items() if figures[name] > limit]
    for name, value in figures.items():
        limit = f"  {'MISSED' if name in missed else 'ok'} (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:<34} {value:>8}{limit}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
