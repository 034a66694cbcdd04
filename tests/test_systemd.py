"""The units as systemd itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.housekeeping import FOLD_TIMEOUT_S

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "systemd/venue-gateway.service"
EXPOSURE_MAX = 2.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=50, check=False
    )


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@needs_systemd
def test_the_unit_is_exposed_no_more_than_it_must_be() -> None:
    outcome = analyze("security", "--offline=true", str(UNIT))
    found = re.search(r"Overall exposure level for venue-gateway.service: ([\d.]+)", outcome.stdout)
    assert found, outcome.stdout + outcome.stderr
    assert float(found[1]) <= EXPOSURE_MAX


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # Where the package is not installed its program is not there; everything else is as it will be.
    program = tmp_path / "python"
    program.symlink_to("/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/venue-gateway/bin/python", str(program)))
    outcome = analyze("verify", "--man=no", str(unit))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_the_watchdog_and_the_stop_leave_the_daemon_its_time() -> None:
    assert settings("Type") == ["notify"]
    assert settings("WatchdogSec") == ["30s"]
    [stop] = settings("TimeoutStopSec")
    assert int(stop.removesuffix("s")) > FOLD_TIMEOUT_S


def test_the_unit_requires_neither_broker_nor_clock() -> None:
    [wanted], [after] = settings("Wants"), settings("After")
    assert {"mosquitto.service", "time-sync.target"} <= set(wanted.split()) & set(after.split())
    assert not settings("Requires")
    assert not settings("BindsTo")


def test_every_rule_names_a_group_that_the_gateway_is_in() -> None:
    rules = (ROOT / "systemd/udev.rules").read_text()
    members = set(re.findall(r"^m venue-gateway (\S+)", (ROOT / "systemd/sysusers.conf").read_text(), re.MULTILINE))
    assert set(re.findall(r'GROUP="([^"]+)"', rules)) <= members
    assert "adjtimex" in " ".join(settings("SystemCallFilter")), "the gateway asks whether the time is set"
    assert "pn533_usb" in (ROOT / "systemd/modprobe.conf").read_text()


def test_the_service_may_write_a_configuration_only_away_from_the_keys() -> None:
    assert settings("ReadWritePaths") == ["-/etc/venue-gateway/config"]
    postinst = (UNIT.parent.parent / "packaging/postinst").read_text()
    assert 'install -d -m 2770 -o root -g venue-gateway "$ETC/config"' in postinst
