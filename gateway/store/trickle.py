"""Lets a large file reach the disk bit by bit while it grows: all of it at its end would hold up the journal."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

WRITE_AND_WAIT = 1 | 2 | 4
"""SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER of sync_file_range(2)."""
WHOLE = 0
_libc = ctypes.CDLL(None, use_errno=True)


class Trickle:
    """One file. What is added during a step is all that ever waits for the disk.

    The disk's own cache and the file system's journal are left alone, for those are what the venue's journal waits for
    at each tap: whoever needs the file to be durable syncs it at the end.
    """

    def __init__(self, path: Path) -> None:
        """Take a file that is there."""
        self._file = path.open("rb")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trickle")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the last step. Raises OSError when that failed."""
        self._thread.shutdown()
        self._file.close()
        self._end_last()

    def step(self) -> None:
        """Begin to write what the file has gained, when the step before is done. Raises OSError when that failed."""
        self._end_last()
        self._under_way = self._thread.submit(write_out, self._file.fileno())

    def _end_last(self) -> None:
        if self._under_way is not None:
            self._under_way.result()


def write_out(descriptor: int) -> None:
    """Have the pages of a file written, and wait for that. Raises OSError."""
    whole = ctypes.c_int64(WHOLE)
    if _libc.sync_file_range(descriptor, whole, whole, WRITE_AND_WAIT):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
