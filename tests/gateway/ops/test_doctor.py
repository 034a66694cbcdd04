"""The doctor finds what is wrong and says what to do; about what is right it says little."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import cli
from gateway.config.schema import Configuration
from gateway.domain import events as e
from gateway.mqtt.authority import ensure_certificates, hand_over
from gateway.ops import doctor, files, machine, permissions
from gateway.ops.findings import Finding
from gateway.store.credentials import CredentialKey
from gateway.store.locking import is_running, lock_state_dir
from tests.gateway.mqtt.certificates import make_certificate
from tests.gateway.ops.house import NOW_MS, NOW_S, YAML, configuration, import_guests, record

STOPPED = e.GatewayStopped()


def alter(state: Path) -> None:
    connection = sqlite3.connect(state / "journal.db")
    connection.execute("UPDATE journal SET at_ms = at_ms + 1 WHERE seq = 1")
    connection.commit()
    connection.close()


class Clock:
    def __init__(self, kept: bool, *, battery: bool = False) -> None:
        self._kept, self._battery = kept, battery

    def synchronised(self) -> bool:
        return self._kept

    def has_battery(self) -> bool:
        return self._battery


def of(findings: tuple[Finding, ...], check: str) -> list[Finding]:
    return [one for one in findings if one.check == check]


def test_a_venue_in_order_is_told_so_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    import_guests(config, "anna")
    record(config, STOPPED)
    found = doctor.examine(config, now_s=NOW_S + 60).findings
    for check in ("card speed", "free space", "permissions", "keys", "certificates", "journal", "devices"):
        assert [one.level for one in of(found, check)] == ["ok"], of(found, check)
    [broker] = of(found, "broker")
    assert broker.level == "bad"
    assert "systemctl status mosquitto" in broker.do
    assert all(one.do for one in found if one.level != "ok")


@pytest.mark.parametrize(
    ("spoil", "check", "level", "words"),
    [
        (lambda state: (state / "credential.key").chmod(0o644), "keys", "bad", "chmod 600"),
        (lambda state: state.chmod(0o755), "permissions", "bad", "chmod o-rwx"),
        (lambda state: (state / "directory.db").unlink(), "directory", "bad", "directory import"),
        (lambda state: (state / "credential.key").write_bytes(bytes(32)), "directory", "bad", "directory import"),
        (lambda state: os.utime(state / "directory.db", (1, 1)), "directory", "warning", "tickets sold since"),
        (lambda state: (state / "journal.db").write_bytes(b"no database " * 500), "journal", "bad", "restore"),
        (alter, "journal", "bad", "restore"),
        (lambda state: (state / "journal.db").unlink(), "journal", "warning", "start the gateway"),
    ],
)
def test_what_is_spoilt_is_found(
    tmp_path: Path, spoil: Callable[[Path], object], check: str, level: str, words: str
) -> None:
    config = configuration(tmp_path)
    import_guests(config, "anna")
    record(config, e.GatewayStarted(version="1", clean=True, config_digest="x"), STOPPED)
    spoil(config.state_dir)
    [finding] = of(doctor.examine(config, now_s=NOW_S).findings, check)
    assert finding.level == level
    assert words in finding.do


def test_a_key_that_lies_apart_from_the_data_is_the_one_that_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(tmp_path)
    import_guests(config, "anna")
    keys = tmp_path / "keys"
    keys.mkdir()
    (config.state_dir / "credential.key").rename(keys / "credential.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys))
    assert files.secret_files(config) == [keys / "credential.key"]
    assert [one.level for one in files.check_secrets(config)] == ["ok"]
    assert files.check_directory(config, NOW_S).level == "ok"
    (keys / "credential.key").write_bytes(os.urandom(32))
    assert "another credential key" in files.check_directory(config, NOW_S).found


def test_what_broker_apply_makes_is_not_for_a_person_to_put_there(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    tls = tmp_path / "state/tls"
    pair = f"certificate_file: {tls}/console.crt, private_key_file: {tls}/console.key"
    config = configuration(tmp_path, YAML + f"console: {{listen: '127.0.0.1:8443', {pair}}}\n")
    import_guests(config, "anna")
    assert [one.do for one in files.check_secrets(config)] == [files.MAKE_OWN]
    assert [one.do for one in files.check_certificates(config, datetime.now(UTC))] == [files.MAKE_OWN]
    ensure_certificates(tmp_path / "broker", "hall", ["10.0.0.1"], datetime.now(UTC))
    (tmp_path / "broker/ca.key").unlink()
    [gone, *_] = files.check_certificates(config, datetime.now(UTC), tmp_path / "broker")
    assert (gone.level, "ca.key is gone" in gone.found) == ("warning", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may open what is not its own")
def test_root_judges_what_the_gateways_own_user_may(tmp_path: Path) -> None:
    config = configuration(tmp_path, YAML + "upstream: {url: 'https://up.example', token_file: up.token}\n")
    import_guests(config, "anna")
    token = tmp_path / "up.token"
    token.write_text("a token of upstream's")
    token.chmod(0o600)
    for one in (config.state_dir, *config.state_dir.rglob("*")):
        os.chown(one, 65534, 65534)
    [keys] = files.check_secrets(config)
    assert (keys.level, keys.do) == ("bad", f"run: chown nobody: {token}")
    assert [one.level for one in permissions.check_permissions(config)] == ["ok"]
    os.chown(token, 65534, 0)
    assert [one.level for one in files.check_secrets(config)] == ["ok"]
    (config.state_dir / "clients").mkdir()
    (config.state_dir / "clients/bar.password").touch()
    (config.state_dir / ".package").mkdir()
    [foreign] = permissions.check_permissions(config)
    assert f"{config.state_dir / 'clients'} and 1 more: not nobody's" in foreign.found
    assert foreign.do == f"run: chown -R nobody: {config.state_dir}"


def test_the_clock_is_judged_by_ntp_and_by_the_journal() -> None:
    kept, alone = Clock(True), Clock(False)
    assert machine.check_clock(NOW_S, NOW_MS, kept).level == "ok"
    assert machine.check_clock(NOW_S, NOW_MS, alone).level == "warning"
    assert "no battery" in machine.check_clock(NOW_S, NOW_MS, alone).found
    assert "drifts" in machine.check_clock(NOW_S, NOW_MS, Clock(False, battery=True)).found
    assert machine.check_clock(NOW_S, NOW_MS + 60_000, kept).found == "it is 60 s behind the newest journal entry"
    assert machine.check_clock(1000, 0, kept).found == "it has never been set"


@pytest.mark.parametrize(("each_s", "level"), [(0.001, "ok"), (0.06, "warning"), (0.4, "bad")])
def test_a_slow_card_is_found(tmp_path: Path, each_s: float, level: str) -> None:
    now = iter(number * each_s for number in range(1000))
    assert machine.check_card_speed(tmp_path, lambda: next(now)).level == level
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free_mb", "level"), [(1000, "ok"), (200, "warning"), (10, "bad")])
def test_a_full_disk_is_found(tmp_path: Path, free_mb: int, level: str) -> None:
    disk = os.statvfs_result((1 << 20, 1 << 20, 9999, free_mb, free_mb, 10**6, 10**6, 10**6, 0, 255))
    assert machine.check_space(tmp_path, lambda _: disk).level == level


def test_certificates_are_judged_by_their_dates(tmp_path: Path) -> None:
    pem, _ = make_certificate(tmp_path)
    text = YAML.replace("unix:///nowhere/mqtt.sock", f"{{url: 'mqtts://nowhere.invalid', ca_file: {pem}}}")
    config = configuration(tmp_path, text)
    now = datetime.now(UTC)
    later = (timedelta(0), timedelta(days=3), timedelta(days=-3))
    found = [next(files.check_certificates(config, now + one)) for one in later]
    assert [one.level for one in found] == ["warning", "bad", "bad"]
    words = ("ends in", "ended on", "holds only from")
    assert all(word in one.found for one, word in zip(found, words, strict=True))
    pem.write_text("no certificate")
    assert "no PEM certificate" in next(files.check_certificates(config, now)).found


AGO_DAYS = 900
"""Certificates made so long ago have ended."""


def aged(tmp_path: Path, ago_days: int) -> tuple[Configuration, Path]:
    """A venue whose broker and console got their certificates so long ago, and the broker's folder."""
    config, folder = configuration(tmp_path), tmp_path / "broker"
    folder.mkdir()
    made = datetime.now(UTC) - timedelta(days=ago_days)
    ensure_certificates(folder, "hall", ["127.0.0.1"], made)
    hand_over(folder, config.state_dir, ["localhost"], made)
    return config, folder


@pytest.mark.parametrize("name", ["broker/broker.crt", "tls/broker.crt", "tls/console.crt"])
@pytest.mark.parametrize(
    ("ago_days", "level", "word"),
    [(AGO_DAYS, "bad", "ended on"), (810, "warning", "ends in"), (10, "ok", "holds for")],
)
def test_the_certificates_of_broker_and_console_are_judged(
    tmp_path: Path, name: str, ago_days: int, level: str, word: str
) -> None:
    config, folder = aged(tmp_path, ago_days)
    found = files.check_certificates(config, datetime.now(UTC), folder)
    [one] = [one for one in found if f"{name} " in one.found]
    assert one.level == level
    assert word in one.found
    assert ("venue-gateway broker apply" in one.do) == (level != "ok")


def test_the_figures_tell_how_many_days_are_left_and_see_a_renewal(tmp_path: Path) -> None:
    config, folder = aged(tmp_path, AGO_DAYS)
    now = datetime.now(UTC)
    console = str(config.state_dir / "tls/console.crt")
    left = files.days_left(config, now.timestamp())
    assert left[console] == pytest.approx(825 - AGO_DAYS, abs=0.1)
    assert left[str(config.state_dir / "tls/broker.crt")] == left[console]
    assert hand_over(folder, config.state_dir, ["localhost"], now)
    assert files.days_left(config, now.timestamp())[console] == pytest.approx(825, abs=0.1)


def test_a_port_that_is_not_there_is_found(tmp_path: Path) -> None:
    config = configuration(tmp_path, YAML + "devices: {desk: {driver: rdm6300, port: /dev/serial/by-id/nothing}}\n")
    [finding] = of(doctor.examine(config, now_s=NOW_S).findings, "devices")
    assert (finding.level, finding.found) == ("bad", "desk: /dev/serial/by-id/nothing is not there")


def test_the_exit_status_tells_and_json_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configuration(tmp_path)
    import_guests(config, "anna")
    assert cli.main(["doctor", "--config", str(tmp_path / "venue.yaml"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["result"] == "bad"
    assert {"clock", "card speed", "broker", "journal"} <= {one["check"] for one in told["findings"]}


def test_i12_the_doctor_tells_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configuration(tmp_path)
    import_guests(config, "anna")
    cli.main(["doctor", "--config", str(tmp_path / "venue.yaml")])
    assert CredentialKey.load_or_create(config.state_dir).secret.hex() not in capsys.readouterr().out


def test_looking_whether_a_daemon_runs_disturbs_none(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with lock_state_dir(tmp_path):
        assert is_running(tmp_path)
        assert is_running(tmp_path)
    assert not is_running(tmp_path)
    with lock_state_dir(tmp_path), pytest.raises(OSError, match="another venue-gateway"):
        lock_state_dir(tmp_path)
