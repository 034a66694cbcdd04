"""A file is on its way to the disk while it grows, and what the disk says of it is heard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.store import trickle as under_test
from gateway.store.trickle import Trickle, write_out


def test_each_step_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def seen(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        write_out(descriptor)

    monkeypatch.setattr(under_test, "write_out", seen)
    path = tmp_path / "growing"
    with path.open("wb", buffering=0) as file, Trickle(path) as trickle:
        for _ in range(3):
            file.write(bytes(100_000))
            trickle.step()
    assert len(sizes) == 3
    assert sizes == sorted(sizes)
    assert sizes[-1] == 300_000


def test_a_failure_is_heard_at_the_next_step_or_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(under_test, "write_out", fails)
    path = tmp_path / "growing"
    path.touch()
    with pytest.raises(OSError, match="Input/output"), Trickle(path) as trickle:
        trickle.step()
    trickle = Trickle(path)
    trickle.step()
    with pytest.raises(OSError, match="Input/output"):
        trickle.step()
    with pytest.raises(OSError, match="Input/output"):
        trickle.__exit__()


def test_what_is_no_file_is_refused_in_the_words_of_the_system() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match="Illegal seek"):
            write_out(writing)
    finally:
        os.close(reading)
        os.close(writing)
