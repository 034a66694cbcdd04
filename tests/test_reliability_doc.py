"""What docs/reliability.md names is there: each file, each promise's tests, each mutant and each kind of trouble."""

import re
from pathlib import Path

import pytest

from tests.simulation.faults import FAULTS
from tests.simulation.mutants import MUTANTS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
PROMISES = range(1, 13)


def rows_after(heading: str) -> dict[str, str]:
    """Return the first table after a heading: what stands in its first cells → the whole row."""
    _, _, section = PAGE.partition(f"\n## {heading}\n")
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table, heading
    rows = table.group().splitlines()[2:]
    return {row.split("|")[1].strip(): row for row in rows}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|gateway|drivers)/[a-z_0-9/.]+)`", PAGE))))
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists(), f"docs/reliability.md names {path}, which is not there"


@pytest.mark.parametrize("number", PROMISES)
def test_every_promise_has_tests_of_its_number(number: int) -> None:
    row = rows_after("The promises")[f"I{number}"]
    name = re.compile(rf"def test(?:_i\d\d)*_i{number:02}_")
    places = re.findall(r"`(tests/[a-z_0-9/.]+)`", row)
    assert places, f"I{number} names no test"
    for place in places:
        here = ROOT / place
        files = [here] if here.is_file() else sorted(here.rglob("test_*.py"))
        held = any(name.search(file.read_text(encoding="utf-8")) for file in files)
        assert held, f"I{number} names {place}, and no test there bears its number"


def test_every_mutant_is_listed() -> None:
    assert {name.strip("`") for name in rows_after("The mutation gate")} == set(MUTANTS)


@pytest.mark.parametrize("part", FAULTS)
def test_every_kind_of_trouble_is_counted(part: str) -> None:
    counts = rows_after("What goes wrong in a run")[part].split("|")[2]
    told = dict(re.findall(r"(\d+) ([^,|]+?)(?:,|\s*$)", counts.strip()))
    assert set(told.values()) == set(FAULTS[part])
