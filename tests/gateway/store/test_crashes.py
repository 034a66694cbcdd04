"""What a killed process leaves on the disk. The e2e tests do the same to the whole daemon."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store import audit
from gateway.store.journal import Journal

ROOT = Path(__file__).parents[3]
KILLS = 8


def _told_until_killed(path: Path, seed: int, lines: int) -> int:
    """Run the crasher, kill it after its first `lines` words, and return the last seq it was told is on disk.

    It goes on writing while they are read, so the kill finds it at any point of its work.
    """
    command = [sys.executable, "-m", "tests.gateway.store.crasher", str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.read().splitlines(keepends=True)
    assert process.returncode == -9
    return max(int(line) for line in told if line.endswith(b"\n"))


@pytest.mark.parametrize("seed", range(3))
async def test_i01_every_row_that_was_reported_done_survives_kill_9(path: Path, seed: int) -> None:
    luck = random.Random(seed)
    for _ in range(KILLS):
        told = _told_until_killed(path, luck.randrange(1 << 30), 1 + luck.randrange(1500))
        verdict = audit.verify(path)
        assert verdict.bad_seq is None, verdict.problem
        assert verdict.rows >= told
        journal = Journal.open(path)
        assert journal.last_seq == verdict.rows
        assert journal.fold_seq <= journal.last_seq
        journal.close()
