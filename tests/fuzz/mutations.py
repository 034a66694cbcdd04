"""Inputs that are nearly right: what was right once, cut, torn, repeated, crossed with another, with bits flipped.

`corpus/<target>/` keeps inputs by hand: right ones to begin from, and every one that ever broke something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from hypothesis import strategies as st

CORPUS = Path(__file__).with_name("corpus")
TOKENS = (
    b"", b"\0", b"\xff", b"\xff" * 9, b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-0", b"1e999",
    b"NaN", b"9223372036854775808", b"-1", b"0.1", b'"\\ud800"', b"\xed\xa0\x80", b"\r\n", b"\x1b@", b"\x10\x04\x01",
    b"\x02", b"\x03", b"*a", b"&a ", b"<<: ", b"!!python/none ", b"2026-02-30T25:00:00Z", b"../", b"#", b"+", b"$SYS",
)  # fmt: skip
LONGEST_BYTES = 20_000

Mutation = Callable[[bytes, bytes, Random], bytes]


def kept(target: str) -> list[bytes]:
    """Every input that is kept for one target."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir()) if file.is_file()]


def flip(one: bytes, _: bytes, dice: Random) -> bytes:
    changed = bytearray(one or b"\0")
    for _ in range(dice.choice((1, 1, 2, 8))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(one: bytes, _: bytes, dice: Random) -> bytes:
    start = dice.randint(0, len(one))
    return one[:start] + one[dice.randint(start, len(one)) :]


def repeat(one: bytes, _: bytes, dice: Random) -> bytes:
    start = dice.randint(0, len(one))
    end = dice.randint(start, min(len(one), start + 40))
    return one[:end] + one[start:end] * dice.choice((1, 2, 50, 500)) + one[end:]


def cross(one: bytes, other: bytes, dice: Random) -> bytes:
    return one[: dice.randint(0, len(one))] + other[dice.randint(0, len(other)) :]


def insert(one: bytes, _: bytes, dice: Random) -> bytes:
    at = dice.randint(0, len(one))
    return one[:at] + dice.choice(TOKENS) + one[at + dice.choice((0, 0, 1, 4)) :]


MUTATIONS: Sequence[Mutation] = (flip, cut, repeat, cross, insert, insert)


def mutate(one: bytes, other: bytes, seed: int) -> bytes:
    """Change an input in one to four ways; the same seed makes the same change."""
    dice = Random(seed)
    for _ in range(dice.randint(1, 4)):
        one = dice.choice(MUTATIONS)(one, other, dice)[:LONGEST_BYTES]
    return one


def nearly_right(right: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs made of right ones, and now and then any bytes at all."""
    several = st.sampled_from(list(right))
    changed = st.builds(mutate, several, several, st.integers(0, 2**32 - 1))
    return several | changed | changed | changed | st.binary(max_size=300)
