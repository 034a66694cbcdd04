"""Option fields that several access readers share; their descriptions become the JSON Schema's."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

DeviceName = Annotated[
    str,
    Meta(
        pattern="^[a-z0-9][a-z0-9-]{0,62}$",
        description="The name of the bus under `devices:` that it is wired to.",
        extra={"expected": "the name of a device, such as `doors-bus`"},
    ),
]

Technology = Annotated[
    str,
    Meta(
        pattern="^[a-z0-9][a-z0-9_.-]{0,30}$",
        description="The word for its cards in the directory of credentials, the same for all readers of these cards.",
        extra={"expected": "a word in small letters, such as `wiegand` or `em4100`"},
    ),
]
