"""Appends to a journal as fast as it can and says on its standard output what it was told is on disk, until killed."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from gateway.store.journal import Journal, StorageUnavailable
from tests.gateway.store.journals import row


async def main(path: Path, seed: int) -> None:
    journal = Journal.open(path)
    luck = random.Random(seed)
    seq = journal.last_seq
    ended = asyncio.Event()

    def append(count: int) -> None:
        nonlocal seq
        new = [row(seq + number, "x" * luck.randrange(600)) for number in range(1, count + 1)]
        seq += count

        def done(error: StorageUnavailable | None) -> None:
            if error is not None:
                os._exit(3)
            # Told to the pipe at once: what a killed process had buffered it never said.
            os.write(1, b"%d\n" % new[-1].seq)
            append(luck.randrange(1, 5))

        attachments = {f"job-{seq}": bytes(luck.randrange(20_000))} if luck.random() < 0.05 else {}
        journal.append(new, done, urgent=luck.random() < 0.8, attachments=attachments)

    def fold(number: int = 0) -> None:
        chunk = [("k", str(luck.randrange(5000)), b"v" * 40) for _ in range(64)]
        journal.fold(chunk, journal.last_seq, lambda _: fold(number + 1))

    for _ in range(16):
        append(1)
    fold()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
