"""The console's published document against the console of a running gateway: whatever it allows, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.web.contract import COOKIE, CSRF_HEADER
from gateway.web.openapi import document
from tests.e2e.console import Visitor, address, with_console
from tests.e2e.venue import Venue
from tests.length import length

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "bar"), "change": with_console}
ENDLESS, LAST = "stream", "logout"
asked_often = settings(
    max_examples=length(12, 600), deadline=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)  # fmt: skip


def operations() -> Iterator[Any]:
    """Every operation but the stream, which never ends; the one that signs out comes last."""
    schema = schemathesis.openapi.from_dict(document())
    found = [result.ok() for result in schema.get_all_operations()]
    named = [(one.definition.raw["operationId"], one) for one in found]
    return (one for name, one in sorted(named, key=lambda pair: pair[0] == LAST) if name != ENDLESS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(venue: Venue) -> AsyncIterator[Visitor]:
    """Signed in before anything else, as wrong passwords lock the address out after a while."""
    async with Visitor(address(venue)) as visitor:
        assert await visitor.sign_in("ada") == 200
        yield visitor


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda one: one.name.lower())
@pytest.mark.parametrize("operation", list(operations()), ids=lambda one: one.label)
async def test_it_answers_as_its_document_says(ada: Visitor, operation: Any, mode: GenerationMode) -> None:
    cookies = {one.key: one.value for one in ada.http.cookie_jar if one.key == COOKIE}
    statuses: set[int] = set()

    @asked_often
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call_and_validate(
            base_url=ada.base, cookies=cookies, headers={CSRF_HEADER: ada.csrf}, timeout=10,
            # A form can be right and its password wrong.
            excluded_checks=[positive_data_acceptance],
        )  # fmt: skip
        statuses.add(response.status_code)

    await asyncio.to_thread(ask)
    print(operation.label, mode, statuses)
    assert statuses
