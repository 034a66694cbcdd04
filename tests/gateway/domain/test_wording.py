from __future__ import annotations

import pytest

from gateway.domain.wording import counted


@pytest.mark.parametrize(
    ("number", "thing", "said"),
    [(0, "device", "0 devices"), (1, "device", "1 device"), (1200, "row", "1,200 rows"), (2, "entry", "2 entries"),
     (1, "entry", "1 entry"), (3, "day", "3 days"), (2, "journal row", "2 journal rows")],
)  # fmt: skip
def test_a_thing_and_several(number: int, thing: str, said: str) -> None:
    assert counted(number, thing) == said
