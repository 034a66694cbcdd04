"""Whatever stands in the file: a configuration or a ConfigurationError, soon."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.loading import ConfigurationError, loads
from gateway.config.problems import MAX_PROBLEMS, Problem
from gateway.config.schema import DriverKind

FILE = "venue.yaml"
SECONDS = 5.0
WORDS = [
    "venue",
    "broker",
    "state_dir",
    "zones",
    "devices",
    "gates",
    "clients",
    "limits",
    "id",
    "timezone",
    "currency",
    "url",
    "driver",
    "port",
    "connect",
    "printer",
    "pin",
    "channels",
    "inputs",
    "relays",
    "idle_closed",
    "within",
    "capacity",
    "from",
    "to",
    "readers",
    "lock",
    "passage",
    "pulse_ms",
    "may",
    "hall",
    "north",
    "north.1",
    "tag-reader",
    "scanner",
    "relay",
    "board",
    "receipts",
    "kick",
    "print",
    "open",
    "UTC",
    "EUR",
    "unix:///x",
    "/dev/a",
    "tcp://x",
    "<<",
    "password",
]

words = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6),
    max_leaves=40,
)
sections = st.dictionaries(st.sampled_from(WORDS[:8]), trees, min_size=1)


def settle(data: bytes, kinds: dict[str, DriverKind]) -> None:
    started = time.perf_counter()
    problems = refused(data, kinds)
    assert time.perf_counter() - started < SECONDS
    assert len(problems) <= MAX_PROBLEMS + 1
    places = [(problem.line, problem.column) for problem in problems]
    assert places == sorted(places)
    assert all(line >= 1 and column >= 1 for line, column in places)
    assert all(str(problem).isprintable() for problem in problems)


def refused(data: bytes, kinds: dict[str, DriverKind]) -> tuple[Problem, ...]:
    try:
        loads(data, FILE, kinds)
    except ConfigurationError as error:
        return error.problems or pytest.fail("refused without a reason")
    return ()


@given(tree=sections | trees)
def test_any_tree(kinds_once, tree):
    settle(json.dumps(tree).encode("utf-8", "replace"), kinds_once)


@given(text=st.text(max_size=300))
def test_any_text(kinds_once, text):
    settle(text.encode("utf-8", "replace"), kinds_once)


@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t\\x0.~<", max_size=120))
def test_text_made_of_yaml(kinds_once, text):
    settle(text.encode(), kinds_once)


@given(data=st.binary(max_size=200))
def test_any_bytes(kinds_once, data):
    settle(data, kinds_once)


@given(at=st.integers(0, 600), put=st.text(max_size=3), drop=st.integers(0, 4))
def test_a_right_file_with_a_slip_of_the_finger(kinds_once, at, put, drop):
    text = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: {url: "mqtts://localhost:8883", username: gw, password_file: pw}
zones: {foyer: &f {capacity: 5}, hall: {<<: *f, within: foyer}}
devices:
  reader: {driver: tag-reader, port: /dev/a, gone_after_ms: 200}
  board: {driver: board, port: /dev/d, idle_closed: [1]}
  paper: {driver: receipts, connect: "tcp://paper:9100"}
  drawer: {driver: kick, printer: paper, pin: 5}
gates: {north: {from: foyer, to: hall, readers: [reader], lock: board.1, passage: board.2}}
clients: {tab: {may: {paper: [print], drawer: [open], gateway: [status]}}}
"""
    settle((text[:at] + put + text[at + drop :]).encode("utf-8", "replace"), kinds_once)


@pytest.mark.parametrize(
    "repeated", ["[", "{", "- ", "a: {", "[a,", "[[],", "{a: b,", "&a [", "a\n", '"a ', "? ", "*a ", "<<: "]
)
def test_endless_files_end_soon(kinds_once, repeated):
    settle((repeated * (250_000 // len(repeated))).encode(), kinds_once)


def test_thousands_of_wrong_names_are_refused_soon(kinds_once):
    devices = "".join(f"  d{n}: {{driver: relay, port: /dev/{n}}}\n" for n in range(1500))
    gates = "".join(f"  g{n}: {{to: nowhere{n}, lock: e{n}.1, readers: [f{n}]}}\n" for n in range(500))
    settle(
        f"venue: {{id: a, timezone: UTC, currency: EUR}}\nbroker: unix:///x\ndevices:\n{devices}gates:\n{gates}".encode(),
        kinds_once,
    )
