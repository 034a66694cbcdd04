"""What the gateway may ask of a device, and what a device tells it.

A driver is one class for one model. It is built from its own options and an `emit` function, and `run()` is one
connection to the device: it opens the port, emits `Online`, serves until the link breaks and then raises a
`DriverError`. The supervisor calls `run()` again after a pause, so a driver never loops over reconnects itself.

Capabilities (`Lock`, `Printer`, `Drawer`, …) are what flows call. Each call raises `DeviceOffline` while `run()` has no
open link, and returns only when the bytes have left this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec


class DriverError(Exception):
    """Something is wrong with a device. The message says what a technician can do about it."""


class DeviceOffline(DriverError):
    """The device is not there: unplugged, switched off, or its port cannot be opened."""


class DeviceTimeout(DriverError):
    """The device is there but did not answer within its time."""


class DeviceFault(DriverError):
    """The device answered that it cannot do what was asked, or answered nonsense."""


Fault = Literal["crash", "hang", "flood"]
"""How what drives a device may misbehave, which is not the same as a device that was unplugged."""


class DriverFailed(DriverError):
    """What drives the device misbehaved, and the link ended with it; `fault` says how.

    The supervisor counts these and waits longer after each.
    """

    def __init__(self, why: str, fault: Fault) -> None:
        super().__init__(why)
        self.fault: Fault = fault


class Online(msgspec.Struct, frozen=True):
    """The link is open and the device works. `detail` is what it said of itself, for people."""

    detail: str = ""


class Reading(msgspec.Struct, frozen=True):
    """One credential presented once: a tag held to a reader, or a code scanned.

    `technology` is the field's word for the medium (`em4100`, `barcode`, …); `value` is its identity as text:
    upper-case hex without separators for a tag's number, the exact characters for a code. It is never logged (I12).
    `chip` is the kind of contactless chip, `text` what is written on it. `proven` says whether the card proved to be no
    copy, None where nobody asked it to; `counter` is how often it was read, for a card that signs that.
    """

    technology: str
    value: str
    symbology: str = ""
    chip: str = ""
    text: str = ""
    proven: bool | None = None
    counter: int | None = None

    def __repr__(self) -> str:
        return f"Reading(technology={self.technology!r}, value=<hidden>)"


class InputChanged(msgspec.Struct, frozen=True):
    """A contact changed. `channel` counts from 1; `active` means the contact is away from its idle position."""

    channel: int
    active: bool


class Tampered(msgspec.Struct, frozen=True):
    """The housing of a device was opened or torn off its wall (`active`), or is closed again."""

    active: bool


class PrinterStatus(msgspec.Struct, frozen=True):
    """What a printer says of itself. `None` always means "cannot say", never "fine"."""

    online: bool | None = None
    cover_open: bool | None = None
    paper_out: bool | None = None
    paper_low: bool | None = None
    error: str | None = None
    drawer_pin_high: bool | None = None

    @property
    def can_print(self) -> bool | None:
        """True or False where the printer said enough to tell, None where it did not."""
        if self.online is False or self.cover_open or self.paper_out or self.error:
            return False
        return True if self.online and self.paper_out is False else None


class Noise(msgspec.Struct, frozen=True):
    """Bytes the device sent that are no frame of its protocol: how many, and why they were refused."""

    byte_count: int
    why: str


DeviceEvent = Online | Reading | InputChanged | Tampered | PrinterStatus | Noise
Emit = Callable[[DeviceEvent], None]


@runtime_checkable
class Driver(Protocol):
    """Every device. `Options` is a frozen msgspec Struct: its fields are the YAML keys beside `driver:`."""

    Options: ClassVar[type[msgspec.Struct]]

    async def run(self) -> None:
        """Open the device, emit `Online`, serve until cancelled; raises DriverError when the link breaks."""
        ...


@runtime_checkable
class Lock(Protocol):
    """Relay channels that let a passage happen."""

    channels: int
    """How many relay channels the board has; they count from 1."""
    board_timed: bool
    """True where the board ends its own pulse, so that a dead gateway cannot leave a gate open."""

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel` for `pulse_ms` milliseconds.

        Returns once the command that closes the relay has been written (and acknowledged where the board
        acknowledges); the end of the pulse is the driver's own business. Another pulse meanwhile extends the first.
        """
        ...

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`True`) or open (`False`) relay `channel` until told otherwise."""
        ...


@runtime_checkable
class Contacts(Protocol):
    """A board that watches contacts and tells of them as `InputChanged`."""

    notice_s: float
    """Longest time, in seconds, until the driver knows that a board which was lost no longer watches."""


class MessageLink(Protocol):
    """One device's own connection to the venue's broker."""

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish with QoS 1, never retained, thrown away by the broker after two seconds; False: nothing was sent."""
        ...

    def close(self) -> None:
        """Disconnect; nothing is said any more."""
        ...


OnMessage = Callable[[str, bytes, bool], None]
"""Topic, payload, and whether it is a retained one that the broker had kept."""


class MessageBus(Protocol):
    """The venue's broker, for devices that speak MQTT themselves."""

    def open(self, topics: tuple[str, ...], on_message: OnMessage, on_link: Callable[[str], None]) -> MessageLink:
        """Connect and stay connected, subscribed to `topics`.

        `on_link` hears an empty text when the broker answers and what is wrong when it does not.
        """
        ...


@runtime_checkable
class BrokerUser(Protocol):
    """Options of a device that logs in to the venue's broker, under its own name in the configuration."""

    @property
    def broker_rights(self) -> tuple[tuple[str, str], ...]:
        """What it may there and nothing else: (`read` or `write`, topic)."""
        ...


@runtime_checkable
class Printer(Protocol):
    """A receipt printer that takes bytes in its own language."""

    async def write(self, data: bytes) -> None:
        """Send bytes, in order, and return when the last has left this process.

        Raises DeviceOffline when nothing was sent, DeviceFault when some of it may have been.
        """
        ...

    async def status(self) -> PrinterStatus | None:
        """Ask the printer how it is. None when it does not answer or cannot: "cannot say"."""
        ...

    async def kick(self, pin: int) -> None:
        """Send the drawer pulse to connector pin 2 or 5."""
        ...


@runtime_checkable
class Drawer(Protocol):
    """A cash drawer."""

    async def open(self) -> None:
        """Pulse the drawer's solenoid once.

        Raises DeviceOffline or DeviceTimeout when nothing was sent, any other DriverError when something may have been.
        """
        ...


Colour = Literal["green", "red", "amber", "blue", "white"]
"""What a reader's light can be asked for; a driver shows the nearest that its light has."""


@runtime_checkable
class Beeper(Protocol):
    """A reader that can make a sound."""

    async def beep(self, count: int, on_ms: int, off_ms: int) -> None:
        """Sound `count` times for `on_ms` milliseconds, with `off_ms` between; a device rounds to what it knows.

        Returns when the command has left; whatever sounded before may be cut short.
        """
        ...


@runtime_checkable
class Light(Protocol):
    """A reader with a light for the guest."""

    async def light(self, colour: Colour, on_ms: int) -> None:
        """Show `colour` for `on_ms` milliseconds, then what the reader shows at rest.

        Returns when the command has left. Another colour meanwhile takes the place of the first.
        """
        ...


@runtime_checkable
class Display(Protocol):
    """A reader with a line of text for the guest."""

    @property
    def display_rows(self) -> int:
        """How many rows of text it has; 0 where this one has no display, or is not there to say so."""
        ...

    async def show(self, text: str, on_ms: int) -> None:
        """Show `text` for `on_ms` milliseconds, then what the display shows at rest.

        The driver cuts what does not fit, and writes what its character set lacks in another way.
        """
        ...
