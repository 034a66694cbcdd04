"""A cash drawer on the drawer connector of a receipt printer.

It has no connection of its own: the printer sends the pulse, and the printer's status carries the drawer's contact, if
the drawer has one. Whether that contact reads high or low when open depends on the drawer, so it is calibrated.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from drivers.api import Printer, PrinterStatus

DrawerState = Literal["open", "closed", "unknown"]


class DrawerKickOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the YAML says of a drawer at a printer."""

    printer: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            description="The device name of the printer it is plugged into.",
            extra={"expected": "the name of a printer, such as `bar-printer`"},
        ),
    ]
    pin: Annotated[Literal[2, 5], msgspec.Meta(description="Connector pin of its solenoid; 5 for a second drawer.")] = 2
    open_is_high: Annotated[
        bool | None,
        msgspec.Meta(
            description="Calibrated: what the contact (pin 3) reads while the drawer is open; null without a contact."
        ),
    ] = None
    left_open_s: Annotated[
        float,
        msgspec.Meta(ge=1, le=3600, description="Seconds the drawer may stand open before that is an alarm."),
    ] = 60.0


def drawer_state(status: PrinterStatus | None, open_is_high: bool | None) -> DrawerState:
    """What the printer's status says of the drawer; `unknown` where it, or the calibration, says nothing."""
    if status is None or status.drawer_pin_high is None or open_is_high is None:
        return "unknown"
    return "open" if status.drawer_pin_high == open_is_high else "closed"


class DrawerKick:
    """Cash drawer plugged into a receipt printer: ESC p pulse on connector pin 2 or 5, contact on pin 3."""

    Options: ClassVar[type[msgspec.Struct]] = DrawerKickOptions

    def __init__(self, options: DrawerKickOptions, printer: Printer) -> None:
        self._options = options
        self._printer = printer

    async def open(self) -> None:
        """Pulse the drawer's solenoid once. Raises what the printer's `kick` raises, DeviceOffline for one."""
        await self._printer.kick(self._options.pin)

    def state(self, status: PrinterStatus | None) -> DrawerState:
        """What a status of the printer says of this drawer."""
        return drawer_state(status, self._options.open_is_high)
