"""Every message that is seen must be as the contract says."""

from __future__ import annotations

import json


def contract_problems(topic: str, payload: bytes) -> list[str]:
    """What is wrong with a message that the gateway published; nothing for what clients send."""
    if not payload or "/requests/" in topic:
        return []
    try:
        json.loads(payload)
    except ValueError as error:
        return [f"{topic}: {error}"]
    return []
