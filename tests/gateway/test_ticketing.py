"""`venue-gateway tickets`: what it signs, gates take; what no gate would take, it does not sign."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gateway import cli
from gateway.domain.access import Entitlement
from gateway.domain.tickets import IssuerKey, Keyring, NotAuthentic, read_secret_key

NOW_MS = 1_780_000_000_000
CLAIMS = {"jti": "4711", "exp": "2026-07-04T06:00:00+02:00", "zones": ["hall"], "items": {"drink": 2}}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "shop.key"


def keygen(key: Path, issuer: str = "tickets-online") -> int:
    return cli.main(["tickets", "keygen", str(key), "--id", "2026-a", "--issuer", issuer])


def sign(key: Path, *claims: object) -> int:
    file = key.with_suffix(".ndjson")
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in claims))
    return cli.main(["tickets", "sign", str(key), str(file)])


def test_a_gate_takes_what_was_signed(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keygen(key) == 0
    row = json.loads(capsys.readouterr().out)
    assert row.pop("type") == "issuer_key"
    ring = Keyring([msgspec.convert(row, IssuerKey)])
    assert sign(key, CLAIMS, "", {**CLAIMS, "jti": "4712", "iss": "tickets-online"}) == 0
    first, second = capsys.readouterr().out.splitlines()
    ticket = ring.open(first, NOW_MS)
    name = "tickets-online:4711"
    assert (ticket.entitlement.id, ticket.entitlement.zones, ticket.entitlement.uses_total) == (name, ("hall",), 1)
    until_ms = ticket.entitlement.valid_until_ms
    drink = Entitlement(f"drink@{name}", name, (), valid_until_ms=until_ms, uses_total=2, item="drink")
    assert ticket.vouchers == (drink,)
    assert ring.open(second, NOW_MS).entitlement.id == "tickets-online:4712"


def test_the_key_is_nobody_elses_and_is_told_to_nobody(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keygen(key) == 0
    secret = json.loads(key.read_text())["secret_key"]
    assert key.stat().st_mode & 0o777 == 0o600
    assert secret not in capsys.readouterr().out
    assert keygen(key) == 1
    assert "is there already" in capsys.readouterr().err
    assert json.loads(key.read_text())["secret_key"] == secret
    key.chmod(0o644)
    assert sign(key, CLAIMS) == 1
    assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        {"jti": "1"},
        {**CLAIMS, "zones": [], "items": {}},
        {**CLAIMS, "items": {"drink": 0}},
        {**CLAIMS, "items": {"Two drinks": 1}},
        {**CLAIMS, "exp": "2026-07-04T06:00:00"},
        {**CLAIMS, "iss": "somebody-else"},
        {**CLAIMS, "note": "x" * 1000},
        "no json",
    ],
)
def test_what_no_gate_would_take_is_not_signed(key: Path, wrong: object, capsys: pytest.CaptureFixture[str]) -> None:
    keygen(key)
    capsys.readouterr()
    assert sign(key, CLAIMS, wrong) == 1
    told = capsys.readouterr()
    assert told.err.startswith("line 2: ")
    assert len(told.out.splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{}", '{"id":"a","issuer":"b","secret_key":"k4.secret.AAAA"}'])
def test_what_is_no_key_file_is_named(key: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    key.write_text(content)
    key.chmod(0o600)
    assert sign(key, CLAIMS) == 1
    assert str(key) in capsys.readouterr().err


def test_a_wrong_issuer_or_folder_is_refused(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keygen(key, issuer="Tickets Online") == 1
    assert not key.exists()
    assert keygen(key.parent / "none" / "key") == 1
    assert cli.main(["tickets", "sign", str(key), "nowhere.ndjson"]) == 1
    assert "nowhere.ndjson" in capsys.readouterr().err


def test_the_public_vector_of_paserk_is_read() -> None:
    """paserk-standard test vectors, k4.secret.json, k4.secret-2: the key of 32 bytes 70…8f and its public half."""
    seed = bytes(range(0x70, 0x90))
    with pytest.raises(ValueError, match="halves"):
        read_secret_key("k4.secret." + "cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8" + "c" * 42 + "A")
    key = read_secret_key(
        "k4.secret.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8c5WpIyC_5kWKhS8VEYSZ05dYfuTF-ZdQFV4D9vLTcNQ"
    )
    assert key.private_bytes_raw() == seed


def test_a_signed_ticket_still_needs_its_key() -> None:
    with pytest.raises(NotAuthentic):
        Keyring(()).open("v4.public.AAAA", NOW_MS)
