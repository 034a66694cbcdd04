from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.errors import StorageUnavailable
from gateway.store.importing import NO_LINE, ImportRefused, ImportReport, import_directory
from tests.gateway.store.synthetic import ZONES, write_directory

BERLIN = ZoneInfo("Europe/Berlin")
GOOD = b'{"type":"credential","technology":"barcode","value":"%d","holder":"guest-%d"}'
CREDENTIAL = '{"type":"credential","technology":"em4100","value":"100086F444","holder":"guest-1"'
WALLET = '{"type":"wallet","holder":"guest-1","balance_minor":2000,"currency":"EUR"'
ENTITLEMENT = '{"type":"entitlement","id":"t","holder":"guest-1","zones":["hall"]'

SCHEDULE = '{"type":"schedule","id":"s","weekly":[%s]}'
PUBLIC_KEY = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI"
ISSUER_KEY = '{"type":"issuer_key","id":"2026-a","issuer":"tickets-online","public_key":"%s"'


def _import(folder: Path, content: bytes, *, allow_empty: bool = False) -> ImportReport:
    source = folder / "rows.ndjson"
    source.write_bytes(content)
    key = CredentialKey.load_or_create(folder)
    return import_directory(
        source,
        folder,
        key,
        known_zones={"hall", "foyer"},
        progress=lambda rows, size: None,
        timezone=BERLIN,
        allow_empty=allow_empty,
    )


def _problems(folder: Path, *lines: str) -> list[tuple[int, str]]:
    with pytest.raises(ImportRefused) as caught:
        _import(folder, "\n".join(lines).encode())
    assert caught.value.count == len(caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Input data was truncated; each line must be one whole JSON object"),
        (CREDENTIAL + "}}", "each line must be one whole JSON object"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "Object missing required field `type`"),
        (
            '{"type":"guest"}',
            "type: Invalid value 'guest', expected credential, entitlement, issuer_key, schedule, wallet or zone",
        ),
        ('{"type":"zone","id":7}', "id: Expected `str`, got `int`"),
        ('{"type":"zone","id":""}', "id: Expected `str` of length >= 1"),
        ('{"type":"04A1B2C3D4","id":"a"}', "type: Invalid value '…', expected credential"),
        ('{"type":"zone","id":"a","04A1B2C3D4":5}', "Object contains unknown field `…`"),
        (CREDENTIAL + ',"state":"04A1B2C3D4"}', "state: Invalid enum value '…'"),
        ('{"type":"zone","id":"a","capacity":5}', "Object contains unknown field `capacity`"),
        ('{"type":"credential","technology":"nfc","value":"1"}', "Object missing required field `holder`"),
        (CREDENTIAL + ',"state":"lost"}', "state: Invalid enum value 'lost'"),
        (CREDENTIAL.replace("100086F444", "100086F44") + "}", "value: an em4100 number has ten hexadecimal digits"),
        (CREDENTIAL.replace("em4100", "EM 4100") + "}", "technology: Expected lower-case letters"),
        (CREDENTIAL + ',"valid_until":"tomorrow"}', "valid_until: Invalid RFC3339 encoded datetime"),
        (
            CREDENTIAL + ',"valid_until":"2026-12-31T23:59:59"}',
            "valid_until: the time zone is missing; if it is meant in Europe/Berlin, write 2026-12-31T23:59:59+01:00",
        ),
        (ENTITLEMENT + ',"uses":0}', "uses: Expected `int` >= 1"),
        (ENTITLEMENT + ',"uses":1.5}', "uses: Expected `int | null`, got `float`"),
        (ENTITLEMENT.replace('["hall"]', "[]") + "}", "zones: Expected `array` of length >= 1"),
        (ENTITLEMENT.replace("hall", "hal") + "}", "unknown zone 'hal'; did you mean 'hall'?"),
        (ENTITLEMENT.replace("hall", "pool") + "}", "unknown zone 'pool'; define it in the configuration or in a row"),
        ('{"type":"zone","id":"vip","within":"pool"}', "unknown zone 'pool'"),
        (ENTITLEMENT + ',"schedule":"evening"}', "unknown schedule 'evening'"),
        (
            ENTITLEMENT + ',"valid_from":"2026-02-01T00:00:00Z","valid_until":"2026-02-01T00:00:00Z"}',
            "valid_until: must be later than valid_from",
        ),
        ('{"type":"schedule","id":"s","weekly":[]}', "weekly: Expected `array` of length >= 1"),
        (
            '{"type":"schedule","id":"s","weekly":[{"days":["fri"],"from":"6 pm","to":"02:00"}]}',
            "weekly[0].from: Expected HH:MM",
        ),
        (
            '{"type":"schedule","id":"s","weekly":[{"days":["Friday"],"from":"18:00","to":"02:00"}]}',
            "weekly[0].days[0]: Invalid enum value 'Friday'",
        ),
        (WALLET.replace("2000", "20.5") + "}", "balance_minor: Expected `int`, got `float`"),
        (WALLET.replace("EUR", "euro") + "}", "currency: Expected three capital letters, such as EUR"),
        (WALLET.replace("2000", "1e30") + "}", "balance_minor: Expected `int`"),
        (WALLET.replace("2000", str(10**16)) + "}", "balance_minor: Expected `int` <= "),
        (
            SCHEDULE % '{"days":["fri"],"from":"18:00","to":"18:00"}',
            "weekly[0].to: it ends when it begins; for a whole day write 00:00 to 24:00",
        ),
        (SCHEDULE % '{"days":["fri"],"from":"24:00","to":"02:00"}', "weekly[0].from: a day begins at 00:00"),
        (SCHEDULE % '{"days":["fri","fri"],"from":"18:00","to":"02:00"}', "weekly[0].days: fri is named twice"),
        (
            SCHEDULE
            % '{"days":["fri","sat"],"from":"18:00","to":"02:00"},{"days":["sat"],"from":"01:00","to":"04:00"}',
            "weekly: fri 18:00 to 02:00 and sat 01:00 to 04:00 overlap",
        ),
        (
            SCHEDULE % '{"days":["sun"],"from":"22:00","to":"03:00"},{"days":["mon"],"from":"02:00","to":"04:00"}',
            "weekly: sun 22:00 to 03:00 and mon 02:00 to 04:00 overlap",
        ),
        (ENTITLEMENT + ',"uses_per_day":0}', "uses_per_day: Expected `int` >= 1"),
        (ENTITLEMENT + ',"uses":2,"uses_per_day":3}', "uses_per_day: 3 a day can never be used of 2 in all"),
        (ENTITLEMENT + ',"uses":3,"reentry":true}', "uses: with `reentry` no second one of 3 is ever taken"),
        (CREDENTIAL + ',"kind":"tattoo"}', "kind: Invalid enum value 'tattoo'"),
        (ISSUER_KEY % "k4.public.AAAA" + "}", "public_key: expected 32 bytes in base64url"),
        (ISSUER_KEY % "AAAA" + "}", "public_key: expected a PASERK key, k4.public."),
        (ISSUER_KEY % PUBLIC_KEY + ',"state":"old"}', "state: Invalid enum value 'old'"),
        (
            ISSUER_KEY % PUBLIC_KEY + ',"valid_from":"2026-02-01T00:00:00Z","valid_until":"2026-01-01T00:00:00Z"}',
            "valid_until: must be later than valid_from",
        ),
        ('{"type":"zone","id":"' + "x" * 70_000 + '"}', "the line is longer than 65536 bytes"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_what_is_wrong(tmp_path: Path, line: str, message: str) -> None:
    good = (GOOD % (1, 1)).decode()
    (problem,) = _problems(tmp_path, good, "", line, good.replace('"1"', '"2"'))[:1]
    assert problem[0] == 3
    assert message in problem[1]


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused) as caught:
        _import(tmp_path, b'{"type":"zone","id":"\xff\xfe"}')
    assert caught.value.problems[0][0] == 1
    assert "UTF-8" in caught.value.problems[0][1] or "utf-8" in caught.value.problems[0][1]


def test_repeated_rows_are_named_with_the_line_they_repeat(tmp_path: Path) -> None:
    zone = '{"type":"zone","id":"vip"}'
    schedule = '{"type":"schedule","id":"s","weekly":[{"days":["fri"],"from":"18:00","to":"02:00"}]}'
    problems = _problems(tmp_path, zone, schedule, zone, schedule)
    assert problems == [
        (3, "zone 'vip' is defined on an earlier line already"),
        (4, "schedule 's' is defined on an earlier line already"),
    ]
    other = ENTITLEMENT.replace("guest-1", "guest-2")
    assert _problems(tmp_path, ENTITLEMENT + "}", other + "}", other + "}") == [
        (2, "entitlement 't' is on line 1 already"),
        (3, "entitlement 't' is on line 1 already"),
    ]


def test_a_guest_has_one_wallet(tmp_path: Path) -> None:
    other = WALLET.replace("2000", "1")
    assert _problems(tmp_path, WALLET + "}", other + "}", CREDENTIAL + "}") == [(2, "this wallet is on line 1 already")]


def test_a_key_has_one_id_and_one_state(tmp_path: Path) -> None:
    key = ISSUER_KEY % PUBLIC_KEY
    assert _problems(tmp_path, key + "}", key + ',"state":"revoked"}') == [
        (2, "issuer key '2026-a' is defined on an earlier line already")
    ]
    again = key.replace("2026-a", "2026-b") + ',"state":"revoked"}'
    assert _problems(tmp_path, key + "}", again) == [
        (2, "public_key: '2026-a' is the same key; a key has one id, one issuer and one state")
    ]


def test_i12_a_repeated_card_is_named_by_line_and_never_by_number(tmp_path: Path) -> None:
    problems = _problems(tmp_path, CREDENTIAL + "}", CREDENTIAL.replace("F444", "f444") + "}")
    assert problems == [(2, "this credential is on line 1 already")]


def test_all_problems_are_counted_and_the_first_twenty_listed(tmp_path: Path) -> None:
    lines = [GOOD % (number, number) if number % 10 else b"{" for number in range(3000)]
    with pytest.raises(ImportRefused, match="300 rows cannot be taken") as caught:
        _import(tmp_path, b"\n".join(lines))
    assert caught.value.count == 300
    assert [line for line, _ in caught.value.problems] == list(range(1, 201, 10))


def test_a_refused_import_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    _import(tmp_path, GOOD % (1, 1))
    before = (tmp_path / "directory.db").read_bytes()
    _problems(tmp_path, ENTITLEMENT + "}", ENTITLEMENT + "}")
    _problems(tmp_path, CREDENTIAL + "}", CREDENTIAL + "}")
    _problems(tmp_path, "nonsense")
    assert (tmp_path / "directory.db").read_bytes() == before
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == ["credential.key", "directory.db", "directory.lock", "rows.ndjson"]


def test_what_a_killed_import_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "directory.db.new").write_bytes(b"half a directory")
    (tmp_path / "directory.db.staging").write_bytes(b"half a heap")
    assert _import(tmp_path, GOOD % (1, 1)).credentials == 1
    assert not (tmp_path / "directory.db.new").exists()


def test_a_second_import_at_the_same_time_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "many.ndjson"
    write_directory(source, 2000)
    key = CredentialKey.load_or_create(tmp_path)
    refused: list[ImportRefused] = []

    def meanwhile(rows: int, size: int) -> None:
        if not refused:
            with pytest.raises(ImportRefused, match="nothing was imported") as caught:
                _import(tmp_path, GOOD % (1, 1))
            refused.append(caught.value)

    import_directory(source, tmp_path, key, known_zones=ZONES, progress=meanwhile, timezone=BERLIN)
    assert refused[0].problems == [(NO_LINE, "another import is running; wait for it to end")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"type":"zone","id":"vip"}\n', f"{ENTITLEMENT}}}\n".encode()])
def test_a_file_without_a_credential_would_lock_everybody_out_and_must_be_meant(tmp_path: Path, content: bytes) -> None:
    _import(tmp_path, GOOD % (1, 1))
    before = (tmp_path / "directory.db").read_bytes()
    with pytest.raises(ImportRefused, match="nothing was imported; the directory in use stays as it is") as refused:
        _import(tmp_path, content)
    ((line, message),) = refused.value.problems
    assert (line, "add --empty" in message) == (NO_LINE, True)
    assert (tmp_path / "directory.db").read_bytes() == before
    assert _import(tmp_path, content, allow_empty=True).credentials == 0
    directory = Directory.open(tmp_path)
    assert directory.loaded
    assert directory.counts.credentials == 0
    directory.close()


def test_windows_line_ends_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    assert _import(tmp_path, b"\xef\xbb\xbf" + GOOD % (1, 1) + b"\r\n\r\n" + GOOD % (2, 2) + b"\r\n").credentials == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    key = CredentialKey.load_or_create(tmp_path)
    with pytest.raises(StorageUnavailable, match=r"none\.ndjson"):
        import_directory(
            tmp_path / "none.ndjson", tmp_path, key, known_zones=(), progress=lambda rows, size: None, timezone=BERLIN
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.binary(max_size=300))
def test_no_bytes_do_more_than_refuse_the_import(tmp_path: Path, content: bytes) -> None:
    first_bad_line, rows = _outcome(tmp_path, content)
    assert rows == 0
    assert bool(first_bad_line) == bool(content.removeprefix(b"\xef\xbb\xbf").strip())


def _outcome(folder: Path, content: bytes) -> tuple[int, int]:
    """Return the first line that was refused, or 0, and the rows that were taken."""
    try:
        return 0, _import(folder, content).rows
    except ImportRefused as refused:
        return refused.problems[0][0], 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["technology", "value", "holder", "state", "valid_until", "id", "zones", "uses", "weekly", "within", "schedule"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    kind=st.sampled_from(["credential", "entitlement", "schedule", "zone"]),
    fields=st.dictionaries(FIELDS, JSON, max_size=6),
)
def test_rows_of_any_shape_are_taken_or_refused_by_line(tmp_path: Path, kind: str, fields: dict[str, object]) -> None:
    assert _outcome(tmp_path, json.dumps({"type": kind, **fields}).encode()) in ((1, 0), (0, 1))
