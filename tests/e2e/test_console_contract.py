"""The console's published document against the console of a running gateway: what it allows, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.mqtt.messages import VERB_DATA
from gateway.web.contract import COOKIE, CSRF_HEADER
from gateway.web.openapi import document
from tests.e2e.console import Visitor, address, with_console
from tests.e2e.venue import Venue
from tests.length import length

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "bar"), "change": with_console}
ENDLESS, LAST = "stream", "logout"
EXPECTED = {"login": {401}, "receipt": {404}}
"""What a right request meets that was made up; 200 in the others."""
TELLING_CHARS = 8
targets = st.sampled_from(["north", "turnstile", "north-reader", "north-relay", "bar-printer", "bar-drawer", "gateway"])
verbs = st.sampled_from(sorted(VERB_DATA))
asked_often = settings(
    max_examples=length(40, 1000), deadline=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)  # fmt: skip


def operations() -> Iterator[tuple[Any, GenerationMode]]:
    """Every operation, asked rightly and, where anything is sent, wrongly. The stream never ends; signing out ends."""
    # Cookie and token are this test's own; whoever has none or a wrong one is test_forbidden's.
    plain = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(document(), config=plain)
    found = [result.ok() for result in schema.get_all_operations()]
    named = [(one.definition.raw["operationId"], one) for one in found]
    for name, one in sorted(named, key=lambda pair: pair[0] == LAST):
        if name != ENDLESS:
            yield one, GenerationMode.POSITIVE
            if one.body:
                yield one, GenerationMode.NEGATIVE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(venue: Venue) -> AsyncIterator[Visitor]:
    """Signed in before anything else, as wrong passwords lock the address out after a while."""
    async with Visitor(address(venue)) as visitor:
        assert await visitor.sign_in("ada") == 200
        yield visitor


def words_of(value: Any) -> Iterator[str]:
    """Every text that was sent and is too long to stand in an answer by chance."""
    if isinstance(value, dict):
        value = list(value.values())
    for one in value if isinstance(value, list) else []:
        yield from words_of(one)
    if isinstance(value, str) and len(value) >= TELLING_CHARS:
        yield value


@pytest.mark.parametrize(
    ("operation", "mode"), [pytest.param(*one, id=f"{one[0].label} {one[1].value}") for one in operations()]
)
async def test_it_answers_as_its_document_says(ada: Visitor, operation: Any, mode: GenerationMode) -> None:
    cookies = {one.key: one.value for one in ada.http.cookie_jar if one.key == COOKIE}
    statuses: set[int] = set()

    @asked_often
    @given(operation.as_strategy(generation_mode=mode), targets, verbs)
    def ask(case: Any, target: str, verb: str) -> None:
        if mode is GenerationMode.POSITIVE and operation.path == "/api/ask":
            # Of things that are there, as no schema says what a venue has.
            case.body |= {"target": target, "verb": verb}
        response = case.call_and_validate(
            base_url=ada.base, cookies=cookies, headers={CSRF_HEADER: ada.csrf}, timeout=10,
            # A form can be right and its password wrong.
            excluded_checks=[positive_data_acceptance],
        )  # fmt: skip
        statuses.add(response.status_code)
        if response.status_code != 200:
            assert len(response.content) < 500
            assert not [word for word in words_of(case.body) if word in response.text]

    await asyncio.to_thread(ask)
    expected = EXPECTED.get(operation.definition.raw["operationId"], {200})
    assert statuses & (expected if mode is GenerationMode.POSITIVE else {400})
