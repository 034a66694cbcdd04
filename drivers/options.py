"""Option fields that several drivers share; their descriptions become the JSON Schema's."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Port = Annotated[
    str,
    Meta(
        pattern=r"^(/.+|tcp://.+:[0-9]{1,5})$",
        description="Where the device is: a serial port, best by its lasting name under /dev/serial/by-id, "
        "or tcp://HOST:PORT behind a serial-to-Ethernet converter.",
        examples=["/dev/serial/by-id/usb-FTDI_A9X-if00", "tcp://converter.local:4001"],
    ),
]

Baud = Annotated[
    int,
    Meta(ge=300, le=1_000_000, description="Serial speed in bits per second, as the device is set up."),
]
