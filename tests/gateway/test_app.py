"""What the daemon says when it cannot start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import app, logs
from gateway.housekeeping import EXIT_STORAGE

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
