"""A cash drawer whose solenoid hangs on a relay, for tills without a receipt printer.

Its contact, if it has one, is an input of a board, the same or another. Which position of it means open depends on how
it is wired, so it is calibrated.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from drivers.api import Lock
from drivers.options import Channel


class DrawerRelayOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the YAML says of a drawer at a relay."""

    relay: Annotated[Channel, msgspec.Meta(description="The relay that its solenoid hangs on, as board.channel.")]
    pulse_ms: Annotated[
        int, msgspec.Meta(ge=20, le=1_000, description="How long the relay is closed; a solenoid gets hot in seconds.")
    ] = 150
    contact: Annotated[
        Channel | None, msgspec.Meta(description="The input its contact hangs on, as board.channel.")
    ] = None
    open_is_active: Annotated[
        bool,
        msgspec.Meta(description="Calibrated: true where the input is away from its idle position while it is open."),
    ] = True
    left_open_s: Annotated[
        float,
        msgspec.Meta(ge=1, le=3600, description="Seconds the drawer may stand open before that is an alarm."),
    ] = 60.0


class DrawerRelay:
    """Cash drawer on a relay of any board: one pulse, and its contact on an input."""

    Options: ClassVar[type[msgspec.Struct]] = DrawerRelayOptions

    def __init__(self, options: DrawerRelayOptions, board: Lock) -> None:
        self._options = options
        self._board = board

    async def open(self) -> None:
        """Pulse the drawer's solenoid once. Raises what the board's `pulse` raises, DeviceOffline for one."""
        channel = int(self._options.relay.rpartition(".")[2])
        await self._board.pulse(channel, self._options.pulse_ms)
