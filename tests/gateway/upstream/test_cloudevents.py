"""Every event that goes up is the one that was journalled."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.database import open_writer
from gateway.store.reading import Reader
from gateway.upstream.cloudevents import cloud_events

SOURCE = "/venues/100%b/journals/00000000-0000-0000-0000-000000000001"
BODIES = st.one_of(
    st.text(max_size=40).map(lambda text: msgspec.json.encode({"kind": "entry.denied", "why": text})),
    st.text(max_size=40).map(lambda text: json.dumps({"why": text, "kind": "gate.fault"}).encode()),
)
ROWS = st.lists(
    st.tuples(
        st.integers(1, 10**15),
        st.uuids(),
        st.integers(0, 4_102_444_800_000),
        BODIES,
        st.binary(min_size=32, max_size=32),
    ),
    unique_by=lambda row: row[0],
)


class Rows:
    """A journal that holds what it is told."""

    def __init__(self, path: Path) -> None:
        with closing(open_writer(path)):
            self._writer = sqlite3.connect(path, isolation_level=None)
        self.reader = Reader(path)

    def hold(self, rows: list[tuple[int, UUID, int, bytes, bytes]]) -> None:
        self._writer.execute("BEGIN")
        self._writer.execute("DELETE FROM journal")
        self._writer.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
            [(seq, one.bytes, at_ms, body, link) for seq, one, at_ms, body, link in rows],
        )
        self._writer.execute("COMMIT")

    def close(self) -> None:
        self.reader.close()
        self._writer.close()


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    with closing(Rows(tmp_path_factory.mktemp("journal") / "journal.db")) as rows:
        yield rows


@given(ROWS, st.sets(st.integers(1, 12)))
def test_every_event_is_the_one_that_was_journalled(journal, rows, aside):
    rows.sort()
    journal.hold(rows)
    joined = journal.reader.joined_rows(0, 1000)
    expected = []
    for seq, one, at_ms, body, link in rows:
        time = datetime.fromtimestamp(at_ms // 1000, UTC)
        head = {
            "specversion": "1.0", "id": str(one), "source": SOURCE,
            "type": f"venue.{json.loads(body)['kind']}", "time": f"{time:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z",
            "datacontenttype": "application/json", "sequence": f"{seq:016}", "hash": link.hex(),
        }  # fmt: skip
        if seq not in aside:
            expected.append(msgspec.json.encode(head)[:-1] + b',"data":' + body + b"}")
    assert cloud_events(joined, SOURCE, aside) == expected
    assert joined.row_count == len(rows)
    if rows:
        assert (joined.first_seq, joined.last_seq, joined.last_id) == (rows[0][0], rows[-1][0], rows[-1][1].bytes)


def test_rows_are_joined_in_order_and_no_more_than_were_asked_for(journal):
    journal.hold([(seq, UUID(int=seq), seq, b'{"kind":"a"}', bytes(32)) for seq in range(1, 31)])
    joined = journal.reader.joined_rows(4, 20)
    assert (joined.first_seq, joined.last_seq, joined.row_count) == (5, 24, 20)
    assert journal.reader.joined_rows(30, 20).row_count == 0
