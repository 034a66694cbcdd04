"""What the control socket of the simulated printer understands besides what every device does."""

from __future__ import annotations

from typing import Annotated

import msgspec

from simulators.device import Command
from simulators.escpos import status

Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Paper(Command):
    """Set the paper: `ok`, `near_end` or `out`; with `after_lines`, once that many more lines are printed."""

    state: status.Paper
    after_lines: Count = 0


class Cover(Command):
    """Open or close the cover."""

    open: bool


class Drawer(Command):
    """Pull the drawer open, or push it shut."""

    open: bool


class Fault(Command, tag="error"):
    """Set what is broken; `none` repairs it."""

    kind: status.Error


class Mute(Command):
    """While on, send no status of any kind."""

    on: bool = True


class Stall(Command):
    """While on, stop reading; with `after_bytes`, once that many more have been read."""

    on: bool = True
    after_bytes: Count = 0


class Drop(Command):
    """Cut the connection once `after_bytes` more bytes have been read."""

    after_bytes: Positive


class Refuse(Command):
    """While on, refuse new TCP connections."""

    on: bool = True


class Flush(Command):
    """Tear off what is printed without a cut."""


class PowerCycle(Command, tag="power_cycle"):
    """Switch it off and on: what it had not printed is lost."""


PRINTER_COMMANDS: tuple[type[Command], ...] = (
    Paper,
    Cover,
    Drawer,
    Fault,
    Mute,
    Stall,
    Drop,
    Refuse,
    Flush,
    PowerCycle,
)
