"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Return how many there are, as people read it: `1 device`, `0 devices`, `1,200 rows`, `2 entries`."""
    if number != 1:
        thing = f"{thing[:-1]}ies" if thing.endswith("y") and thing[-2] not in "aeiou" else f"{thing}s"
    return f"{number:,} {thing}"
