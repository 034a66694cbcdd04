"""Rows in any number come back in order, those with the same key as they came, in little memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store import runs as under_test
from gateway.store.runs import Runs

Row = tuple[str, int]
KEYS = st.sampled_from("abcdefgh") | st.text(max_size=3)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "RUN_ROWS", 7)
    monkeypatch.setattr(under_test, "BLOCK_ROWS", 3)


def numbered(keys: list[str]) -> list[Row]:
    return list(zip(keys, itertools.count(), strict=False))


def flat(runs: Runs[Row]) -> Iterator[Row]:
    return itertools.chain.from_iterable(runs.batches())


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.lists(KEYS, max_size=10), max_size=12))
def test_all_come_back_in_order_and_equal_keys_as_they_came(tmp_path: Path, parts: list[list[str]]) -> None:
    rows = numbered([key for part in parts for key in part])
    runs: Runs[Row] = Runs(tmp_path, Row, itemgetter(0))
    waiting = iter(rows)
    for part in parts:
        runs.add(list(itertools.islice(waiting, len(part))), 0)
    assert list(flat(runs)) == sorted(rows, key=itemgetter(0))
    # A second look finds the same.
    assert list(flat(runs)) == sorted(rows, key=itemgetter(0))
    runs.close()


@pytest.mark.usefixtures("small")
def test_numbers_need_no_key(tmp_path: Path) -> None:
    runs: Runs[int] = Runs(tmp_path, int, None)
    runs.add([5, -(2**63), 2**63 - 1, 0], 0)
    runs.add([3, 3, -1, 9, 8, 7], 0)
    assert [*itertools.chain(*runs.batches())] == [-(2**63), -1, 0, 3, 3, 5, 7, 8, 9, 2**63 - 1]
    runs.close()


def test_large_rows_make_short_runs_and_short_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "RUN_BYTES", 1000)
    monkeypatch.setattr(under_test, "BLOCK_BYTES", 250)
    runs: Runs[Row] = Runs(tmp_path, Row, itemgetter(0))
    rows = numbered([f"{number % 17:0100}" for number in range(60)])
    for start in range(0, 60, 4):
        runs.add(rows[start : start + 4], 400)
    assert max(map(len, runs.batches())) < 20
    assert list(flat(runs)) == sorted(rows)
    runs.close()


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    runs: Runs[Row] = Runs(tmp_path, Row, itemgetter(0))
    runs.add(numbered(["a"]), 1)
    assert list(flat(runs)) == [("a", 0)]
    assert list(tmp_path.iterdir()) == []
    runs.close()
