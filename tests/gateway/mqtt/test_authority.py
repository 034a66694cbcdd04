from __future__ import annotations

import datetime as dt
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.mqtt import authority
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


@pytest.mark.parametrize("other", ["broker.key of another place", "no key", ""])
def test_a_key_that_does_not_fit_is_noticed_and_the_pair_made_anew(tmp_path: Path, other: str) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        ensure_certificates(tmp_path / name, "club", NAMES, NOW)
    key = tmp_path / "here/broker.key"
    key.write_bytes((tmp_path / "there/broker.key").read_bytes() if "another" in other else other.encode())
    made = ensure_certificates(tmp_path / "here", "club", NAMES, NOW)
    assert made.changed
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.broker, made.broker_key)
    assert not ensure_certificates(tmp_path / "here", "club", NAMES, NOW).changed


@pytest.mark.parametrize("written", range(4))
def test_a_power_cut_between_two_files_is_mended_by_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Authority's key, its certificate, broker's key, its certificate: the power goes after each of them."""
    left, write = written, authority._write

    def until_the_cut(file: Path, content: bytes, mode: int, *, keep: bool = False) -> None:
        nonlocal left
        if not left:
            raise OSError("the power is gone")
        left -= 1
        write(file, content, mode, keep=keep)

    monkeypatch.setattr(authority, "_write", until_the_cut)
    with pytest.raises(OSError, match="power"):
        ensure_certificates(tmp_path, "club", NAMES, NOW)
    monkeypatch.setattr(authority, "_write", write)
    made = ensure_certificates(tmp_path, "club", NAMES, NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.broker, made.broker_key)
    assert not ensure_certificates(tmp_path, "club", NAMES, NOW).changed


@pytest.mark.parametrize("lost", [["ca.key"], ["ca.crt"], ["ca.crt", "ca.key"]], ids="+".join)
def test_a_lost_authority_is_told_and_never_made_anew_by_itself(tmp_path: Path, lost: list[str]) -> None:
    ensure_certificates(tmp_path, "club", NAMES, NOW)
    for name in lost:
        (tmp_path / name).rename(tmp_path / f"{name}.copy")
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"is gone, .* put ca\.crt and ca\.key back .* Without a copy move"):
        ensure_certificates(tmp_path, "club", ["10.0.0.1"], NOW)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    for name in lost:
        (tmp_path / f"{name}.copy").rename(tmp_path / name)
    assert ensure_certificates(tmp_path, "club", ["10.0.0.1"], NOW).changed


def test_without_its_key_the_authority_serves_as_long_as_nothing_is_to_be_signed(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, "club", NAMES, NOW)
    (tmp_path / "ca.key").unlink()
    assert not ensure_certificates(tmp_path, "club", NAMES, NOW).changed


def test_what_the_message_of_a_lost_authority_says_begins_anew(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, "club", NAMES, NOW).fingerprint
    for left in [*tmp_path.glob("ca.*"), *tmp_path.glob("broker.*")]:
        left.unlink()
    assert ensure_certificates(tmp_path, "club", NAMES, NOW).fingerprint != first


def test_the_key_of_another_authority_signs_nothing(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        ensure_certificates(tmp_path / name, "club", NAMES, NOW)
    (tmp_path / "here/ca.key").write_bytes((tmp_path / "there/ca.key").read_bytes())
    with pytest.raises(ValueError, match="restore the two from one backup"):
        ensure_certificates(tmp_path / "here", "club", ["10.0.0.1"], NOW)


def trusted(authority_folder: Path, host: str, chain: Path, key: Path) -> str:
    """What a TLS client of Python says that trusts the authority and asks for `host`; empty where all is well."""
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cafile=str(authority_folder / "ca.crt")),
    )
    server.load_cert_chain(chain, key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=host)
    theirs = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


@pytest.mark.parametrize(
    "name", ["192.168.7.9", "10.1.2.3", "fd00::5", "till.local", "gate.way.local", "club.example", "203.0.113.7"]
)
def test_the_venues_own_names_and_those_it_was_made_for_are_believed(tmp_path: Path, name: str) -> None:
    now = dt.datetime.now(dt.UTC)
    ensure_certificates(tmp_path, "club", NAMES, now, ["club.example", "203.0.113.7"])
    made = ensure_certificates(tmp_path, "club", [name], now)
    assert trusted(tmp_path, name, made.broker, made.broker_key) == ""


@pytest.mark.parametrize("name", ["bank.example", "notlocal", "8.8.8.8", "2001:db8::1", "local.example"])
def test_a_stolen_authority_signs_for_nobody_elses_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    now = dt.datetime.now(dt.UTC)
    before = ensure_certificates(tmp_path, "club", NAMES, now).broker.read_bytes()
    with pytest.raises(ValueError, match=f"may not sign for {name}"):
        ensure_certificates(tmp_path, "club", [name], now)
    assert (tmp_path / "broker.crt").read_bytes() == before
    # The thief does not ask.
    monkeypatch.setattr(authority, "_refuse_foreign", lambda *_: None)
    forged = ensure_certificates(tmp_path, "club", [name], now)
    assert "permitted subtree violation" in trusted(tmp_path, name, forged.broker, forged.broker_key)
