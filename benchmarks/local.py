"""A reader and a relay board wired to the gateway, whose other ends this process holds: nothing sits in between."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import termios
import time
import tty
from collections.abc import Callable

from drivers.codecs.lcus import encode_switch
from drivers.codecs.rdm6300 import encode_frame

CLOSE, OPEN = encode_switch(1, closed=True), encode_switch(1, closed=False)
PATIENCE_MS = 5000


class Wire:
    """One pty: the gateway opens `port`, we are the device."""

    def __init__(self) -> None:
        self._device, self._port = pty.openpty()
        tty.setraw(self._port)
        self.port = os.ttyname(self._port)
        self._poll = select.poll()
        self._poll.register(self._device, select.POLLIN)

    def fileno(self) -> int:
        """What select(2) waits for."""
        return self._device

    def say(self, data: bytes) -> None:
        """Send bytes to the gateway."""
        os.write(self._device, data)

    def hear(self) -> bytes:
        """Wait for bytes of the gateway; raises TimeoutError when none come."""
        if not self._poll.poll(PATIENCE_MS):
            raise TimeoutError(f"the gateway wrote nothing to the relay board within {PATIENCE_MS} ms")
        return os.read(self._device, 256)

    def forget(self) -> None:
        """Be as a port that was just plugged in: a killed gateway leaves it locked and with bytes unread."""
        termios.tcflush(self._port, termios.TCIOFLUSH)
        fcntl.ioctl(self._port, termios.TIOCNXCL)
        while self._poll.poll(0):
            os.read(self._device, 256)

    def close(self) -> None:
        """Unplug."""
        os.close(self._device)
        os.close(self._port)


class LocalGate:
    """An RDM6300 reader and a one-relay LCUS board."""

    def __init__(self) -> None:
        self.reader, self.relay = Wire(), Wire()

    def restarted(self) -> None:
        """Make ready for a gateway that starts."""
        self.reader.forget()
        self.relay.forget()

    def close(self) -> None:
        """Unplug both."""
        self.reader.close()
        self.relay.close()

    def taps(self, next_tag: Callable[[], str], count: int, *, paced: bool = False) -> list[float]:
        """Hold `count` tags to the reader in turn; returns for each the time to the relay's first byte, in s.

        Each comes as soon as the relay was told to close for the one before, like the commits it is compared with;
        `paced`, each waits until the relay is open again and everything has come to rest.
        """
        self.relay.forget()
        times_s: list[float] = []
        for number in range(count):
            took_s, heard = self._tap(encode_frame(next_tag()))
            times_s.append(took_s)
            if paced or number == count - 1:
                self._until_open(heard)
            elif heard not in {CLOSE, CLOSE + OPEN}:
                raise _unexpected(heard)
        return times_s

    def _tap(self, frame: bytes) -> tuple[float, bytes]:
        """Return the time from the frame's last byte to the relay's first, and what the relay was told."""
        self.reader.say(frame[:-1])
        began_s = time.perf_counter()
        self.reader.say(frame[-1:])
        heard = self.relay.hear()
        # Only where the machine stood still for longer than a pulse has the relay opened again for the guest before.
        while heard.startswith(OPEN):
            heard = heard[len(OPEN) :] or self.relay.hear()
        return time.perf_counter() - began_s, heard

    def _until_open(self, heard: bytes) -> None:
        while len(heard) < len(CLOSE) + len(OPEN):
            heard += self.relay.hear()
        if heard != CLOSE + OPEN:
            raise _unexpected(heard)


def _unexpected(heard: bytes) -> RuntimeError:
    return RuntimeError(f"the relay board was told {heard.hex(' ')} instead of one pulse")
