"""The bundle helps whoever looks into it, and tells nothing of a secret, a card or a guest."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import cli
from gateway.config.schema import Configuration
from gateway.domain import events as e
from gateway.domain.event import RequestRef
from gateway.domain.reasons import Reason
from gateway.ops.redaction import Redactor
from tests.gateway.ops.house import CARD, HOLDER, YAML, configuration, entered, import_guests, record

PASSWORD = "tablet-Geheimnis-42"
TRACE = "0197d0c8-5f3e-7abc-8def-0123456789ab"


@pytest.fixture
def venue(tmp_path: Path) -> Configuration:
    config = configuration(
        tmp_path, YAML + "# the password was hunter2-of-old\nclients: {bar: {may: {wallet: [charge]}}}\n"
    )
    key = import_guests(config, HOLDER)
    (config.state_dir / "clients").mkdir()
    (config.state_dir / "clients/bar.password").write_text(PASSWORD + "\n")
    ref = key.ref("em4100", CARD)
    request = RequestRef(client="bar", id=f"for-{HOLDER}", fingerprint="f" * 16)
    record(
        config,
        entered(HOLDER, ref, override_by="bar", override_reason=f"{HOLDER} lost the ticket", request=request),
        e.EntryDenied(entry="e9", gate="north", reason=Reason.BLOCKED, source="r", holder=HOLDER, credential=ref),
        e.DrawerOpening(opening="o", drawer="till", client="bar", reason=f"change for {HOLDER}"),
    )
    return config


def unpacked(file: Path) -> dict[str, str]:
    with tarfile.open(file) as tar:
        return {one.name.rpartition("/")[2]: tar.extractfile(one).read().decode() for one in tar}


def bundle(tmp_path: Path, *more: str) -> dict[str, str]:
    file = tmp_path / "bundle.tar.gz"
    assert cli.main(["diagnostics", str(file), "--config", str(tmp_path / "venue.yaml"), *more]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    return unpacked(file)


def test_i12_no_secret_of_a_venue_is_in_the_bundle(venue: Configuration, tmp_path: Path) -> None:
    secret = (venue.state_dir / "credential.key").read_bytes()
    spilt = [PASSWORD, secret.hex(), base64.b64encode(secret).decode(), CARD, CARD.lower(), str(int(CARD, 16))]
    log = tmp_path / "gateway.log"
    lines = [json.dumps({"event": "oops", "what": word, "entry": TRACE}) for word in spilt]
    log.write_text("\n".join([*lines, "mqtts://bar:hunter2@broker:8883", "token=abc.def-1", "v4.public.AAAA-b_c.Zm9v"]))
    parts = bundle(tmp_path, "--log", str(log))
    text = "\n".join(parts.values())
    for word in (*spilt, HOLDER, "hunter2", "abc.def-1", "AAAA-b_c"):
        assert word not in text, word
    assert parts["log.txt"].count(TRACE) == len(spilt)


def test_the_bundle_tells_what_support_asks_for(venue: Configuration, tmp_path: Path) -> None:
    parts = bundle(tmp_path)
    assert json.loads(parts["versions.json"])["venue-gateway"]
    assert {one["check"] for one in json.loads(parts["doctor.json"])["findings"]} >= {"clock", "broker", "journal"}
    assert "timezone: Europe/Berlin" in parts["configuration.yaml"]
    assert "journal.db" in parts["files.txt"]
    rows = [json.loads(line) for line in parts["journal.ndjson"].splitlines()]
    assert [row["kind"] for row in rows] == ["entry.granted", "entry.denied", "drawer.opening"]
    assert rows[1]["reason"] == "blocked"
    assert "reason" not in rows[2]


def test_a_wrong_configuration_is_what_the_bundle_is_for(tmp_path: Path) -> None:
    (tmp_path / "venue.yaml").write_text(YAML + "bracket: [\n")
    parts = bundle(tmp_path)
    assert "venue.yaml" in parts["problems.txt"]
    (tmp_path / "venue.yaml").write_text(YAML + "password: hunter2\n")
    parts = bundle(tmp_path)
    assert "hunter2" not in "\n".join(parts.values())
    assert "password: [redacted]" in parts["configuration.yaml"]


@pytest.mark.parametrize("wrong", ["nonsense: 1\n", "gates: {north: {to: nowhere}}\n"])
def test_i12_a_wrong_configuration_still_names_the_secrets(venue: Configuration, tmp_path: Path, wrong: str) -> None:
    token, made = "hunter2-and-more", "Zk3pQ9xLw2Vn7RtY5bHs8dFg"
    (tmp_path / "upstream.token").write_text(token + "\n")
    config = tmp_path / "venue.yaml"
    config.write_text(
        config.read_text() + "upstream: {url: 'https://up.example', token_file: upstream.token}\n" + wrong
    )
    secret = (venue.state_dir / "credential.key").read_bytes()
    log = tmp_path / "gateway.log"
    log.write_text("\n".join([PASSWORD, secret.hex(), token, f"of a client nobody knows: {made}", TRACE, "gate-north"]))
    parts = bundle(tmp_path, "--log", str(log))
    assert parts["problems.txt"]
    text = "\n".join(parts.values())
    for word in (PASSWORD, secret.hex(), token, made):
        assert word not in text, word
    assert TRACE in parts["log.txt"]
    assert "gate-north" in parts["log.txt"]


def test_i12_a_log_beside_a_file_that_is_no_yaml_is_left_out(venue: Configuration, tmp_path: Path) -> None:
    (tmp_path / "venue.yaml").write_text("bracket: [\n")
    log = tmp_path / "gateway.log"
    log.write_text(PASSWORD)
    parts = bundle(tmp_path, "--log", str(log))
    assert "log.txt" not in parts
    assert "A log is left out" in parts["configuration.yaml"]
    assert PASSWORD not in "\n".join(parts.values())


def test_a_log_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration(tmp_path)
    command = ["diagnostics", str(tmp_path / "b"), "--log", str(tmp_path / "no.log")]
    assert cli.main([*command, "--config", str(tmp_path / "venue.yaml")]) == 1
    assert "no.log: No such file" in capsys.readouterr().err


@given(secret=st.binary(min_size=16, max_size=40), before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_known_secret_never_comes_through(secret: bytes, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for form in (secret.hex(), secret.hex().upper(), base64.b64encode(secret).decode()):
        assert form not in redactor.text(before + form + after)
    assert redactor.text(redactor.text(before)) == redactor.text(before)
