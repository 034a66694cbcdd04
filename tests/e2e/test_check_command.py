"""`venue-gateway check` and its neighbours, as a technician runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e import settings
from tests.e2e.daemon import command

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG = """\
venue: {id: hall, timezone: Europe/Berlim, currency: EUR}
broker: unix:///run/mqtt.sock
zones: {hall: {}}
devices:
  door-reader: {driver: rdm6300, prot: /dev/ttyUSB0}
  door-relay: {driver: lcuss, port: /dev/ttyUSB1}
  bar-drawer: {driver: drawer-kick, printer: bar-printer}
gates:
  door: {to: hall, readers: [dor-reader], lock: door-relay.1, pulse_mss: 700}
clients:
  tablet: {may: {bar-drawer: [oppen]}}
"""
LINE = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+): (?P<path>[^:]+): .+")


async def test_every_problem_is_named_at_once_with_file_line_and_path(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    finished = await command("check", file)
    assert finished.status == 1
    found = [LINE.match(line) for line in finished.out.splitlines()]
    assert all(found)
    lines = [int(match["line"]) for match in found if match]
    assert lines == sorted(lines)
    assert {1, 5, 6, 7, 9, 11} <= set(lines)
    for near in ("port", "lcus", "door-reader", "pulse_ms", "open", "Europe/Berlin"):
        assert re.search(rf"\b{near}\b", finished.out), near
    assert f"{len(lines)} problems in {file}" in finished.err


async def test_a_right_file_is_told_to_be_right(tmp_path: Path) -> None:
    file = tmp_path / "right.yaml"
    file.write_text(settings.as_yaml(settings.configuration(tmp_path, settings.ALL_PARTS, 9100)))
    finished = await command("check", file)
    assert (finished.status, finished.err) == (0, "")
    assert "8 devices, 4 gates, 6 clients" in finished.out


@pytest.mark.parametrize("example", sorted((Path(__file__).parents[2] / "config").glob("*.yaml")), ids=lambda p: p.name)
async def test_the_example_files_are_right(example: Path) -> None:
    assert (await command("check", example)).status == 0


async def test_run_refuses_a_wrong_file_in_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    checked, ran = await command("check", file), await command("run", "--config", file)
    assert ran.status == 1
    assert ran.err.splitlines() == checked.out.splitlines()


async def test_a_missing_file_is_said_without_a_stack_trace(tmp_path: Path) -> None:
    for finished in (await command("check", tmp_path / "none.yaml"), await command("run", "--config", tmp_path / "n")):
        assert finished.status == 1
        assert "Traceback" not in finished.err


async def test_schema_and_drivers_are_printed() -> None:
    assert json.loads((await command("schema")).out)["type"] == "object"
    drivers = (await command("drivers")).out
    assert all(
        name in drivers for name in ("rdm6300", "serial-scanner", "lcus", "modbus-relay", "escpos", "drawer-kick")
    )
