"""What holds for every test: how Hypothesis searches, and which files begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
LONGEST = (
    "simulation/test_simulation.py",
    "gateway/upstream/test_cluster.py",
    "faults/test_power_loss.py",
    "benchmarks/test_smoke.py",
    "e2e/test_kill_under_load.py",
    "e2e/test_tablet_late.py",
    "e2e/test_crash.py",
    "e2e/test_fleet.py",
    "e2e/test_tablet_browser.py",
    "e2e/test_demo.py",
    "e2e/test_broker_outage.py",
    "e2e/test_passage.py",
    "e2e/test_nfc.py",
)
"""The files that take longest. They begin, so that none is still at it when the other workers have nothing left."""

# Tests share two cores with brokers and simulators, so an example that took long says nothing about the code.
settings.register_profile("venue", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# For a night: pytest --hypothesis-profile=thorough
settings.register_profile("thorough", parent=settings.get_profile("venue"), max_examples=5_000)
settings.load_profile("venue")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first, and leave all others in their order."""
    places = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
