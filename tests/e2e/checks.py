"""Every message that is seen must be as the contract says."""

from __future__ import annotations

import re
from functools import lru_cache

from tests.gateway.mqtt.contract import ContractBroken, validate

_ELSEWHERE = re.compile(r"^(venue/[^/]+/clients/[^/]+)/.+$")


def contract_problems(topic: str, payload: bytes) -> list[str]:
    """What is wrong with a message that the gateway published; what clients send is wrong on purpose at times."""
    if "/requests/" in topic:
        return []
    # Where a client asks for its answers somewhere else under its own prefix, they are answers there too.
    return list(_problems(_ELSEWHERE.sub(r"\1/responses", topic), payload))


@lru_cache(maxsize=20_000)
def _problems(topic: str, payload: bytes) -> tuple[str, ...]:
    try:
        validate(topic, payload)
    except ContractBroken as error:
        return (str(error),)
    return ()
