"""Events that SQLite composes are those that Python would write."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store.journal import Journal
from gateway.store.reading import Reader
from gateway.store.rows import Row, StoredRow
from tests.gateway.store.journals import append

SOURCE = "/venues/stadthalle/journals/00000000-0000-0000-0000-000000000001"
BODIES = st.one_of(
    st.text(max_size=40).map(lambda text: msgspec.json.encode({"kind": "entry.denied", "why": text})),
    st.text(max_size=40).map(lambda text: json.dumps({"why": text, "kind": "gate.fault"}).encode()),
)
ROWS = st.lists(st.tuples(st.uuids(), st.integers(0, 4_102_444_800_000), BODIES), min_size=1, max_size=12).map(
    lambda rows: sorted(rows, key=lambda row: row[1])
)


def expected(row: StoredRow) -> bytes:
    time = datetime.fromtimestamp(row.at_ms // 1000, UTC)
    head = {
        "specversion": "1.0",
        "id": str(UUID(bytes=row.id)),
        "source": SOURCE,
        "type": f"venue.{json.loads(row.body)['kind']}",
        "time": f"{time:%Y-%m-%dT%H:%M:%S}.{row.at_ms % 1000:03}Z",
        "datacontenttype": "application/json",
        "sequence": f"{row.seq:016}",
        "hash": row.hash.hex(),
    }
    return msgspec.json.encode(head)[:-1] + b',"data":' + row.body + b"}"


@given(ROWS, st.sets(st.integers(1, 12), max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_event_is_the_one_that_was_journalled(tmp_path_factory, rows, aside):
    folder: Path = tmp_path_factory.mktemp("journal")
    journal = Journal.open(folder / "journal.db")
    await append(journal, *(Row(seq, one.bytes, at_ms, body) for seq, (one, at_ms, body) in enumerate(rows, 1)))
    journal.close()
    reader = Reader(folder / "journal.db")
    wanted = [expected(row) for row in reader.all_rows() if row.seq not in aside]
    last = len(rows)
    assert reader.cloud_events(0, 100, SOURCE, aside) == (b",".join(wanted), len(wanted), last)
    assert reader.single_cloud_events(0, 100, SOURCE, tuple(aside)) == (wanted, last)
    assert reader.cloud_events(last, 100, SOURCE, aside) == (b"", 0, 0)
    assert reader.single_cloud_events(last, 100, SOURCE, ()) == ([], 0)
    reader.close()
