"""`make test` tries some hundred inputs for each target, `make prove` tens of thousands."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.codecs.decoder import Decoder
from tests.fuzz.mutations import CORPUS, kept, nearly_right
from tests.fuzz.targets import TARGETS, decoders, needs_arguments
from tests.length import length

EXAMPLES = length(150, 20_000)
SECONDS = 5.0
ROOT = Path(__file__).parents[2]
DECODERS = sorted(decoders(), key=lambda one: one.__name__)

# On text that is no UTF-8 the MQTT library panics, which the connection survives, and drops an exception beside.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

patient = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_breaks_nothing(target: str) -> None:
    assert kept(target), f"tests/fuzz/corpus/{target} holds nothing to begin from"
    for data in kept(target):
        TARGETS[target](data)


def test_everything_that_is_kept_is_tried() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == {*TARGETS, "decoders"}


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


@pytest.mark.parametrize("kind", [one for one in DECODERS if not needs_arguments(one)], ids=lambda one: one.__name__)
@pytest.mark.timeout(3600)
def test_no_decoder_raises_or_hoards(kind: type[Decoder[object]]) -> None:
    @patient
    @given(st.lists(nearly_right(kept("decoders")), max_size=6), st.integers(1, 70))
    def tried(pieces: list[bytes], size: int) -> None:
        decoder = kind()
        line = b"".join(pieces)
        for at in range(0, len(line), size):
            decoder.receive_data(line[at : at + size])
            assert sum(1 for _ in decoder) <= len(line)
            assert len(decoder._buffer) <= kind.LIMIT_BYTES

    tried()


@pytest.mark.parametrize("kind", [one for one in DECODERS if needs_arguments(one)], ids=lambda one: one.__name__)
def test_a_decoder_that_must_be_told_something_has_a_fuzz_test_of_its_own(kind: type[Decoder[object]]) -> None:
    texts = [file.read_text() for file in (ROOT / "tests" / "drivers").rglob("test_*.py")]
    assert any("@given" in text and kind.__name__ in text for text in texts)
