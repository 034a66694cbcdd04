"""`venue-gateway drawer calibrate` as a technician runs it, with a simulated printer and its drawer."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from simulators.venue import SimulatedVenue

YAML = """\
venue: {{id: club, timezone: Europe/Vienna, currency: EUR}}
broker: unix:///tmp/nobody.sock
state_dir: state
devices:
  bar-printer: {{driver: escpos, connect: "tcp://127.0.0.1:{port}", status_timeout_ms: 500}}
  bar-drawer: {{driver: drawer-kick, printer: bar-printer}}
"""


@pytest.mark.parametrize(("wired_low", "option"), [(False, "open_is_high: true"), (True, "open_is_high: false")])
async def test_the_polarity_of_the_contact_is_found_by_one_command(
    tmp_path: Path, wired_low: bool, option: str
) -> None:
    description = {"it": {"simulator": "escpos_printer", "tcp": "127.0.0.1:0", "drawer_open_is_low": wired_low}}
    async with SimulatedVenue(tmp_path / "venue", description) as venue:
        printer = await venue.control("it")
        await printer.do("drawer", open=False)
        config = tmp_path / "club.yaml"
        config.write_text(YAML.format(port=venue.device("it").port))
        command = [sys.executable, "-m", "gateway", "drawer", "calibrate", "bar-drawer", "--config", str(config)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(b"\n"), 20)
        assert (process.returncode, err) == (0, b"")
        assert f"bar-drawer: {{driver: drawer-kick, printer: bar-printer, {option}}}" in out.decode()
        assert (await printer.state())["kick_count"] == 1
