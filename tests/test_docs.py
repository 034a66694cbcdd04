"""The docs tell the truth: what they name exists, and what exists is named."""

import ast
import re
from pathlib import Path

import pytest

from gateway.domain import events

ROOT = Path(__file__).parent.parent
TOUR = (ROOT / "docs/TOUR.md").read_text(encoding="utf-8")
LOGS = (ROOT / "docs/logs.md").read_text(encoding="utf-8")


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
            parts = [one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            found.update(f"{node.name}.{part}" for part in parts)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


def mentioned() -> list[tuple[str, str]]:
    """Each `file.py` of the tour with the names in code font that follow it in the same sentence or bracket."""
    pairs = []
    for match in re.finditer(r"`([a-z_/0-9]+\.py)`((?:[\s,]*(?:or |and )?`[A-Za-z_][A-Za-z_.]*`)*)", TOUR):
        names = re.findall(r"`([A-Za-z_][A-Za-z_.]*)`", match.group(2))
        pairs += [(match.group(1), name) for name in names] or [(match.group(1), "")]
    return pairs


@pytest.mark.parametrize(("file", "name"), mentioned())
def test_the_tour_names_what_exists(file: str, name: str) -> None:
    path = ROOT / file
    assert path.is_file(), f"docs/TOUR.md names {file}, which is not there"
    assert not name or name in names_in(path), f"docs/TOUR.md names {name} in {file}, which is not there"


def test_the_tour_walks_through_enough() -> None:
    assert len({name for _, name in mentioned() if name}) >= 50


def log_names() -> set[str]:
    calls = re.compile(r"\blog\.(?:debug|info|warning|error|exception)\(\s*\"([a-z_.]+)\"")
    return {name for file in sorted((ROOT / "gateway").rglob("*.py")) for name in calls.findall(file.read_text())}


def test_every_log_event_is_listed() -> None:
    kinds = {event.__struct_config__.tag for event in events.AnyEvent.__args__}
    missing = sorted(name for name in log_names() | kinds if f"`{name}`" not in LOGS)
    assert not missing, f"docs/logs.md does not list {missing}"


def test_nothing_is_listed_that_no_longer_exists() -> None:
    kinds = {event.__struct_config__.tag for event in events.AnyEvent.__args__}
    listed = set(re.findall(r"^\| `([a-z_.]+)`", LOGS, re.MULTILINE))
    assert not listed - log_names() - kinds - {"log_lines_dropped"}
