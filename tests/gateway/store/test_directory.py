from __future__ import annotations

import json
import sqlite3
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.access import Credential, Entitlement
from gateway.domain.schedules import Schedule, Window
from gateway.domain.tickets import IssuerKey
from gateway.domain.wallet import Opening
from gateway.store.credentials import CredentialKey
from gateway.store.directory import CREDENTIAL_KINDS, CREDENTIAL_STATES, Counts, Directory
from gateway.store.errors import StorageUnavailable
from gateway.store.importing import ImportReport, import_directory
from tests.gateway.store.synthetic import directory_rows, tag_number, write_directory

BERLIN = ZoneInfo("Europe/Berlin")
SMALL = """
{"type":"credential","technology":"em4100","value":"100086f444","holder":"guest-1","valid_until":"2026-12-31T23:59:59Z"}
{"type":"credential","technology":"barcode","value":"TICKET-7","holder":"guest-2","state":"blocked"}
{"type":"schedule","id":"evening","weekly":[{"days":["fri","sat"],"from":"18:00","to":"02:00"}]}
{"type":"zone","id":"vip","within":"hall"}
{"type":"entitlement","id":"second","holder":"guest-1","zones":["vip"],"schedule":"evening","uses":1}
{"type":"entitlement","id":"first","holder":"guest-1","zones":["hall","vip"],"valid_from":"2026-01-01T00:00:00+01:00",\
"valid_until":"2027-01-01T00:00:00.5+01:00","reentry":true}
"""


def _import(folder: Path, text: str) -> ImportReport:
    source = folder / "rows.ndjson"
    source.write_text(text, encoding="utf-8")
    key = CredentialKey.load_or_create(folder)
    return import_directory(
        source, folder, key, known_zones={"hall"}, progress=lambda rows, size: None, timezone=BERLIN
    )


@pytest.fixture
def key(tmp_path: Path) -> CredentialKey:
    return CredentialKey.load_or_create(tmp_path)


def test_what_was_imported_is_found_by_key(tmp_path: Path, key: CredentialKey) -> None:
    _import(tmp_path, SMALL)
    directory = Directory.open(tmp_path)
    tag, code = key.ref("em4100", "100086F444"), key.ref("barcode", "TICKET-7")
    assert directory.credential(tag) == Credential(tag, "guest-1", "active", 1_798_761_599_000)
    assert directory.credential(code) == Credential(code, "guest-2", "blocked", None)
    assert directory.entitlements("guest-1") == (
        Entitlement("second", "guest-1", ("vip",), schedule="evening", uses_total=1),
        Entitlement("first", "guest-1", ("hall", "vip"), 1_767_222_000_000, 1_798_758_000_500, reentry=True),
    )
    assert directory.entitlements("guest-2") == ()
    evening = (Window(4, time(18), time(2)), Window(5, time(18), time(2)))
    assert directory.schedules == {"evening": Schedule("evening", evening)}
    assert directory.zones == {"vip": "hall"}
    assert directory.counts == Counts(2, 2, 1, 1)
    assert directory.loaded
    assert directory.made_with == key.fingerprint
    directory.close()


def test_states_kinds_uses_a_day_and_issuer_keys_come_back(tmp_path: Path, key: CredentialKey) -> None:
    rows = [
        {"type": "credential", "technology": "barcode", "value": f"{state}-{kind}", "holder": "g", "state": state}
        | ({"kind": kind} if kind else {})
        for state in CREDENTIAL_STATES
        for kind in CREDENTIAL_KINDS
    ]
    until = "2026-01-01T00:00:00Z"
    public = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI"
    rows += [
        {"type": "entitlement", "id": "pass", "holder": "g", "zones": ["hall"], "uses": 9, "uses_per_day": 2},
        {
            "type": "issuer_key",
            "id": "a",
            "issuer": "shop",
            "public_key": public,
            "valid_until": until,
        },
    ]
    _import(tmp_path, "\n".join(json.dumps(row) for row in rows))
    directory = Directory.open(tmp_path)
    for state in CREDENTIAL_STATES:
        for kind in CREDENTIAL_KINDS:
            ref = key.ref("barcode", f"{state}-{kind}")
            assert directory.credential(ref) == Credential(ref, "g", state, kind=kind)
    assert directory.entitlements("g") == (Entitlement("pass", "g", ("hall",), uses_total=9, uses_per_day=2),)
    assert directory.issuer_keys == (IssuerKey("a", "shop", public, valid_until_ms=1_767_225_600_000),)
    assert directory.counts.issuer_keys == 1
    assert directory.issuer_keys is directory.issuer_keys
    directory.close()


def test_unknown_references_and_holders_find_nothing(tmp_path: Path, key: CredentialKey) -> None:
    _import(tmp_path, SMALL)
    directory = Directory.open(tmp_path)
    assert directory.credential(key.ref("em4100", "0000000000")) is None
    assert directory.entitlements("nobody") == ()
    directory.close()


def test_a_wallet_is_found_by_its_holder_to_the_cent(tmp_path: Path) -> None:
    rows = (
        '{"type":"credential","technology":"em4100","value":"100086F444","holder":"guest-1"}\n'
        '{"type":"wallet","holder":"guest-1","balance_minor":2000,"currency":"EUR"}\n'
        '{"type":"wallet","holder":"guest-2","balance_minor":-5,"currency":"CHF","counted_minor":-300}\n'
    )
    report = _import(tmp_path, rows)
    directory = Directory.open(tmp_path)
    assert report.wallets == directory.counts.wallets == 2
    assert directory.wallet("guest-1") == Opening(2000, "EUR", 0)
    assert directory.wallet("guest-2") == Opening(-5, "CHF", -300)
    assert directory.wallet("guest-3") is None
    made_ms = (tmp_path / "directory.db").stat().st_mtime_ns // 1_000_000
    assert directory.as_of_ms == made_ms
    directory.close()
    assert directory.wallet("guest-1") is None


def test_without_a_file_the_directory_is_empty_and_not_loaded(tmp_path: Path, key: CredentialKey) -> None:
    directory = Directory.open(tmp_path)
    assert not directory.loaded
    assert directory.as_of_ms == 0
    assert directory.wallet("guest-1") is None
    assert directory.version == ""
    assert directory.counts == Counts()
    assert directory.credential(key.ref("barcode", "1")) is None
    assert directory.entitlements("guest-1") == ()
    assert not directory.changed_on_disk()


def test_a_new_file_is_noticed_and_taken_into_use(tmp_path: Path, key: CredentialKey) -> None:
    directory = Directory.open(tmp_path)
    first = _import(tmp_path, SMALL)
    assert directory.changed_on_disk()
    directory.reload()
    assert not directory.changed_on_disk()
    assert directory.version == first.version
    second = _import(tmp_path, '{"type":"credential","technology":"barcode","value":"1","holder":"guest-9"}\n')
    # Until it is told to, it reads the file it has, although that has lost its name.
    assert directory.entitlements("guest-1")
    assert directory.version == first.version
    assert directory.changed_on_disk()
    directory.reload()
    assert directory.version == second.version != first.version
    assert directory.entitlements("guest-1") == ()
    assert directory.credential(key.ref("barcode", "1")) is not None
    (tmp_path / "directory.db").unlink()
    assert directory.changed_on_disk()
    directory.reload()
    assert not directory.loaded


def test_the_same_rows_are_the_same_version(tmp_path: Path) -> None:
    assert _import(tmp_path, SMALL).version == _import(tmp_path, SMALL).version


def test_a_damaged_file_is_refused_once_and_the_old_one_stays_in_use(tmp_path: Path) -> None:
    _import(tmp_path, SMALL)
    directory = Directory.open(tmp_path)
    broken = tmp_path / "broken"
    broken.write_bytes(b"this was a directory once " * 500)
    broken.rename(tmp_path / "directory.db")
    with pytest.raises(StorageUnavailable, match="import the directory again") as caught:
        directory.reload()
    assert not caught.value.fatal
    assert not directory.changed_on_disk()
    assert directory.entitlements("guest-1")
    directory.close()
    with pytest.raises(StorageUnavailable, match="import the directory again"):
        Directory.open(tmp_path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    _import(tmp_path, SMALL)
    connection = sqlite3.connect(tmp_path / "directory.db")
    connection.execute("UPDATE meta SET value = '999' WHERE key = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(StorageUnavailable, match="another version"):
        Directory.open(tmp_path)


def test_every_one_of_many_guests_is_found(tmp_path: Path, key: CredentialKey) -> None:
    source = tmp_path / "many.ndjson"
    rows = write_directory(source, 5000, seed=1)
    seen: list[tuple[int, int]] = []
    report = import_directory(
        source, tmp_path, key, known_zones=(), progress=lambda done, size: seen.append((done, size)), timezone=BERLIN
    )
    assert report.rows == rows
    assert seen == sorted(seen)
    assert seen[-1] == (rows, source.stat().st_size)
    directory = Directory.open(tmp_path)
    expected: dict[str, list[str]] = {}
    for row in directory_rows(5000, seed=1):
        if row["type"] == "entitlement":
            expected.setdefault(str(row["holder"]), []).append(str(row["id"]))
    for guest in range(5000):
        credential = directory.credential(key.ref("em4100", tag_number(guest)))
        assert credential is not None
        assert credential.holder == f"guest-{guest}"
        assert [one.id for one in directory.entitlements(credential.holder)] == expected[credential.holder]
    assert directory.counts == Counts(5000, sum(map(len, expected.values())), 2, 3)
    directory.close()


def test_i12_no_card_number_is_in_any_file(tmp_path: Path, key: CredentialKey) -> None:
    _import(tmp_path, SMALL)
    (tmp_path / "rows.ndjson").unlink()
    for file in tmp_path.iterdir():
        content = file.read_bytes().lower()
        assert b"100086f444" not in content
        assert b"ticket-7" not in content
