"""Every event that goes up is the one that was journalled."""

import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.cloudevents import cloud_events

SOURCE = "/venues/stadthalle/journals/00000000-0000-0000-0000-000000000001"
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
    )
)


@given(ROWS, st.sets(st.integers(1, 12)))
def test_every_event_is_the_one_that_was_journalled(rows, aside):
    made = cloud_events(
        [(seq, one.hex, at_ms, body, link.hex()) for seq, one, at_ms, body, link in rows], SOURCE, aside
    )
    expected = []
    for seq, one, at_ms, body, link in rows:
        time = datetime.fromtimestamp(at_ms // 1000, UTC)
        head = {
            "specversion": "1.0", "id": str(UUID(bytes=one.bytes)), "source": SOURCE,
            "type": f"venue.{json.loads(body)['kind']}", "time": f"{time:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z",
            "datacontenttype": "application/json", "sequence": f"{seq:016}", "hash": link.hex(),
        }  # fmt: skip
        if seq not in aside:
            expected.append(msgspec.json.encode(head)[:-1] + b',"data":' + body + b"}")
    assert made == expected
