"""What the printer's sensors say, and the status bytes made of it (Epson's reference: DLE EOT, GS a, GS r)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Paper = Literal["ok", "near_end", "out"]
Error = Literal["none", "mechanical", "cutter", "unrecoverable", "auto_recoverable"]
RECOVERABLE: tuple[Error, ...] = ("mechanical", "cutter")

ASB_DRAWER, ASB_ONLINE, ASB_ERROR, ASB_PAPER = 0x01, 0x02, 0x04, 0x08


@dataclass
class Sensors:
    """Paper, cover, drawer contact and errors. `drawer_open_is_high` is how the drawer is wired to pin 3."""

    paper: Paper = "ok"
    cover_open: bool = False
    drawer_open: bool = False
    error: Error = "none"
    drawer_open_is_high: bool = True

    @property
    def online(self) -> bool:
        """Whether the printer prints."""
        return self.paper != "out" and not self.cover_open and self.error == "none"

    @property
    def pin3(self) -> bool:
        """Whether the drawer connector's pin 3 is high."""
        return self.drawer_open == self.drawer_open_is_high


def real_time_status(sensors: Sensors, n: int) -> bytes:
    """The one byte that answers DLE EOT `n`."""
    bits = {
        1: sensors.pin3 << 2 | (not sensors.online) << 3 | (sensors.error in RECOVERABLE) << 5,
        2: sensors.cover_open << 2 | (sensors.paper == "out") << 5 | (sensors.error != "none") << 6,
        3: _error_bits(sensors),
        4: {"ok": 0, "near_end": 0x0C, "out": 0x6C}[sensors.paper],
    }[n]
    return bytes((0x12 | bits,))


def automatic_status(sensors: Sensors) -> bytes:
    """The four bytes of an automatic status back."""
    first = 0x10 | sensors.pin3 << 2 | (not sensors.online) << 3 | sensors.cover_open << 5
    return bytes((first, _error_bits(sensors), paper_bits(sensors), 0))


def paper_bits(sensors: Sensors) -> int:
    """The paper sensors as GS r 1 and the third ASB byte have them."""
    return {"ok": 0, "near_end": 0x03, "out": 0x0F}[sensors.paper]


def reported(sensors: Sensors, enabled: int) -> tuple[object, ...]:
    """What of the sensors makes an automatic status be sent when it changes, for the bits `enabled` of GS a."""
    parts: list[tuple[int, object]] = [
        (ASB_DRAWER, sensors.drawer_open),
        (ASB_ONLINE, (sensors.online, sensors.cover_open)),
        (ASB_ERROR, sensors.error),
        (ASB_PAPER, sensors.paper),
    ]
    return tuple(value for bit, value in parts if enabled & bit)


def _error_bits(sensors: Sensors) -> int:
    return {"none": 0, "mechanical": 0x04, "cutter": 0x08, "unrecoverable": 0x20, "auto_recoverable": 0x40}[
        sensors.error
    ]
