"""What `make sim` plays, and what shows that it would find something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.faults import Faults
from tests.simulation.running import MUTANT_SEEDS, SEEDS, catch_mutants, mutant_table, play_seeds, workplace
from tests.simulation.world import Result, play

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(480)
def test_every_invariant_holds_in_every_run_and_every_kind_of_trouble_comes_up() -> None:
    faults, failed = Faults(), list[Result]()
    with workplace() as folder:
        for result in play_seeds(range(SEEDS), folder):
            faults.update(result.faults)
            if result.violations:
                failed.append(result)
    told = [f"{result.violations[0]}\n    replay it: make sim SEED={result.seed}" for result in failed]
    assert not failed, "\n".join(told)
    assert not faults.missing, f"none of {SEEDS} seeds had: {faults.missing}"


def test_one_seed_is_one_run() -> None:
    with workplace() as folder:
        first, again, other = play(3, folder, keep_lines=True), play(3, folder, keep_lines=True), play(4, folder)
    assert first.lines == again.lines
    assert first.digest == again.digest
    assert first.digest != other.digest


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_one_seed_is_one_run_in_another_process(hash_seed: str) -> None:
    with workplace() as folder:
        here = play(3, folder)
    command = [sys.executable, "-m", "tests.simulation", "--seed", "3"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert ended.stdout.splitlines()[-1] == f"seed 3: held, digest {here.digest}"


@pytest.mark.timeout(120)
def test_every_mutant_is_caught() -> None:
    """A simulation that finds no mistake proves nothing until it has been seen to find those put in on purpose."""
    with workplace() as folder:
        found = catch_mutants(MUTANT_SEEDS, folder)
    print(mutant_table(found))
    missed = [mutant for mutant, seed, *_ in found if seed is None]
    assert not missed, f"not caught within {MUTANT_SEEDS} seeds: {missed}"
    # A mutant that merely crashes, because a signature has changed, is no mistake that an invariant has caught.
    crashed = [(mutant, what) for mutant, _, invariant, what in found if invariant == "bug"]
    assert not crashed, crashed
