"""The control socket of a simulated device: one JSON command a line, one JSON answer a line."""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import msgspec

from simulators import sockets
from simulators.device import Command, CommandRefusedError, Device, Plug, State, Unplug, Watch

MAX_LINE_BYTES = 1 << 20
MAX_UNREAD_BYTES = 4 << 20


class ControlServer:
    """Serves the control socket of `device` at `path` until closed."""

    def __init__(self, device: Device, path: Path) -> None:
        self._device = device
        self._path = path
        kinds: tuple[type[Command], ...] = (State, Watch, Unplug, Plug, *device.commands)
        self._names = ", ".join(sorted(kind.__name__.lower() for kind in kinds))
        self._decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(reduce(or_, kinds))
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen. Raises `OSError` if the path cannot be used."""
        listener = sockets.listen(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Stop listening, drop every connection and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)
        for writer in self._clients.values():
            writer.close()
        # Each handler reads the end of its connection and returns; left alone, the loop's end would cancel it aloud.
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients[task] = writer
            task.add_done_callback(lambda done: self._clients.pop(done, None))
        try:
            await self._answer_lines(reader, writer)
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            # The client went away, or sent a line beyond the limit: nobody is left to be told.
            return
        finally:
            writer.close()

    async def _answer_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if not line.strip():
                continue
            answer = self._answer(line)
            if answer is None:
                await self._stream(reader, writer)
                return
            _send(writer, answer)
            await writer.drain()

    def _answer(self, line: bytes) -> dict[str, Any] | None:
        """The answer to one command, or None when the client wants to watch."""
        try:
            command = self._decoder.decode(line)
            if isinstance(command, Watch):
                return None
            return {"ok": True, **(self._device.do(command) or {})}
        except msgspec.MsgspecError as error:
            return {"ok": False, "error": f"{error}; a {self._device.kind} can do: {self._names}"}
        except CommandRefusedError as error:
            return {"ok": False, "error": str(error)}

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def tell(state: dict[str, Any]) -> None:
            # A watcher that does not read is cut off rather than buffered without end.
            if writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                writer.transport.abort()
            elif not writer.is_closing():
                _send(writer, state)

        stop = self._device.watch(tell)
        try:
            while await reader.read(MAX_LINE_BYTES):
                pass
        finally:
            stop()


def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(msgspec.json.encode(message) + b"\n")
