from __future__ import annotations

import msgspec
import pytest

from drivers.gates.lcus import LcusOptions


@pytest.mark.parametrize(
    "port",
    [
        "/dev/ttyUSB0",
        "tcp://converter.local:4001",
        "tcp://converter.local.:65535",
        "tcp://10.0.0.7:1",
        "tcp://[fe80::1%eth0]:4001",
        "tcp://kasse_1:60000",
    ],
)
def test_addresses_that_can_work(port: str) -> None:
    assert msgspec.convert({"port": port}, LcusOptions).port == port


@pytest.mark.parametrize(
    "port",
    [
        "tcp://a..b:4001",
        "tcp://.b:4001",
        f"tcp://{'x' * 64}:4001",
        "tcp://a b:4001",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://host:99999",
        "tcp://host",
        "tcp://:4001",
        "COM3",
    ],
)
def test_addresses_that_can_never_work_are_refused(port: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="matching regex"):
        msgspec.convert({"port": port}, LcusOptions)
