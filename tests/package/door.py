"""A door of a whole computer: a reader and a relay board on real serial adapters, and the words a technician types."""

from __future__ import annotations

import json
import select
import shlex
import socket
import time
from itertools import count
from pathlib import Path

from drivers.codecs.lcus import encode_switch
from drivers.codecs.rdm6300 import encode_frame
from tests.package.computer import Computer

READER, RELAY = "READER", "RELAY"
BY_ID = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{}-if00-port0"
OPEN, SHUT = encode_switch(1, closed=True), encode_switch(1, closed=False)
GUESTS = 60
UNIT = "venue-gateway"
CONFIG = "/etc/venue-gateway/gateway.yaml"
DEVICES = f"""
zones: {{club: {{}}}}
devices:
  door-reader: {{driver: rdm6300, port: {BY_ID.format(READER)}}}
  door-relay: {{driver: lcus, port: {BY_ID.format(RELAY)}}}
  sick-reader: {{driver: nfcpy, connect: "usb:04e6:5591"}}
gates:
  door: {{to: club, readers: [door-reader], lock: door-relay.1}}
"""


class Line:
    """A serial adapter (FTDI, as QEMU has it) and what hangs on it: here."""

    def __init__(self, machine: Computer, folder: Path, serial: str) -> None:
        """Lay a line from the adapter to this process; `serial` is the adapter's number. It is not plugged in yet."""
        self._machine, self._serial = machine, serial
        path = folder / f"{serial}.line"
        where = {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": str(path)}}, "server": True}}
        where["data"]["wait"] = False  # type: ignore[index]
        machine.qmp("chardev-add", id=serial, backend=where)
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(str(path))

    def plug(self) -> None:
        """Put the adapter in."""
        self._machine.qmp(
            "device_add", driver="usb-serial", id=f"usb-{self._serial}", chardev=self._serial, bus="usb.0",
            serial=self._serial,
        )  # fmt: skip

    def unplug(self) -> None:
        """Pull it out."""
        self._machine.qmp("device_del", id=f"usb-{self._serial}")

    def send(self, data: bytes) -> None:
        """Say something to the computer."""
        self._link.sendall(data)

    def heard(self) -> bytes:
        """Return what the computer has said since it was asked last."""
        said = b""
        while select.select([self._link], [], [], 0)[0]:
            said += self._link.recv(4096)
        return said

    def until(self, said: bytes, *, within_s: float = 60) -> None:
        """Wait until the computer has said something."""
        heard, end_s = b"", time.monotonic() + within_s
        while said not in heard:
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"{said.hex(' ')} is not in {heard.hex(' ')}"
            if select.select([self._link], [], [], left_s)[0]:
                heard += self._link.recv(4096)

    def close(self) -> None:
        """Hang up."""
        self._link.close()


class Door:
    """The door, the computer behind it, and guests who have a ticket each."""

    def __init__(self, machine: Computer, folder: Path) -> None:
        self.machine = machine
        self.reader, self.relay = (Line(machine, folder, serial) for serial in (READER, RELAY))
        self._cards = iter(range(GUESTS))
        self._names = count(1)

    def guests(self) -> str:
        """All who may come in, as the NDJSON of an import."""
        rows = []
        for card in range(GUESTS):
            holder = f"guest-{card}"
            row = {"technology": "em4100", "value": f"{card:010X}", "holder": holder}
            rows.append({"type": "credential", **row})
            rows.append({"type": "entitlement", "id": f"ticket-{card}", "holder": holder, "zones": ["club"]})
        return "".join(f"{json.dumps(row)}\n" for row in rows)

    def opens(self) -> None:
        """One more guest holds a wristband to the reader, and the relay opens."""
        self.relay.heard()
        self.reader.send(encode_frame(f"{next(self._cards):010X}"))
        self.relay.until(OPEN)

    def lets_one_in(self) -> None:
        """The relay opens for one more guest, and shuts."""
        self.opens()
        self.relay.until(SHUT)

    def is_ready(self, *, within_s: float = 150) -> None:
        """Wait until the service is active with reader and relay online."""
        # An emulated processor takes half a minute for a start.
        self.machine.until(f"systemctl is-active -q {UNIT}", within_s=within_s)
        self.machine.until(f"systemctl show -p StatusText {UNIT} | grep -q '2 of 3 devices online'", within_s=90)

    def shows(self, name: str) -> str:
        """Return a property of the service as its manager knows it."""
        return self.machine.run(f"systemctl show -p {name} --value {UNIT}").strip()

    def logged(self, what: str, *, within_s: float = 90) -> None:
        """Wait for words in what the present run of the service, or its manager about it, has logged."""
        run = self.shows("InvocationID")
        told = f"journalctl -q -o cat _SYSTEMD_INVOCATION_ID={run} + INVOCATION_ID={run}"
        self.machine.until(f"{told} | grep -qF {shlex.quote(what)}", within_s=within_s)

    def another_run(self, before: str, *, within_s: float = 150) -> None:
        """Wait until another run than `before` (an InvocationID) serves, and let somebody in by it."""
        self.machine.until(f'test "$(systemctl show -p InvocationID --value {UNIT})" != "{before}"', within_s=within_s)
        self.is_ready()
        self.lets_one_in()

    def write(self, path: str, text: str) -> None:
        """Write a file in the computer."""
        self.machine.run(
            f"python3 -c 'import sys; open(sys.argv[1], \"w\").write(sys.argv[2])' {path} {shlex.quote(text)}"
        )

    def close(self) -> None:
        """Hang both lines up."""
        self.reader.close()
        self.relay.close()
