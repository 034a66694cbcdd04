"""Venues for the tests, what every test must leave behind, and the daemon's log where one fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.venue import Venue

_venues: list[Venue] = []
LOG_LINES_SHOWN = 60
LONGEST = (
    "kill_under_load",
    "tablet_late",
    "crash",
    "fleet",
    "tablet_browser",
    "demo",
    "broker_outage",
    "passage",
    "nfc",
)
"""The files that take longest, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: two workers share the files, and none should wait for the other's last one."""
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    """The venue that the tests of a module share, made with the module's own `VENUE` options."""
    async for one in _run(Venue(**getattr(request.module, "VENUE", {}))):
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def start_venue() -> AsyncIterator[Callable[..., Awaitable[Venue]]]:
    """Starts a venue for one test alone, which it may harm as it likes."""
    running = []

    async def start(*arguments: Any, **options: Any) -> Venue:
        runner = _run(Venue(*arguments, **options))
        running.append(runner)
        return await anext(runner)

    yield start
    for runner in reversed(running):
        await anext(runner, None)


async def _run(one: Venue) -> AsyncIterator[Venue]:
    _venues.append(one)
    try:
        async with one:
            yield one
        assert not one.problems(stored=True)
    finally:
        _venues.remove(one)
        one.remove()


@pytest.fixture(autouse=True)
def _what_was_seen_is_right() -> Iterator[None]:
    """After every test: each message as the contract says, no secret told (I12), nothing in the log that is a bug."""
    yield
    found = [problem for one in _venues for problem in one.problems()]
    assert not found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        for one in _venues:
            report.sections.append((f"log of the daemon in {one.directory}", one.daemon.tail(LOG_LINES_SHOWN)))
    return report
