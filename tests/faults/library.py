"""Building and steering `disk.c`: a process started in `Faults.environment()` has the disk and the clock told here."""

from __future__ import annotations

import atexit
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

SOURCE = Path(__file__).with_name("disk.c")
FIELDS = ("clock_offset_ms", "sync_delay_ms", "calls", "first", "count", "error", "seen", "failed")
WRITES, SYNCS, TRUNCATIONS = 1, 2, 4
FOREVER = 1 << 40
_HEAD = struct.Struct("<BBHiiIq")


class Record(NamedTuple):
    """One line of a trace; `kind` is a letter of `struct record` in `disk.c`."""

    kind: str
    created: bool
    pid: int
    fd: int
    offset: int
    data: bytes


@lru_cache(maxsize=1)
def library() -> Path:
    """Compile the library, once a process."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests need a C compiler: run scripts/setup"
    folder = Path(tempfile.mkdtemp(prefix="vgf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "disk.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", target, SOURCE, "-ldl", "-lpthread"]
    subprocess.run(command, check=True, timeout=60)
    return target


def read_trace(path: Path) -> Iterator[Record]:
    """Yield what was recorded, in order."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        kind, created, _, pid, fd, size, offset = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield Record(chr(kind), bool(created), pid, fd, offset, data[at : at + size])
        at += size


class Faults:
    """What goes wrong below one folder, changed while the process runs."""

    def __init__(self, folder: Path, control: Path) -> None:
        """Steer processes that are started with `environment()`; `control` is a file outside `folder`."""
        self._folder, self._path = folder, control
        if not control.exists():
            control.write_bytes(bytes(8 * len(FIELDS)))
        with control.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8 * len(FIELDS))

    @classmethod
    def of_this_process(cls, folder: Path) -> Self:
        """Steer what goes wrong below this very process."""
        return cls(folder, Path(os.environ["FAULTS_CONTROL"]))

    def environment(self, trace: Path | None = None) -> dict[str, str]:
        """What a process needs in its environment, beside what this one has."""
        traced = {"FAULTS_TRACE": str(trace)} if trace else {}
        names = {"FAULTS_FOLDER": str(self._folder), "FAULTS_CONTROL": str(self._path)}
        return {**os.environ, **names, **traced, "LD_PRELOAD": str(library())}

    def fail(self, calls: int, error: int, *, first: int = 0, count: int = FOREVER) -> None:
        """Let matching calls fail from the `first` one from now on."""
        self._set("calls", 0)
        for name, value in (("first", first), ("count", count), ("error", error), ("seen", 0), ("failed", 0)):
            self._set(name, value)
        self._set("calls", calls)

    def mend(self) -> None:
        """Let nothing fail any more, and let it take its usual time."""
        self._set("calls", 0)
        self._set("sync_delay_ms", 0)

    def delay_syncs(self, delay_ms: int) -> None:
        """Let each sync take this much longer; 0 ends also those under way."""
        self._set("sync_delay_ms", delay_ms)

    def set_clock(self, offset_ms: int) -> None:
        """Move the wall clock away from the true one."""
        self._set("clock_offset_ms", offset_ms)

    @property
    def seen(self) -> int:
        """How many calls matched since the last `fail()`."""
        return self._get("seen")

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return self._get("failed")

    def close(self) -> None:
        """Let go of the control file."""
        self._memory.close()

    def _get(self, name: str) -> int:
        value: int = struct.unpack_from("<q", self._memory, 8 * FIELDS.index(name))[0]
        return value

    def _set(self, name: str, value: int) -> None:
        struct.pack_into("<q", self._memory, 8 * FIELDS.index(name), value)
