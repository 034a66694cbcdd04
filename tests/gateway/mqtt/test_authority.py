from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest

from gateway.mqtt.authority import ensure_certificates

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
NAMES = ["192.168.1.5", "gateway.local"]


def test_openssl_follows_the_chain_for_each_name(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, "club", NAMES, NOW)
    for option, name in (("-verify_ip", NAMES[0]), ("-verify_hostname", NAMES[1])):
        command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), option, name]
        outcome = subprocess.run(
            [*command, "-purpose", "sslserver", "-CAfile", str(made.authority), str(made.broker)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr


def test_what_fits_is_kept(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, "club", NAMES, NOW)
    assert first.changed
    before = first.broker.read_bytes(), first.broker_key.read_bytes(), first.authority.read_bytes()
    again = ensure_certificates(tmp_path, "club", NAMES, NOW + dt.timedelta(days=300))
    assert not again.changed
    assert (again.broker.read_bytes(), again.broker_key.read_bytes(), again.authority.read_bytes()) == before


@pytest.mark.parametrize(("days", "names"), [(800, NAMES), (2000, NAMES), (0, ["10.0.0.1"])])
def test_the_broker_is_renewed_and_the_authority_stays(tmp_path: Path, days: int, names: list[str]) -> None:
    first = ensure_certificates(tmp_path, "club", NAMES, NOW)
    fingerprint, broker = first.fingerprint, first.broker.read_bytes()
    again = ensure_certificates(tmp_path, "club", names, NOW + dt.timedelta(days=days))
    assert again.changed
    assert again.broker.read_bytes() != broker
    assert again.names == names
    assert again.fingerprint == fingerprint


def test_what_is_no_certificate_is_said(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, "club", NAMES, NOW)
    made.authority.write_text("no certificate")
    with pytest.raises(ValueError, match=r"(?i)pem|certificate"):
        ensure_certificates(tmp_path, "club", NAMES, NOW)
