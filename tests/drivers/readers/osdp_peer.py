"""libosdp's peripheral side as the reader at the other end of a driver's bus: nothing of it is this project's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

osdp = pytest.importorskip("osdp", reason="libosdp is not installed: 'make setup' installs it")
osdp_sys = pytest.importorskip("osdp_sys")


class Wire(osdp.Channel):
    """The reader's end of the line, as libosdp reads and writes it."""

    def __init__(self, fd: int, address: int, buses: dict[int, Wire]) -> None:
        super().__init__()
        self.id = address
        self._fd = fd
        self.received = bytearray()
        self._buses = buses
        self.lose = 0

    def read(self, max_bytes):
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            data = b""
        # A bus: what arrives is heard by every reader on it.
        for wire in self._buses.values():
            wire.received += data
        taken = bytes(self.received[:max_bytes])
        del self.received[:max_bytes]
        return taken

    def write(self, buf):
        if self.lose:
            self.lose -= 1
            return len(buf)
        return os.write(self._fd, buf)

    def flush(self):
        self.received.clear()


class Peripheral:
    """One libosdp reader; `commands` are those it was given."""

    def __init__(self, wire: Wire, address: int, key: bytes | None, flags: list[int], text_level: int) -> None:
        self.commands: list[dict] = []
        self.wire = wire
        info = osdp.PDInfo(address, wire, scbk=key, flags=flags)
        capabilities = osdp.PDCapabilities(
            [
                (osdp.Capability.OutputControl, 1, 1),
                (osdp.Capability.LEDControl, 1, 1),
                (osdp.Capability.AudibleControl, 1, 1),
                (osdp.Capability.TextOutput, text_level, 1),
                (osdp.Capability.ContactStatusMonitoring, 1, 1),
                (osdp.Capability.CommunicationSecurity, 1, 1),
            ]
        )
        osdp_sys.set_loglevel(int(os.environ.get("OSDP_LOG", "0")))
        self.context = osdp_sys.PeripheralDevice(info.get(), capabilities=capabilities.get())
        self.context.set_command_callback(self._commanded)

    def _commanded(self, command):
        self.commands.append(command)
        return 0, None


@contextmanager
def peripherals(
    fd: int, readers: dict[int, bytes | None], flags: tuple[int, ...] = (), *, text_level: int = 0
) -> Iterator[dict[int, Peripheral]]:
    """Run libosdp readers, address → key or None, on the line `fd` in a thread of their own.

    `text_level` 1, 2 and 3 are displays of one, two and four rows.
    """
    wires: dict[int, Wire] = {}
    wires.update({address: Wire(fd, address, wires) for address in readers})
    found = {one: Peripheral(wires[one], one, key, list(flags), text_level) for one, key in readers.items()}
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(0.002):
            for one in found.values():
                one.context.refresh()

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
