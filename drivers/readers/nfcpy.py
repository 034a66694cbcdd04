"""Contactless readers that nfcpy drives: PN532 over UART and USB, ACR122U, Sony RC-S380."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from drivers.api import Emit
from drivers.nfc.line import Setup
from drivers.nfc.options import TagOptions, shared
from drivers.readers.fenced import FencedReader

_HEX4 = "[0-9A-Fa-f]{4}"
_UDP = r"udp:[A-Za-z0-9.-]{1,253}:[1-9][0-9]{0,4}"


class NfcpyOptions(TagOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reader that nfcpy drives."""

    connect: Annotated[
        str,
        Meta(
            pattern=rf"^(/[A-Za-z0-9/._:+@-]+|usb(:{_HEX4}:{_HEX4}(:[A-Za-z0-9._-]+)?|:[0-9]+-[0-9.]+)?|{_UDP})$",
            description="A PN532's serial port, best by its lasting name; usb:VENDOR:PRODUCT, with :SERIAL where the "
            "reader has a serial number; usb:PLACE as under /sys/bus/usb/devices; usb for the only one there is.",
            examples=["/dev/serial/by-id/usb-FTDI_A9X-if00", "usb:072f:2200", "usb:1-1.4"],
        ),
    ]
    poll_ms: Annotated[
        int, Meta(ge=10, le=1000, description="Cards are looked for this often; less finds them sooner.")
    ] = 50
    technologies: Annotated[
        tuple[Literal["A", "B", "F"], ...],
        Meta(min_length=1, max_length=3, description="Kinds of cards to look for; each takes time. F is FeliCa."),
    ] = ("A", "F")


class NfcpyReader(FencedReader):
    """NFC reader by nfcpy (PN532 over UART and USB, ACR122U, RC-S380): ISO 14443 A and B, FeliCa.

    Emits one `Reading` of technology `nfc` for each time a card is held to it; `value` is its UID as upper-case hex
    digits. nfcpy runs in a process of its own and may hang or crash there.
    """

    Options: ClassVar[type[msgspec.Struct]] = NfcpyOptions

    def __init__(self, options: NfcpyOptions, emit: Emit) -> None:
        setup = Setup(
            connect=options.connect,
            options=shared(options),
            poll_ms=options.poll_ms,
            technologies=options.technologies,
        )
        super().__init__("drivers.nfc.nfcpy_process", setup, emit)
