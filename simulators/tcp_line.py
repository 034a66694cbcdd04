"""A network cable: a TCP port that serves one connection at a time, as a receipt printer's port 9100 does."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from simulators.line import Line

RECEIVE_BUFFER_BYTES = 4096
BACKLOG = 8


class TcpLine(Line):
    """Listens on `host:port`; port 0 takes a free one and keeps it over unplugging.

    While one connection is served, others wait unanswered in the kernel's backlog, as on the real interface cards.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.host = host
        self.port = port
        self.refusing = False
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None

    def state(self) -> dict[str, Any]:
        """The cable's state and where it listens."""
        return {**super().state(), "host": self.host, "port": self.port, "refusing": self.refusing}

    def plug(self) -> None:
        """Listen. Raises `OSError` if the address is taken."""
        if not self.plugged:
            if not self.refusing:
                self._listen()
            self.plugged = True
            self.on_change()

    def unplug(self) -> None:
        """Stop listening and drop the connection."""
        if self.plugged:
            self.plugged = False
            self._stop_listening()
            self.cut()
            self.on_change()

    def refuse(self, *, on: bool) -> None:
        """While on, new connections are refused; one that is open stays. Raises `OSError` if the port was taken."""
        self.refusing = on
        if on:
            self._stop_listening()
        elif self.plugged and self._listener is None:
            self._listen()
        self.on_change()

    def cut(self) -> None:
        """Reset the connection that is open, losing what is in flight."""
        if self._peer is not None:
            # Linger of zero makes close() send RST instead of a polite FIN.
            self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._ended()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Small, so that a printer which stops reading is felt soon.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._await_connection()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _await_connection(self) -> None:
        if self._listener is not None and self._peer is None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            self._peer, _ = listener.accept()
        except OSError:
            return
        asyncio.get_running_loop().remove_reader(listener)
        self._peer.setblocking(False)
        self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fd = self._peer.fileno()
        self._start_reading()
        self._set_opened(is_open=True)

    def _ended(self) -> None:
        if self._peer is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._peer.close()
            self._peer = None
            self._fd = -1
            self._set_opened(is_open=False)
            self._await_connection()


def parse_address(text: str) -> tuple[str, int]:
    """`host:port` or `[ipv6]:port`. Raises `ValueError` saying what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9100 (port 0 takes a free one)")
    return host.strip("[]"), int(port)
