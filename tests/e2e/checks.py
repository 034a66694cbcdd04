"""Every message that is seen must be as the contract says."""

from __future__ import annotations

import re

import msgspec

from tests.gateway.mqtt.contract import ContractBroken, validate

_NUMBERS = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8,}|[0-9]+")
_FEED = re.compile(r"^venue/[^/]+/events$")
_checked: dict[tuple[str, bytes], list[str]] = {}
_ELSEWHERE = re.compile(r"^(venue/[^/]+/clients/[^/]+)/.+$")


def contract_problems(topic: str, payload: bytes) -> list[str]:
    """What is wrong with a message that the gateway published; what clients send is wrong on purpose at times."""
    if "/requests/" in topic:
        return []
    # Where a client asks for its answers somewhere else under its own prefix, they are answers there too.
    topic = _ELSEWHERE.sub(r"\1/responses", topic)
    if _FEED.match(topic):
        # Entry by entry: together they come in ever new combinations.
        entries = msgspec.json.decode(payload, type=list[msgspec.Raw])
        problems = [] if entries else [f"{topic}: a message without an entry"]
        return problems + [problem for entry in entries for problem in _once(topic, b"[%s]" % bytes(entry))]
    return _once(topic, payload)


def _once(topic: str, payload: bytes) -> list[str]:
    """Under load thousands of messages differ in nothing but their ids and numbers; one of each is checked."""
    kind = (topic, _NUMBERS.sub(b"0", payload))
    if kind not in _checked:
        _checked[kind] = _problems(topic, payload)
    return _checked[kind]


def _problems(topic: str, payload: bytes) -> list[str]:
    try:
        validate(topic, payload)
    except ContractBroken as error:
        return [str(error)]
    return []
