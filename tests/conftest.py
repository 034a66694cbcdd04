"""What holds for every test: how Hypothesis searches."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Tests share two cores with brokers and simulators, so an example that took long says nothing about the code.
settings.register_profile("venue", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# For a night: pytest --hypothesis-profile=thorough
settings.register_profile("thorough", parent=settings.get_profile("venue"), max_examples=5_000)
settings.load_profile("venue")
