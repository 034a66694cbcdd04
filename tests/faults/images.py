"""What a power cut may leave: a recorded evening, cut at any point, with what was not synced lost, kept, torn or mixed.

The model is that of POSIX at its least kind: what a file held when it was last synced is there; of what was written
since, every sector of 512 bytes is there or not, in any combination; a name is there once its folder was synced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from tests.faults.evening import TOLD, Told
from tests.faults.library import Record, read_trace

SECTOR_BYTES = 512
POLICIES = ("lost", "kept", "torn", "scattered", "scattered")
"""`torn` keeps what was written up to some point and a part of the next; `scattered` tosses a coin for each sector."""


class Change(NamedTuple):
    """A write of `data` at `offset`, or with `data` None the cutting of a file to `offset` bytes."""

    offset: int
    data: bytes | None


@dataclass(slots=True)
class File:
    """What is on the platter, and what was written since."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            apply(self.synced, change)
        self.pending.clear()


Names = dict[str, File]


class Renaming(NamedTuple):
    """A change of names in one folder that was not synced: `then` stands for the names it touches, None for none."""

    then: dict[str, File | None]


class Image(NamedTuple):
    """The files after a cut, and all that had been told before it."""

    point: int
    policy: str
    files: dict[str, bytes]
    told: Sequence[Told]


def apply(content: bytearray, change: Change) -> None:
    """Make one change to a file."""
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    if len(content) < change.offset:
        content.extend(bytes(change.offset - len(content)))
    content[change.offset : change.offset + len(change.data)] = change.data


def sectors(change: Change) -> Iterator[Change]:
    """Cut a write where the disk's sectors end."""
    assert change.data is not None
    at, end = change.offset, change.offset + len(change.data)
    while at < end:
        until = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield Change(at, change.data[at - change.offset : until - change.offset])
        at = until


class Disk:
    """The disk as the trace goes by, from an empty one or from what an earlier cut left."""

    def __init__(self, before: Image | None = None) -> None:
        files = before.files if before else {}
        self.names: Names = {path: File(bytearray(content)) for path, content in files.items()}
        self.durable: Names = dict(self.names)
        self.renamings: list[Renaming] = []
        self.told: list[Told] = list(before.told) if before else []
        self._open: dict[tuple[int, int], str | File] = {}
        self._line = b""

    def take(self, record: Record) -> None:
        """Let one record happen."""
        if record.kind in "rlu":
            return self._rename(record)
        if record.kind == "o":
            return self._opened(record)
        found = self._open.get((record.pid, record.fd))
        if isinstance(found, File):
            return self._changed(record, found)
        if record.kind == "w" and found == TOLD:
            self._tell(record.data)
        elif record.kind == "s" and found == "":
            self.durable = dict(self.names)
            self.renamings.clear()
        return None

    def _opened(self, record: Record) -> None:
        path = record.data.decode()
        if path in ("", TOLD):
            self._open[record.pid, record.fd] = path
            return
        if path not in self.names:
            self._name({path: File()})
        self._open[record.pid, record.fd] = self.names[path]

    def _changed(self, record: Record, file: File) -> None:
        if record.kind == "w":
            file.pending.append(Change(record.offset, record.data))
        elif record.kind == "t":
            file.pending.append(Change(record.offset, None))
        elif record.kind == "s":
            file.sync()

    def _rename(self, record: Record) -> None:
        one, _, other = record.data.decode().partition("\0")
        match record.kind:
            case "r":
                self._name({one: None, other: self.names[one]})
            case "l":
                self._name({other: self.names[one]})
            case _:
                self._name({one: None})

    def _name(self, then: dict[str, File | None]) -> None:
        self.renamings.append(Renaming(then))
        _put(self.names, then)

    def _tell(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        self.told += [msgspec.json.decode(line, type=Told) for line in lines]

    def image(self, point: int, policy: str, dice: Random) -> Image:
        """Cut the power now."""
        names = dict(self.durable)
        kept = len(self.renamings) if policy == "kept" else 0
        if policy in ("torn", "scattered"):
            # Names have a journal of the file system's own: a later change never comes without an earlier one.
            kept = dice.randint(0, len(self.renamings))
        for renaming in self.renamings[:kept]:
            _put(names, renaming.then)
        return Image(point, policy, {path: left(file, policy, dice) for path, file in names.items()}, tuple(self.told))


def _put(names: Names, then: dict[str, File | None]) -> None:
    for path, file in then.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def left(file: File, policy: str, dice: Random) -> bytes:
    """Return what is left of a file."""
    content = bytearray(file.synced)
    for change in kept(file.pending, policy, dice):
        apply(content, change)
    return bytes(content)


def kept(pending: Sequence[Change], policy: str, dice: Random) -> Iterator[Change]:
    """Yield those of the changes, or parts of them, that reached the disk."""
    if policy == "kept":
        yield from pending
    elif policy == "torn" and pending:
        until = dice.randrange(len(pending))
        yield from pending[:until]
        if pending[until].data is not None:
            pieces = list(sectors(pending[until]))
            yield from pieces[: dice.randint(0, len(pieces))]
    elif policy == "scattered":
        share = dice.choice((0.2, 0.5, 0.8, 0.95))
        for change in pending:
            pieces = [change] if change.data is None else sectors(change)
            yield from (piece for piece in pieces if dice.random() < share)


def cuts(
    trace: Path, seed: int, rounds: int, part: int = 0, parts: int = 1, before: Image | None = None
) -> Iterator[Image]:
    """Yield `rounds` images for each point of the trace; with `parts`, only every so many of them.

    `before` is the image on which the recorded process began, if it did not begin on an empty disk.
    """
    disk, number = Disk(before), 0
    for point, record in enumerate(read_trace(trace)):
        disk.take(record)
        if record.kind == "c":
            continue
        for turn in range(rounds):
            number += 1
            if number % parts == part:
                dice = Random(f"{seed}/{point}/{turn}")
                yield disk.image(point, dice.choice(POLICIES), dice)
