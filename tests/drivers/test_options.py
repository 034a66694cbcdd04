from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from drivers.gates.lcus import LcusOptions
from gateway.devices.registry import DRIVERS


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


def metas(annotation: Any) -> Iterator[msgspec.Meta]:
    yield from (one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, msgspec.Meta))
    for part in get_args(annotation):
        yield from metas(part)


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_technician_is_shown_a_regular_expression(driver: str) -> None:
    """What has to match a pattern says in words what that is, or shows it."""
    for name, annotation in get_type_hints(DRIVERS[driver].options, include_extras=True).items():
        for one in metas(annotation):
            assert one.pattern is None or one.examples or (one.extra or {}).get("expected"), f"{driver}: {name}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_option_is_documented_in_the_schema(driver: str) -> None:
    options = DRIVERS[driver].options
    for name, field in msgspec.json.schema(options)["$defs"][options.__name__]["properties"].items():
        # A choice between several kinds says it of one of them, or of each.
        said = [field, *field.get("anyOf", ()), *field.get("oneOf", ())]
        refers = [one["$ref"].rsplit("/", 1)[-1] for one in said if "$ref" in one]
        assert refers or any("description" in one or "examples" in one for one in said), f"{driver}: {name}"


@pytest.mark.parametrize("driver", ["escpos", "zpl", "tspl"])
def test_a_logo_without_a_folder_is_refused(driver: str) -> None:
    size = {} if driver == "escpos" else {"width_mm": 50, "height_mm": 30}
    with pytest.raises(msgspec.ValidationError, match="name that as `logos`"):
        msgspec.convert({"connect": "tcp://printer:9100", "logo": "club", **size}, DRIVERS[driver].options)


def test_each_driver_is_one_file_of_its_own() -> None:
    files = [entry.build.__module__ for entry in DRIVERS.values()]
    assert len(set(files)) == len(files)
    folders = {file.rpartition(".")[0] for file in files}
    assert folders == {f"drivers.{kind}" for kind in ("readers", "scanners", "gates", "printers", "drawers")}
