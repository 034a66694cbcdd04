"""What the YAML says of a contactless reader, whichever library drives it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.keys import KeyFile

Hex = Annotated[
    str,
    Meta(
        pattern=r"^([0-9A-Fa-f]{2}){0,24}$",
        description="Bytes as pairs of hex digits.",
        extra={"expected": "pairs of hex digits in quotes, such as `3042F5`"},
    ),
]
Parameter = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,32}$", description="Name of a parameter of the URL.")]


class ProofRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one kind of card proves that it is no copy."""

    card: Annotated[
        Literal["desfire", "ntag424", "ultralight_aes", "ultralight_c", "sun"],
        Meta(description="The chip; `sun` is the signed URL of an NTAG 424 DNA, which needs no dialogue."),
    ]
    key_file: KeyFile
    key_number: Annotated[int, Meta(ge=0, le=13, description="Which of the card's keys it is.")] = 0
    application: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{6}$", extra={"expected": "six hex digits in quotes"})] | None,
        Meta(description="DESFire: the application, its three bytes in the order they are sent. Left out: the card."),
    ] = None
    diversified_with: Annotated[
        Hex | None,
        Meta(
            description="Each card has a key of its own (NXP AN10922), made of that in `key_file`, the UID and these "
            "bytes; an empty text means the UID alone. Left out: all cards share the key."
        ),
    ] = None
    picc_key_file: Annotated[
        KeyFile | None,
        Meta(description="sun: the key (SDMMetaReadKey) of UID and counter. Left out: they stand in clear."),
    ] = None
    picc: Parameter = "picc_data"
    uid: Parameter = "uid"
    counter: Parameter = "ctr"
    mac: Parameter = "cmac"
    mac_from: Annotated[
        Parameter,
        Meta(description="sun: the parameter at whose value the signed part begins. Empty: an empty part."),
    ] = ""

    def __post_init__(self) -> None:
        """Refuse what no card could do."""
        if self.card == "ultralight_c" and len(self.diversified_with or "") > 16:
            raise ValueError("`diversified_with`: with 3DES the UID and these bytes are 15 bytes at most")


class TagOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is the same for every contactless reader."""

    gone_after_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000,
            description="A card counts as taken away when it was not found for this long; until then it is one tap.",
        ),
    ] = 500
    identify_by: Annotated[
        Literal["uid", "ndef"],
        Meta(
            description="uid: a card is its number. ndef: it is the first text or address written on it, the same "
            "credential as a printed code of the same characters; a tag without any is its number."
        ),
    ] = "uid"
    read_ndef: Annotated[bool, Meta(description="Read the texts and addresses on a tag too; this takes time.")] = False
    prove: Annotated[
        tuple[ProofRule, ...],
        Meta(max_length=8, description="How cards prove to be authentic here; the first rule that holds is enough."),
    ] = ()
    hang_after_ms: Annotated[
        int,
        Meta(
            ge=1000,
            le=60_000,
            description="The library's process is ended and started anew when it has said nothing for this long.",
        ),
    ] = 5000


def shared(options: TagOptions) -> TagOptions:
    """Return the part of a reader's options that is the same for all."""
    return TagOptions(**{name: getattr(options, name) for name in TagOptions.__struct_fields__})
