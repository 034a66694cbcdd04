"""Whatever comes from above is taken or refused whole, in words: every field of every message, and every header.

The reference upstream, in turn, is asked all that the published document allows, and answers as the document says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from gateway.upstream.download import DirectoryRefused, _meta, sha256_of
from gateway.upstream.findings import FindingsRefused
from gateway.upstream.http import _retry_after_s
from gateway.upstream.openapi import document
from gateway.upstream.seal import Seal, Unsealed
from gateway.upstream.sinks import SinkUnavailable
from tests.gateway.upstream.messages import KEY, MESSAGES, Reader, places, replaced
from tests.gateway.upstream.served import Served
from tests.length import length

REFUSALS = (SinkUnavailable, DirectoryRefused, FindingsRefused)
fuzzed = settings(max_examples=length(60, 3000), deadline=None, suppress_health_check=list(HealthCheck))

numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.sampled_from([0, -1, 2**53, 2**63]))
words = st.one_of(st.text(max_size=20), st.sampled_from(["", "\x00", "../../etc", "g" * 5000, "2026-99-99T00:00:00Z"]))
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)


FIELDS = [(name, path) for name, (_, message) in MESSAGES.items() for path in places(message)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("reader"))


def worded(refused: Exception) -> Exception:
    assert str(refused)
    return refused


async def outcome(reader: Reader, name: str, status: int, body: bytes, **headers: str) -> object:
    """Return what came of a message; a refusal must say something."""
    try:
        return await reader.read(name, status, body, **headers)
    except REFUSALS as refused:
        return worded(refused)


@pytest.mark.parametrize("name", MESSAGES)
async def test_the_message_as_it_should_be_is_taken(reader: Reader, name: str) -> None:
    status, message = MESSAGES[name]
    if name == "DirectoryChanges":
        # One entitlement opens zones or is redeemed; the other fields of it cannot all be there at once.
        message = {**message, "changes": [one for one in message["changes"] if "schedule" not in one["row"]]}
    reader.facts.clear()
    taken = await outcome(reader, name, status, json.dumps(message).encode())
    assert not isinstance(taken, Exception), taken
    assert not [fact for fact in reader.facts if isinstance(fact, str)]


@pytest.mark.parametrize("name", MESSAGES)
def test_each_field_of_each_schema_is_among_those_that_are_fuzzed(name: str) -> None:
    schemas = document()["components"]["schemas"]
    found = {path[-1] for path in places(MESSAGES[name][1]) if path}
    for field in schemas[name].get("properties", {}):
        assert field in found, f"{name}.{field}"


@pytest.mark.parametrize(("name", "path"), FIELDS)
async def test_every_field_with_anything_in_it_is_taken_or_refused_in_words(
    reader: Reader, name: str, path: tuple[Any, ...]
) -> None:
    status, message = MESSAGES[name]

    @settings(max_examples=length(12, 1500), deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(st.one_of(junk, st.just(...)))
    def tried(fresh: Any) -> None:
        body = json.dumps(replaced(message, path, fresh)).encode(errors="replace")
        loop.run_until_complete(outcome(reader, name, status, body))

    loop = asyncio.new_event_loop()
    try:
        await asyncio.to_thread(tried)
    finally:
        loop.close()


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_that_are_no_json_are_refused_in_words(reader: Reader, name: str) -> None:
    status, message = MESSAGES[name]
    right = json.dumps(message).encode()
    loop = asyncio.new_event_loop()

    @fuzzed
    @example(b'{"so deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    @given(st.one_of(st.binary(max_size=80), st.integers(0, len(right)).map(lambda end: right[:end])))
    def tried(body: bytes) -> None:
        loop.run_until_complete(outcome(reader, name, status, body))

    try:
        tried()
    finally:
        loop.close()


@fuzzed
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_every_header_of_a_snapshot_is_taken_or_refused_in_words(cursor: str, etag: str, digest: str) -> None:
    class Given:
        headers = {"Directory-Cursor": cursor, "ETag": etag, "Repr-Digest": digest}  # noqa: RUF012

    for attempt in (lambda: _meta(Given()), lambda: sha256_of(digest)):  # type: ignore[arg-type]
        try:
            attempt()
        except DirectoryRefused as refused:
            worded(refused)
    assert _retry_after_s(cursor) >= 0


@fuzzed
@given(st.one_of(st.text(max_size=100), st.binary(max_size=70).map(lambda raw: f"k1=:{raw.hex()}:")), st.integers(0, 9))
def test_no_made_up_seal_is_good(header: str, version: int) -> None:
    seal = Seal("hall", lambda: {"k1": KEY.public_key().public_bytes_raw()})
    with pytest.raises(Unsealed):
        seal.check("directory.changes", version, bytes(32), header)


# The reference upstream.


@schemathesis.serializer("application/gzip")
def as_it_is(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def operations() -> Iterator[Any]:
    schema = schemathesis.openapi.from_dict(document())
    return (result.ok() for result in schema.get_all_operations())


@pytest.mark.parametrize("operation", list(operations()), ids=lambda one: one.label)
async def test_the_reference_answers_as_the_document_says(tmp_path: Path, operation: Any) -> None:
    async with Served(tmp_path / "up") as served:
        await served.tell("directory", [json.loads(row) for row in ROWS])

        @settings(max_examples=length(25, 1000), deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
        @given(operation.as_strategy())
        def asked(case: Any) -> None:
            if "wait_s" in (case.query or {}):
                case.query["wait_s"] = 0
            response = case.call(base_url=served.url, timeout=10)
            checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
            case.validate_response(response, checks=checks)

        await asyncio.to_thread(asked)


ROWS = ('{"type": "credential", "technology": "em4100", "value": "0F0184A2C3", "holder": "g"}',)
