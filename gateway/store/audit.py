"""Looking at a journal from outside: `venue-gateway journal verify | tail | export`.

The functions take the path of `journal.db` and a `write` that prints one line. They read in chunks and hold no lock in
between, so a running gateway is not held up, however long the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.store.errors import StorageUnavailable
from gateway.store.reading import Reader
from gateway.store.redaction import Suspects
from gateway.store.rows import GENESIS, StoredRow, chain

Write = Callable[[str], object]

OK, REFUSED = 0, 1
FOLLOW_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking a journal found: how many rows fit, and the first that does not, with why."""

    rows: int
    bad_seq: int | None = None
    problem: str = ""
    first_seq: int = 1
    """The oldest row there is: what every sink upstream had may have been pruned."""


def verify(path: Path) -> Verdict:
    """Check every row against the hash chain, streaming. Raises StorageUnavailable when the file cannot be read."""
    reader = _open(path)
    try:
        pruned = reader.pruned()
        verdict = _check_rows(reader.all_rows(pruned[0]), *pruned)
        while verdict.bad_seq is not None and (now := reader.pruned()) != pruned:
            # A running gateway pruned meanwhile: what went was not missing, so it is looked at again.
            pruned = now
            verdict = _check_rows(reader.all_rows(pruned[0]), *pruned)
        verdict = verdict if verdict.bad_seq is not None else _check_end(reader, verdict.rows)
        return replace(verdict, first_seq=pruned[0] + 1)
    finally:
        reader.close()


def _check_rows(rows: Iterator[StoredRow], pruned_seq: int = 0, previous: bytes = GENESIS) -> Verdict:
    expected = pruned_seq + 1
    suspects = Suspects()
    for row in rows:
        if row.seq != expected:
            bad_seq = suspects.first or expected
            return _changed(bad_seq) if bad_seq < expected else _missing(expected, row.seq)
        if row.hash == chain(previous, row):
            suspects.hear(row)
        else:
            # It may have been rewritten to erase a guest: then a later row says so.
            suspects.add(row)
        previous, expected = row.hash, expected + 1
    return _changed(suspects.first) if suspects.first is not None else Verdict(expected - 1)


def _changed(seq: int) -> Verdict:
    return Verdict(seq - 1, seq, f"row {seq} is not what was written: it was changed or swapped")


def _missing(seq: int, found: int) -> Verdict:
    return Verdict(seq - 1, seq, f"row {seq} is missing; the next one is {found}")


def _check_end(reader: Reader, rows: int) -> Verdict:
    """Rows cut off at the end leave the chain whole, but somebody may have read them."""
    seen = {f"reader {name!r} has read": seq for name, seq in reader.cursors().items()}
    seen["the folded state has taken in"] = reader.fold_seq()
    who, seq = max(seen.items(), key=lambda item: item[1])
    # The gateway may have gone on writing since the last row was checked.
    newest = reader.newest(1)
    if (newest and newest[0].seq >= seq) or seq <= rows:
        return Verdict(rows)
    return Verdict(rows, rows + 1, f"row {rows + 1} is missing at the end: {who} row {seq}")


def verify_command(path: Path, write: Write) -> int:
    """Print what `verify` found; returns the exit status, 1 when a row does not fit or the file cannot be read."""
    try:
        verdict = verify(path)
    except StorageUnavailable as error:
        write(str(error))
        return REFUSED
    if verdict.bad_seq is None:
        pruned = f" (rows 1 to {verdict.first_seq - 1} were pruned)" if verdict.first_seq > 1 else ""
        write(f"{path}: {verdict.rows - verdict.first_seq + 1} rows, every one fits the chain{pruned}")
        return OK
    write(f"{path}: {verdict.problem}")
    fitting = f"Rows {verdict.first_seq} to {verdict.rows} fit the chain."
    write(f"{fitting} Keep this file as it is and compare it with what was relayed.")
    return REFUSED


def tail_command(path: Path, write: Write, lines: int, *, follow: bool = False) -> int:
    """Print the newest `lines` entries, and with `follow` every later one, until interrupted."""
    try:
        reader = _open(path)
        try:
            newest_rows = reader.newest(max(1, lines))
            last_seq = newest_rows[-1].seq if newest_rows else 0
            for row in newest_rows if lines else ():
                write(entry_line(row))
            while follow:
                for row in reader.all_rows(last_seq):
                    write(entry_line(row))
                    last_seq = row.seq
                time.sleep(FOLLOW_EVERY_S)
        finally:
            reader.close()
    except StorageUnavailable as error:
        write(str(error))
        return REFUSED
    return OK


def newest(path: Path, count: int) -> list[StoredRow]:
    """Return the last `count` entries, in order. Raises StorageUnavailable."""
    reader = _open(path)
    try:
        return reader.newest(count)
    finally:
        reader.close()


def export_command(path: Path, write: Write, after_seq: int = 0) -> int:
    """Print every entry after `after_seq` as NDJSON."""
    try:
        reader = _open(path)
        try:
            for row in reader.all_rows(after_seq):
                write(entry_line(row))
        finally:
            reader.close()
    except StorageUnavailable as error:
        write(str(error))
        return REFUSED
    return OK


def entry_line(row: StoredRow) -> str:
    """Return an entry as one JSON object: seq, id, at, hash, then the event's own members byte for byte.

    The hash can be computed again from the line: `body` is "{" and what follows the hash. A damaged row, as `verify`
    finds it, is told by its `seq` and what stands there, in hex.
    """
    try:
        at, body = at_text(row.at_ms), row.body.decode()
    except (ArithmeticError, OSError, ValueError):
        at = body = ""
    if body[:1] != "{":
        return f'{{"seq":{row.seq},"damaged":"{row.body.hex()}"}}'
    digits = row.id.hex()
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return f'{{"seq":{row.seq},"id":"{uuid}","at":"{at}","hash":"{row.hash.hex()}",{body[1:]}'


def at_text(at_ms: int) -> str:
    """Return UTC milliseconds as people read them."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03}Z"


def _open(path: Path) -> Reader:
    if not path.exists():
        raise StorageUnavailable(f"{path} does not exist; the gateway makes it when it first runs")
    return Reader(path)
