"""Facts about inputs that mean something by themselves, and about devices that a technician tried."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.domain.bench import BenchEvent
from gateway.domain.event import Event


class InputActive(Event, frozen=True, tag="input.active"):
    """An input left its rest: a tamper switch, a fire panel, an alarm contact."""

    input: str
    means: Literal["emergency", "tamper", "door_held", "alarm"]


class InputIdle(Event, frozen=True, tag="input.idle"):
    """An input is at rest again."""

    input: str
    means: Literal["emergency", "tamper", "door_held", "alarm"]


class DeviceTested(Event, frozen=True, tag="device.tested"):
    """Somebody at the computer is about to try a device by `venue-gateway test`: what it will do."""

    device: str
    action: str


InputEvent: TypeAlias = InputActive | InputIdle | DeviceTested | BenchEvent
