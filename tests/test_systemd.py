"""The units as systemd itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.cli import _parser
from gateway.config.schema import DEFAULT_STATE_DIR
from gateway.housekeeping import FOLD_TIMEOUT_S
from gateway.installing import BROKER_FOLDER

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "systemd/venue-gateway.service"
EXPOSURE_MAX = 2.0
RENEWAL = ROOT / "systemd/venue-gateway-certificates.service"
RENEWAL_EXPOSURE_MAX = 4.0
"""It is root, for the authority's key is root's."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=50, check=False
    )


def settings(name: str, unit: Path = UNIT) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


@needs_systemd
@pytest.mark.parametrize(("unit", "most"), [(UNIT, EXPOSURE_MAX), (RENEWAL, RENEWAL_EXPOSURE_MAX)])
def test_a_unit_is_exposed_no_more_than_it_must_be(unit: Path, most: float) -> None:
    outcome = analyze("security", "--offline=true", str(unit))
    found = re.search(rf"Overall exposure level for {unit.name}: ([\d.]+)", outcome.stdout)
    assert found, outcome.stdout + outcome.stderr
    assert float(found[1]) <= most


@needs_systemd
@pytest.mark.parametrize("unit_file", [UNIT, RENEWAL])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, unit_file: Path) -> None:
    # Where the package is not installed its program is not there; everything else is as it will be.
    program = tmp_path / "python"
    program.symlink_to("/bin/true")
    unit = tmp_path / unit_file.name
    unit.write_text(unit_file.read_text().replace("/opt/venue-gateway/bin/python", str(program)))
    units = [str(unit)]
    if (timer := unit_file.with_suffix(".timer")).exists():
        shutil.copy(timer, tmp_path)
        units.append(str(tmp_path / timer.name))
    outcome = analyze("verify", "--man=no", *units)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_the_watchdog_and_the_stop_leave_the_daemon_its_time() -> None:
    assert settings("Type") == ["notify"]
    assert settings("WatchdogSec") == ["30s"]
    [stop] = settings("TimeoutStopSec")
    assert int(stop.removesuffix("s")) > FOLD_TIMEOUT_S


def test_the_unit_requires_neither_broker_nor_clock() -> None:
    wanted, after = " ".join(settings("Wants")), " ".join(settings("After"))
    assert {"mosquitto.service", "time-sync.target"} <= set(wanted.split()) & set(after.split())
    assert not settings("Requires")
    assert not settings("BindsTo")


def test_kinds_of_devices_are_known_to_the_kernel_before_the_unit_starts() -> None:
    """systemd looks names up in /proc/devices at the start, and a kind that is not there then stays shut."""
    by_module = {"ttyUSB": "usbserial", "ttyACM": "cdc_acm", "hidraw": "hid"}
    of_the_kernel = {"ttyS", "ttyAMA", "usb_device", "usb", "lp", "input", "gpiochip"}
    allowed = {line.split()[0].removeprefix("char-") for line in settings("DeviceAllow")}
    assert allowed == of_the_kernel | set(by_module)
    asked = {f"modprobe@{module}.service" for module in by_module.values()}
    assert asked <= set(" ".join(settings("Wants")).split()) & set(" ".join(settings("After")).split())


def test_what_the_units_call_comes_with_the_package() -> None:
    # Debian's unit of Mosquitto reloads by it as well, and no Debian has to have it.
    assert settings("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    depends = re.search(r"^Depends: (.*)$", (ROOT / "packaging/control").read_text(), re.MULTILINE)
    assert depends
    assert "procps" in depends[1].split(", ")


def test_every_rule_names_a_group_that_the_gateway_is_in() -> None:
    rules = (ROOT / "systemd/udev.rules").read_text()
    members = set(re.findall(r"^m venue-gateway (\S+)", (ROOT / "systemd/sysusers.conf").read_text(), re.MULTILINE))
    assert set(re.findall(r'GROUP="([^"]+)"', rules)) <= members
    assert "adjtimex" in " ".join(settings("SystemCallFilter")), "the gateway asks whether the time is set"
    assert "pn533_usb" in (ROOT / "systemd/modprobe.conf").read_text()


def test_the_renewal_calls_what_the_command_line_knows_and_may_write_where_it_must() -> None:
    [command] = settings("ExecStart", RENEWAL)
    words = command.partition(" -m gateway ")[2].split()
    options = _parser().parse_args(words)
    assert options.only_if_due
    given = [options.name, options.tls, options.websockets, options.user]
    assert not any(given), "what is in force stays"
    writable = settings("ReadWritePaths", RENEWAL)[0].split()
    assert {str(BROKER_FOLDER), DEFAULT_STATE_DIR} == set(writable)


@needs_systemd
def test_the_renewal_comes_at_night_and_the_package_starts_it() -> None:
    [when] = settings("OnCalendar", RENEWAL.with_suffix(".timer"))
    outcome = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert 4 <= int(re.findall(r"(\d\d):\d\d", when)[0]) <= 7
    timer = "venue-gateway-certificates.timer"
    assert timer in (ROOT / "scripts/deb").read_text()
    assert f"enable --now {timer}" in (ROOT / "packaging/postinst").read_text()
    assert f"disable --now {timer}" in (ROOT / "packaging/prerm").read_text()


def test_the_service_may_write_a_configuration_only_away_from_the_keys() -> None:
    assert settings("ReadWritePaths") == ["-/etc/venue-gateway/config"]
    postinst = (UNIT.parent.parent / "packaging/postinst").read_text()
    assert 'install -d -m 2770 -o root -g venue-gateway "$ETC/config"' in postinst


def test_the_service_may_call_what_the_code_asks_the_scheduler() -> None:
    """The set @resources is taken away as a whole, so each of it that the code calls has to be named."""
    sources = [file for part in ("gateway", "drivers") for file in (ROOT / part).rglob("*.py")]
    asks = re.compile(r"\bos\.(sched_set\w+|setpriority|nice)\(")
    called = {name for file in sources for name in asks.findall(file.read_text())}
    assert called >= {"sched_setaffinity", "sched_setscheduler"}
    assert called <= set(settings("SystemCallFilter")[-1].split())
