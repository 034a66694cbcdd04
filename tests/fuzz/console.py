"""What a browser sends to the console: the body of each of its forms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.flows.desk import RefusedRequest, Request, read_data
from gateway.mqtt.messages import VERB_DATA
from gateway.web.contract import AskData, LoginData, LookupData
from gateway.web.http import Refused, read

FORMS = (LoginData, LookupData, AskData)


class _Body:
    """As much of a request as is read."""

    content_type = "application/json"

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data


def form(data: bytes) -> None:
    """The body of a form. What is asked of the desk is read on as the desk reads it, for every verb."""
    for shape in FORMS:
        with suppress(Refused):
            asked = asyncio.run(read(_Body(data), shape))
            if isinstance(asked, AskData):
                _ask(asked)


def _ask(asked: AskData) -> None:
    for verb, kind in VERB_DATA.items():
        with suppress(RefusedRequest):
            read_data(Request("console/ada", asked.id, asked.target, verb, bytes(asked.data), None, ""), kind)


TARGETS: dict[str, Callable[[bytes], None]] = {"form": form}
