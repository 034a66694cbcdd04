"""An evening at a venue whose disk fails at one call of very many, again and again, each time at another one.

Run by `python -m tests.faults.failing FOLDER CALLS ERRNO COUNT EVERY` as a process below which the disk can fail. For
every n it lets COUNT calls fail from the n-th on, plays, mends the disk, and looks whether all that was told is there.
It prints how often a call failed and what came of it, then what was wrong.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec

from gateway.store.errors import StorageUnavailable
from tests.faults.evening import ROOT, Evening, Told, make_small, write_directory
from tests.faults.images import Image
from tests.faults.judge import problems
from tests.faults.library import Faults

STEPS = 24
SETTLED_S = 5.0
CALLS_MAX = 5000


class Outcome(msgspec.Struct):
    """What came of every one of them."""

    trials: int = 0
    failed: int = 0
    ends: dict[str, int] = msgspec.field(default_factory=dict)
    found: list[str] = msgspec.field(default_factory=list)


def sweep(folder: Path, calls: int, error: int, count: int, every: int) -> Outcome:
    """Let every n-th call fail in a process of its own, and return what came of it."""
    for name in ("before", "now"):
        (folder / name).mkdir(parents=True)
    # What lies beside the venue's own files does not fail.
    faults = Faults(folder / "now", folder / "control")
    command = [sys.executable, "-m", "tests.faults.failing", *map(str, (folder, calls, error, count, every))]
    ended = subprocess.run(
        command, cwd=ROOT, env=faults.environment(), capture_output=True, text=True, timeout=900, check=False
    )
    faults.close()
    assert ended.returncode == 0, ended.stderr[-3000:]
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=Outcome)


class Trial:
    """One evening, one place at which the disk fails."""

    def __init__(self, folder: Path, faults: Faults, number: int, before: list[Told]) -> None:
        self._folder, self._faults, self._number = folder, faults, number
        self._told = list(before)
        self._dice = Random(number)

    async def run(self, calls: int, error: int, count: int) -> str:
        """Play with a disk that fails, then with one that is mended; returns how it went on."""
        self._faults.fail(calls, error, first=self._number, count=count)
        try:
            write_directory(self._folder, 2)
        except StorageUnavailable:
            end = "no new directory"
        else:
            end = await self._evening(self._dice)
        self._faults.mend()
        return end

    async def _evening(self, dice: Random) -> str:
        try:
            evening = Evening(self._folder, dice, self._told.append)
        except StorageUnavailable:
            return "not opened"
        await self._play(evening, 2)
        end = await self._recover(evening)
        self._faults.mend()
        await evening.end()
        return end

    async def _recover(self, evening: Evening) -> str:
        """Do what housekeeping does after a failure, on a disk that is well again."""
        lost = evening.recorder.lost
        if lost is None:
            return "nothing lost"
        promised = len(self._told)
        self._faults.mend()
        if lost.fatal:
            await self._play(evening, 3)
            # A process that trusts its disk no more must promise nothing more.
            return "ended" if len(self._told) == promised else "PROMISED AFTER A FAILED SYNC"
        evening.recorder.recover()
        await self._play(evening, 3)
        return "recovered" if len(self._told) > promised else "NEVER RECOVERED"

    async def _play(self, evening: Evening, life: int) -> None:
        for number in range(STEPS):
            evening.step(f"r{life}-{number}")
            if number % 6 == 5:
                evening.recorder.fold_if_due(force=True)
                evening.journal.set_cursor("feed", evening.journal.last_seq)
                evening.journal._tidy_now()
            await asyncio.sleep(0 if number % 3 else 0.001)
        async with asyncio.timeout(SETTLED_S):
            await evening.settled()

    def wrong(self) -> list[str]:
        """What of the promises does not hold."""
        return list(problems(self._folder, Image(self._number, "", {}, self._told)))


async def every_call(folder: Path, faults: Faults, calls: int, error: int, count: int, every: int) -> Outcome:
    outcome, before = Outcome(), await _before(folder / "before")
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: outcome.found.append(str(context)))
    for number in range(0, CALLS_MAX, every):
        place = folder / "now"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / "before", place)
        trial = Trial(place, faults, number, before)
        end = await trial.run(calls, error, count)
        if not faults.failed:
            return outcome
        outcome.trials += 1
        outcome.failed += faults.failed
        outcome.ends[end] = outcome.ends.get(end, 0) + 1
        outcome.found += [f"call {number} ({end}): {one}" for one in trial.wrong()]
    raise AssertionError("the evening never ends")


async def _before(folder: Path) -> list[Told]:
    """Let there be something to lose."""
    told: list[Told] = []
    write_directory(folder, 1)
    evening = Evening(folder, Random(0), told.append)
    await evening.play(1, STEPS)
    await evening.end()
    return told


def main() -> None:
    folder, arguments = Path(sys.argv[1]), [int(one) for one in sys.argv[2:]]
    make_small()
    faults = Faults.of_this_process(folder)
    outcome = asyncio.run(every_call(folder, faults, *arguments))
    print(msgspec.json.encode(outcome).decode())


if __name__ == "__main__":
    main()
