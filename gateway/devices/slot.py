"""One device of the configuration, whether or not it is there."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Literal

from drivers.api import Contacts, DeviceOffline, Fault
from gateway.config.schema import Device

DeviceStatus = Literal["starting", "online", "offline", "stopped"]


class DeviceSlot:
    """What flows hold on to while drivers come and go."""

    def __init__(self, device: Device) -> None:
        """Begin without a link."""
        self.device = device
        self.status: DeviceStatus = "starting"
        self.detail = ""
        self.restarts = 0
        self.faults: Counter[Fault] = Counter()
        """How often its driver misbehaved, which is not the same as a device that was unplugged."""
        self.driver: Any = None
        self.bus: Any = None
        """The driver of the bus that its own was built with."""
        self.task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The technician's name for the device."""
        return self.device.name

    @property
    def online(self) -> bool:
        """True while the link is open and the device works."""
        return self.status == "online"

    @property
    def fault_counts(self) -> dict[str, int]:
        """How often its driver misbehaved, as `crash_count` and the like; nothing for one that never did."""
        return {f"{fault}_count": count for fault, count in sorted(self.faults.items())}

    @property
    def notice_s(self) -> float:
        """Longest time, in seconds, until a lost board is known to be gone; 0 where it is known at once."""
        return self.driver.notice_s if isinstance(self.driver, Contacts) else 0.0

    def live(self) -> Any:  # noqa: ANN401 - each flow knows its own capability
        """Return the driver of an open link; raises DeviceOffline with the reason while there is none."""
        if not self.online:
            raise DeviceOffline(self.detail or f"{self.name} is not connected yet")
        return self.driver

    # The same door under the names that flows know it by.
    lock = live
    printer = live
