"""Contactless readers that pcscd serves."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit
from drivers.nfc.line import Setup
from drivers.nfc.options import TagOptions, shared
from drivers.readers.fenced import FencedReader


class PcscOptions(TagOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reader that pcscd serves."""

    reader: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            description="Its name at pcscd, or a part of it that no other reader has; `pcsc_scan -r` lists them.",
            examples=["ACR122U", "OMNIKEY 5022"],
        ),
    ]


class PcscReader(FencedReader):
    """PC/SC reader by pyscard and pcscd (ACR122U, OMNIKEY, Identiv, …): any card that such a reader takes.

    Emits one `Reading` of technology `nfc` for each time a card is held to it; `value` is its UID as upper-case hex
    digits. pyscard runs in a process of its own and may hang or crash there.
    """

    Options: ClassVar[type[msgspec.Struct]] = PcscOptions

    def __init__(self, options: PcscOptions, emit: Emit) -> None:
        super().__init__("drivers.nfc.pcsc_process", Setup(connect=options.reader, options=shared(options)), emit)
