"""The power fails at every point of an evening, and whatever is left of the disk, no promise is broken."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.faults import evening
from tests.faults.images import Image, cuts
from tests.faults.judge import Verdict, judge_all, judge_images, put
from tests.length import length

LIVES, STEPS = (1, 2, 3, 4), 50
IMAGES_MIN = 2000
SEEDS = length((1,), tuple(range(1, 11)))
ROUNDS = length(1, 3)
TWICE = length(1, 60)


def recorded(folder: Path, *, seed: int = 1, mutant: str = "", size: str = "small", steps: int = STEPS) -> Path:
    """The trace of a few lives, every second of which ends as by kill -9."""
    state, trace = folder / "state", folder / "trace"
    state.mkdir()
    for life in LIVES:
        evening.record(state, trace, life, seed=seed, steps=steps, size=size, mutant=mutant)
    return trace


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(300)
def test_i01_no_power_cut_loses_what_was_acknowledged(tmp_path: Path, seed: int, record_property) -> None:
    trace = recorded(tmp_path, seed=seed)
    verdict = judge_all(trace, seed, ROUNDS)
    assert not verdict.found, "\n".join(verdict.found)
    if len(verdict.images) < IMAGES_MIN:
        # A machine that was busy wrote more at once, and so has fewer points at which to be cut off.
        more = judge_all(trace, -seed, ROUNDS)
        verdict = Verdict(verdict.images | more.images, verdict.policies + more.policies, more.found)
    record_property("images", len(verdict.images))
    assert not verdict.found, "\n".join(verdict.found)
    assert len(verdict.images) >= IMAGES_MIN, verdict.policies
    assert all(verdict.policies[policy] > 20 for policy in ("lost", "kept", "torn", "scattered")), verdict.policies


@pytest.mark.parametrize("mutant", ["acknowledge-before-commit", "synchronous-normal"])
def test_a_gateway_that_promises_too_early_is_caught(tmp_path: Path, mutant: str) -> None:
    """Images that find nothing prove nothing until they have been seen to find what is wrong."""
    verdict = judge_all(recorded(tmp_path, mutant=mutant, steps=10), 1, 1)
    assert any("was acknowledged and is not there" in one for one in verdict.found), verdict


@pytest.mark.timeout(600)
def test_i01_a_second_power_cut_amid_the_recovery_from_the_first_loses_nothing_either(tmp_path: Path) -> None:
    images = [image for image in cuts(recorded(tmp_path), 2, 1) if image.policy == "scattered" and image.told]
    for number, image in enumerate(Random(3).sample(images, TWICE)):
        found = cut_again(tmp_path / str(number), image)
        assert not found, f"cut at {image.point}, then {found}"


def cut_again(folder: Path, image: Image) -> tuple[str, ...]:
    """Let the gateway start on an image, record that start, and cut it off at every point."""
    state, trace, place = folder / "state", folder / "trace", folder / "place"
    for one in (state, place):
        one.mkdir(parents=True)
    put(state, image)
    evening.record(state, trace, 5, steps=3)
    every = length(9, 1)
    again = islice(cuts(trace, 4, 1, before=image), 0, None, every)
    return asyncio.run(judge_images(place, again)).found


@pytest.mark.skipif(length(True, False), reason="the same with a WAL of full size belongs to make prove")
@pytest.mark.timeout(1800)
def test_i01_the_same_holds_with_files_of_their_usual_size(tmp_path: Path) -> None:
    verdict = judge_all(recorded(tmp_path, size="full"), 1, 1, small=False)
    assert not verdict.found, "\n".join(verdict.found)
    assert len(verdict.images) >= IMAGES_MIN
