"""Sorts more rows than there is memory for: gathered in runs, each sorted and written down, and merged when read back.

A run is kept in blocks. What is read back takes one block of each run, whatever their length; the merge itself is
Python's sort, which finds what is in order already and only has to weave it together.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

RUN_ROWS = 25_000
RUN_BYTES = 16 << 20
BLOCK_ROWS = 500
BLOCK_BYTES = 128 << 10

Row = TypeVar("Row")
Block = tuple[int, int]
"""Where it lies in the file, and how long it is."""


class Runs(Generic[Row]):
    """Rows by their `key`; those with the same key stay in the order in which they came.

    `row` is their type, as msgspec has it. Every method raises OSError when the disk fails.
    """

    def __init__(self, folder: Path, row: Any, key: Callable[[Row], Any] | None) -> None:  # noqa: ANN401 - a type's form
        """Make a file in a folder that nobody else sees and that is gone when this process is."""
        self._file: BinaryIO = TemporaryFile(dir=folder)  # noqa: SIM115 - `close` closes it
        self._key = key
        self._decode: Callable[[bytes], list[Row]] = msgspec.msgpack.Decoder(list[row]).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._open: list[Row] = []
        self._open_bytes = 0
        self._runs: list[list[Block]] = []
        self._end = 0

    def add(self, rows: Sequence[Row], size_bytes: int) -> None:
        """Gather rows, which together are about so large."""
        self._open += rows
        self._open_bytes += size_bytes
        if len(self._open) >= RUN_ROWS or self._open_bytes >= RUN_BYTES:
            self._write()

    def batches(self) -> Iterator[list[Row]]:
        """Yield all rows in order, some hundreds or thousands at a time. It may be asked for again."""
        self._write()
        waiting = [_Waiting(self._load, blocks) for blocks in self._runs]
        while waiting:
            # Whatever comes before the first of the blocks' ends has no more to wait for.
            ends = [(self._key_of(run.rows[-1]), place) for place, run in enumerate(waiting) if run.blocks]
            end = min(ends, default=None)
            batch: list[Row] = []
            for place, run in enumerate(waiting):
                batch += self._taken(run, place, end)
            batch.sort(key=self._key)
            yield batch
            waiting = [run for run in waiting if run.refilled()]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self) -> None:
        """Write what is gathered as a run."""
        if not self._open:
            return
        self._open.sort(key=self._key)
        blocks: list[Block] = []
        for start in range(0, len(self._open), BLOCK_ROWS):
            self._write_block(self._open[start : start + BLOCK_ROWS], blocks)
        self._runs.append(blocks)
        self._open, self._open_bytes = [], 0

    def _write_block(self, rows: list[Row], blocks: list[Block]) -> None:
        content = self._encode(rows)
        if len(content) > BLOCK_BYTES and len(rows) > 1:
            half = len(rows) // 2
            self._write_block(rows[:half], blocks)
            self._write_block(rows[half:], blocks)
            return
        self._file.seek(self._end)
        self._file.write(content)
        blocks.append((self._end, len(content)))
        self._end += len(content)

    def _load(self, block: Block) -> list[Row]:
        start, length = block
        self._file.seek(start)
        return self._decode(self._file.read(length))

    def _taken(self, run: _Waiting[Row], place: int, end: tuple[Any, int] | None) -> list[Row]:
        """Take from a run what comes before `end`: a key, and the place of the run that has it last."""
        if end is None:
            return run.taken(len(run.rows))
        # Of the same key, what an earlier run has comes first.
        bisect = bisect_right if place <= end[1] else bisect_left
        return run.taken(bisect(run.rows, end[0], key=self._key))

    def _key_of(self, row: Row) -> Any:  # noqa: ANN401 - whatever can be compared
        return row if self._key is None else self._key(row)


class _Waiting(Generic[Row]):
    """A run that is being read: the rows that are here, and the blocks that are not, the next one last."""

    def __init__(self, load: Callable[[Block], list[Row]], blocks: list[Block]) -> None:
        self._load = load
        self.blocks = blocks[::-1]
        self.rows: list[Row] = load(self.blocks.pop())

    def taken(self, count: int) -> list[Row]:
        """Give the first rows."""
        rows, self.rows = self.rows[:count], self.rows[count:]
        return rows

    def refilled(self) -> bool:
        """Return whether there is more, which is here then."""
        if not self.rows and self.blocks:
            self.rows = self._load(self.blocks.pop())
        return bool(self.rows)
