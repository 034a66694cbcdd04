"""The sections `metrics` and `retention`: loopback alone, and nothing is kept for ever by a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.loading import ConfigurationError, loads
from gateway.config.operations import Metrics, Retention
from gateway.devices.registry import kinds

HEAD = "venue: {id: hall, timezone: Europe/Berlin, currency: EUR}\nbroker: unix:///run/mqtt.sock\n"


def read(text: str):
    return loads((HEAD + text).encode(), Path("venue.yaml"), kinds())


def test_nothing_is_served_unless_asked_for() -> None:
    assert read("").metrics is None
    assert read("").retention == Retention(answers_days=7, receipts_days=30, guests_days=None)
    assert read("metrics: {}\n").metrics == Metrics(listen="127.0.0.1:9464")


@pytest.mark.parametrize(
    ("listen", "address"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:1", ("::1", 1)), ("localhost:65535", ("localhost", 65535))],
)
def test_this_machine_may_ask(listen: str, address: tuple[str, int]) -> None:
    metrics = read(f"metrics: {{listen: '{listen}'}}\n").metrics
    assert metrics is not None
    assert metrics.address == address


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:9464", "192.168.1.5:9464", "[::]:9464", "9464", "127.0.0.1", "127.0.0.1:0", "::1:80", "evil.example:80"],
)
def test_nobody_else_may(listen: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(f"metrics: {{listen: '{listen}'}}\n")
    [problem] = refused.value.problems
    assert problem.path == "metrics.listen"
    assert "this machine itself" in problem.message


@pytest.mark.parametrize(
    "wrong", ["{answers_days: 0}", "{receipts_days: -1}", "{guests_days: forever}", "{journal: 1}"]
)
def test_a_slip_in_the_retention_is_told(wrong: str) -> None:
    with pytest.raises(ConfigurationError):
        read(f"retention: {wrong}\n")
