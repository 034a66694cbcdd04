"""What every simulated device has in common: a state that can be watched, and commands that change it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from simulators.line import Line


class CommandRefusedError(Exception):
    """A control command cannot be done. The message goes to whoever sent it."""


class Command(msgspec.Struct, tag_field="do", tag=str.lower, forbid_unknown_fields=True):
    """A control command; its `do` is the class name in lower case, its fields are the parameters."""


class State(Command):
    """Answer with the whole state."""


class Watch(Command):
    """Turn this connection into a stream of states."""


class Unplug(Command):
    """Pull the cable: the link disappears and whoever has it open gets an I/O error."""


class Plug(Command):
    """Put the cable back in, under the same name."""


class Raw(Command):
    """Send these bytes to the gateway's side as they are."""

    hex: str


class Silent(Command):
    """While on, the device hears nothing and answers nothing."""

    on: bool = True


class Device:
    """A simulated device on one line.

    A subclass sets `kind` and `commands`, extends `state()`, takes bytes in `receive()` and commands in `do()`,
    and calls `changed()` after every change that a person could see.
    """

    kind: ClassVar[str]
    commands: ClassVar[tuple[type[Command], ...]] = (Raw,)

    def __init__(self, line: Line) -> None:
        self.line = line
        self._watchers: set[Callable[[dict[str, Any]], None]] = set()
        line.on_bytes = self.receive
        line.on_open = self.opened
        line.on_change = self.changed

    def state(self) -> dict[str, Any]:
        """The whole state as JSON-ready values; `at` is seconds of CLOCK_MONOTONIC, the same clock in every process."""
        return {"at": time.monotonic(), "device": self.kind, **self.line.state()}

    def do(self, command: Command) -> dict[str, Any] | None:
        """Carry out `command`; what is returned is added to the answer. Raises `CommandRefusedError`."""
        match command:
            case State():
                return {"state": self.state()}
            case Unplug():
                self.line.unplug()
            case Plug():
                self._plug()
            case Raw(hex=digits):
                self.line.write(parse_hex(digits))
            case _:
                raise CommandRefusedError(f"a {self.kind} cannot do this")
        return None

    def receive(self, data: bytes) -> None:
        """Take bytes that came in on the line; a device that only talks ignores them."""

    def opened(self) -> None:
        """Take note that the gateway's side opened or closed the line, as `line.opened` says."""

    def changed(self) -> None:
        """Tell every watcher the new state, now, so that no change between two others is lost."""
        if self._watchers:
            state = self.state()
            for watcher in tuple(self._watchers):
                watcher(state)

    def watch(self, watcher: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call `watcher` with the state at every change, beginning now; returns how to stop that."""
        self._watchers.add(watcher)
        watcher(self.state())
        return lambda: self._watchers.discard(watcher)

    def close(self) -> None:
        """Give back the line. Safe to call twice."""
        self.line.unplug()

    def _plug(self) -> None:
        try:
            self.line.plug()
        except OSError as error:
            raise CommandRefusedError(f"cannot plug it in: {error}") from error


def parse_hex(digits: str) -> bytes:
    """Bytes of a hex string, blanks allowed. Raises `CommandRefusedError` if it is none."""
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        raise CommandRefusedError(f"`hex` needs pairs of hex digits such as `02 0A ff`: {error}") from error
