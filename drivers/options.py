"""Option fields that several drivers share; their descriptions become the JSON Schema's."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_LABEL = r"[^\s/:.\[\]]{1,63}"
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
TCP_ADDRESS = rf"tcp://(?:\[[^\s\[\]/]+\]|{_LABEL}(?:\.{_LABEL})*\.?):{_PORT}"
"""Pattern of a network address: labels of 1 to 63 characters (RFC 1035, 2.3.4) or an IPv6 address, and 1 to 65535."""

Port = Annotated[
    str,
    Meta(
        pattern=rf"^(/.+|{TCP_ADDRESS})$",
        description="Where the device is: a serial port, best by its lasting name under /dev/serial/by-id, "
        "or tcp://HOST:PORT behind a serial-to-Ethernet converter.",
        examples=["/dev/serial/by-id/usb-FTDI_A9X-if00", "tcp://converter.local:4001"],
    ),
]

Baud = Annotated[
    int,
    Meta(ge=300, le=1_000_000, description="Serial speed in bits per second, as the device is set up."),
]

TOPIC_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}(/[A-Za-z0-9_.:-]{1,64}){0,4}$"
"""Pattern of an MQTT topic that a device is set up with: plain levels, without wildcards."""
TOPIC_EXPECTED = "the topic as in the device's own settings, such as `shellyplus1-a8032abe54dc`, without wildcards"

Channel = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}\.[1-9][0-9]{0,2}$",
        extra={"expected": "a board's name, a dot and a channel from 1, such as `bar-relay.1`"},
    ),
]
"""One relay or input of a board that is a device of its own."""
