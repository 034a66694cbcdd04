"""Each driver has a page of docs/hardware with its wiring, its YAML and its traps, and the YAML there is right."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from gateway.devices.registry import DRIVERS

FOLDER = Path(__file__).parent.parent / "docs"
INDEX = (FOLDER / "hardware.md").read_text(encoding="utf-8")
PAGES = sorted((FOLDER / "hardware").glob("*.md"))
_ROW = re.compile(r"^\| \[[^]]+\]\((hardware/[a-z0-9-]+\.md)\) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def pages_of(driver: str) -> list[Path]:
    """The pages that the index names for a driver."""
    return [FOLDER / page for page, drivers in _ROW.findall(INDEX) if f"`{driver}`" in drivers]


def devices_in(page: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each device that stands in the YAML of a page, whole configurations and single lines alike."""
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        found = YAML(typ="safe").load(io.StringIO(block))
        for name, device in {**found, **found.get("devices", {})}.items():
            if isinstance(device, dict) and "driver" in device:
                yield name, device


def test_the_index_knows_every_page_and_every_page_is_there() -> None:
    named = re.findall(r"\((hardware/[a-z0-9-]+\.md)\)", INDEX)
    assert sorted(named) == sorted(f"hardware/{page.name}" for page in PAGES)


def test_the_index_names_no_driver_that_is_none() -> None:
    named = {name for _, drivers in _ROW.findall(INDEX) for name in re.findall(r"`([a-z0-9-]+)`", drivers)}
    assert named == set(DRIVERS)


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_driver_has_a_page_with_wiring_yaml_and_traps(driver: str) -> None:
    pages = [page for page in pages_of(driver) if driver in {device["driver"] for _, device in devices_in(page)}]
    assert pages, f"no page of docs/hardware that the index names for {driver} has its YAML"
    headings = [
        line for page in pages for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("## ")
    ]
    assert any("wiring" in line.lower() for line in headings), f"the pages of {driver} have no wiring"
    assert "## Known traps" in headings, f"the pages of {driver} have no traps"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_yaml_of_a_page_is_what_its_drivers_take(page: Path) -> None:
    for name, device in devices_in(page):
        options = {key: value for key, value in device.items() if key != "driver"}
        try:
            msgspec.convert(options, DRIVERS[device["driver"]].options)
        except msgspec.ValidationError as error:
            pytest.fail(f"{page.name}: {name}: {error}")
