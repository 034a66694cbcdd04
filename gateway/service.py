"""What the service manager hears: ready, reloading, stopping, a line on how things are, and a sign of life.

The sign of life is a real one. A question goes from the loop to the journal's writer, through the queue its commits go
through, and its answer comes back into the loop; only then is the watchdog fed. A loop that hangs, a writer that died
and a disk that never returns all end in a restart. The protocol is sd_notify(3): datagrams of `NAME=value` lines.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from gateway.domain.wording import counted

if TYPE_CHECKING:
    from gateway.app import Gateway

log = structlog.get_logger(__name__)

EVERY_S = 5.0
"""How often the line on how things are is looked at where no watchdog asks for more."""
FEEDS_PER_LIMIT = 3
"""So many signs of life fit into the watchdog's time: one may be late or lost."""
STATUS_CHARACTERS_MAX = 200
US_PER_S = 1_000_000


class Notifier:
    """The socket of the service manager; without one, as on a terminal, every message goes nowhere."""

    def __init__(self, address: str) -> None:
        """Talk to `address`, the path of a Unix socket; one that begins with `@` is in the abstract name space."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    @property
    def listened_to(self) -> bool:
        """True where there is a service manager."""
        return self._socket is not None

    def tell(self, *lines: str) -> None:
        """Send `NAME=value` lines as one message. A manager that does not listen must not stop the work."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("service_manager_deaf", why=str(error))

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()


class Lifeline:
    """The daemon's side of a `Type=notify` unit with a watchdog."""

    def __init__(self, gateway: Gateway, environment: Mapping[str, str] = os.environ) -> None:
        """Speak for `gateway` to the manager that `environment` names: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID."""
        self._gateway = gateway
        self._notifier = Notifier(environment.get("NOTIFY_SOCKET", ""))
        self._limit_s = _watchdog_limit_s(environment)
        self._told = ""
        self._asked = False

    def ready(self) -> None:
        """Say that the state is rebuilt and taps can be taken, at the start and again after each reload."""
        self._told = self._status()
        self._notifier.tell("READY=1", f"STATUS={self._told}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` follows, whatever comes of it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=Reading the configuration again")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._notifier.tell("STOPPING=1", "STATUS=Bringing everything in order")

    async def run(self) -> None:
        """Feed the watchdog and keep the status line true until cancelled; without a manager there is nothing to do."""
        if not self._notifier.listened_to:
            return
        every_s = min(EVERY_S, self._limit_s / FEEDS_PER_LIMIT) if self._limit_s else EVERY_S
        try:
            while True:
                self._ask()
                self._update()
                await asyncio.sleep(every_s)
        finally:
            self._notifier.close()

    def _ask(self) -> None:
        """Ask the writer for a sign of life; a question that is still open is not asked twice (I9)."""
        if self._limit_s and not self._asked:
            self._asked = True
            self._gateway.recorder.journal.ping(self._alive)

    def _alive(self) -> None:
        self._asked = False
        self._notifier.tell("WATCHDOG=1")

    def _update(self) -> None:
        if (status := self._status()) != self._told:
            self._told = status
            self._notifier.tell(f"STATUS={status}")

    def _status(self) -> str:
        """Return one line for `systemctl status`: devices, broker, and what somebody should look at."""
        gateway = self._gateway
        slots = gateway.supervisor.slots.values()
        online = sum(slot.status == "online" for slot in slots)
        parts = [f"{online} of {counted(len(slots), 'device')} online"]
        parts.append("broker connected" if gateway.mqtt.session.connected else "waiting for the broker")
        if gateway.recorder.lost is not None:
            parts.append("NOTHING CAN BE STORED, so nobody is let in")
        if refused := gateway.reporter.configuration_refused:
            parts.append(f"the last good configuration runs on: {refused}")
        line = "; ".join(parts)
        return "".join(sign if sign.isprintable() else " " for sign in line)[:STATUS_CHARACTERS_MAX]


def _watchdog_limit_s(environment: Mapping[str, str]) -> float:
    """Return the watchdog's limit in seconds; 0 where there is none, or it is meant for another process."""
    text, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (text.isascii() and text.isdigit()) or (pid and pid != str(os.getpid())):
        return 0.0
    return int(text) / US_PER_S
