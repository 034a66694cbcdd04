"""What the daemon says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import app, logs
from gateway.housekeeping import EXIT_STORAGE
from gateway.reporting import Reporter
from gateway.staging import Staging
from gateway.store.journal import Journal, Row
from gateway.store.locking import lock_state_dir

VENUE = """\
venue: {id: club, timezone: Europe/Vienna, currency: EUR}
broker: unix:///nowhere/mqtt.sock
state_dir: state
zones: {club: {}}
"""


def test_a_credential_key_that_others_can_read_is_named_with_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "club.yaml"
    config.write_text(VENUE)
    key = tmp_path / "state" / "credential.key"
    key.parent.mkdir()
    key.write_bytes(bytes(32))
    key.chmod(0o644)
    writer = logs.configure("info")
    try:
        assert app.run(config) == EXIT_STORAGE
    finally:
        writer.close()
    [line] = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert line["event"] == "credential_key_not_usable"
    assert line["why"] == f"{key} can be read by others; run: chmod 600 {key}"


def test_a_journal_that_cannot_be_understood_is_named_with_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "club.yaml"
    config.write_text(VENUE)
    (tmp_path / "state").mkdir()
    asyncio.run(_from_another_version(tmp_path / "state" / "journal.db"))
    command = [sys.executable, "-m", "gateway", "run", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == EXIT_STORAGE
    line = json.loads(ended.stderr.splitlines()[-1])
    assert line["event"] == "state_not_restored"
    assert "row 1 of the journal is damaged or from a newer venue-gateway" in line["why"]


async def _from_another_version(path: Path) -> None:
    journal = Journal.open(path)
    stored = asyncio.get_running_loop().create_future()
    journal.append([Row(1, bytes(16), 1_000, b'{"kind":"gate.painted"}')], stored.set_result)
    await stored
    journal.close()


async def test_a_reload_that_fails_is_over_for_the_service_manager_too() -> None:
    told: list[str] = []

    async def fails() -> None:
        raise RuntimeError

    lifeline = SimpleNamespace(reloading=lambda: told.append("reloading"), ready=lambda: told.append("ready"))
    gateway: Any = SimpleNamespace(_reloading=asyncio.Lock(), lifeline=lifeline, _reload_now=fails)
    with pytest.raises(RuntimeError):
        await app.Gateway.reloaded(gateway)
    assert told == ["reloading", "ready"]


def test_a_gate_that_a_reload_has_not_wired_yet_is_listed_without_verbs() -> None:
    configuration = SimpleNamespace(devices={}, gates={"north": None}, tills={"bar": None})
    gateway: Any = SimpleNamespace(
        configuration=configuration, drivers={}, wiring=SimpleNamespace(handlers=lambda: {"bar": {"count": None}})
    )
    reporter: Any = SimpleNamespace(_gateway=gateway)
    assert [(one.name, one.verbs) for one in Reporter._listed(reporter)] == [("north", ()), ("bar", ("count",))]


def test_a_second_start_does_not_undo_the_trial_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "club.yaml"
    config.write_text(VENUE)
    (tmp_path / "state").mkdir()
    staging = Staging(config)
    staging.stage(f"{VENUE}# on trial\n")
    staging.swap_in("o-1")
    with lock_state_dir(tmp_path / "state"):
        assert app.run(config) == app.EXIT_REFUSED
    assert "another venue-gateway" in capsys.readouterr().err
    assert config.read_text().endswith("# on trial\n")
    mark = staging.marked()
    assert mark is not None
    assert mark.stage == "trying"
