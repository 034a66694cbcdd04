"""`make test` tries some hundred inputs for each target, `make prove` tens of thousands."""

from __future__ import annotations

import pkgutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import drivers.codecs
from tests.fuzz import codecs
from tests.fuzz.mutations import CORPUS, kept, nearly_right
from tests.fuzz.targets import TARGETS
from tests.length import length

EXAMPLES = length(150, 20_000)
SECONDS = 5.0
TEN_MEGABYTES = 10_000_000

# On text that is no UTF-8 the MQTT library panics, which the connection survives, and drops an exception beside.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

patient = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_breaks_nothing(target: str) -> None:
    assert kept(target), f"tests/fuzz/corpus/{target} holds nothing to begin from"
    for data in kept(target):
        TARGETS[target](data)


def test_everything_that_is_kept_is_tried() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.timeout(3600)
def test_nothing_but_a_refusal_comes_of_what_is_nearly_right(target: str) -> None:
    take = TARGETS[target]

    @patient
    @given(nearly_right(kept(target)))
    def tried(data: bytes) -> None:
        began = time.perf_counter()
        take(data)
        assert time.perf_counter() - began < SECONDS

    tried()


@pytest.mark.parametrize("codec", codecs.TARGETS)
@pytest.mark.timeout(3600)
def test_no_codec_raises_or_hoards_whoever_else_is_on_its_line(codec: str) -> None:
    """Right frames of this codec and of all others, cut and joined."""
    take = codecs.TARGETS[codec]
    own, others = kept(codec), [one for name in codecs.TARGETS for one in kept(name)]

    @patient
    @given(st.lists(nearly_right(own) | nearly_right(others), max_size=6))
    def tried(pieces: list[bytes]) -> None:
        take(b"".join(pieces))

    tried()


@pytest.mark.parametrize("codec", codecs.TARGETS)
def test_i09_ten_megabytes_without_an_end_are_taken_within_the_bound(codec: str) -> None:
    """Each codec looks at its own bound after each piece; what it returns in the end is little, too."""
    begun = kept(codec)[0][:-2]
    codecs.TARGETS[codec](begun + b"0" * TEN_MEGABYTES)


def test_every_codec_is_fuzzed_or_told_nothing() -> None:
    every = {module.name for module in pkgutil.iter_modules(drivers.codecs.__path__)}
    assert every == codecs.WRITE_ONLY | codecs.COVERED_WITH.keys() | codecs.TARGETS.keys()
    assert set(codecs.COVERED_WITH.values()) <= codecs.TARGETS.keys()
