"""What drivers say of a device, in German: the console has a sentence for each of theirs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "gateway/web/static/details.js"
ENDS = {"DeviceOffline", "DeviceFault", "DriverFailed", "DeviceTimeout", "_Ended"}
# Answers to one command: whoever gave it gets them, and the device's state does not change.
ANSWERS = (
    r"there is no (relay|logo) \{\}.*",
    r"the (relay board|lines of|TWN4|OSDP reader).*",
    r"\{\} (did not switch the relay|cannot do this pulse).*",
    r"OSDP reader \{\} (is not connected|is busy|refused|did not confirm).*",
    r"\{\} is a label printer.*",
    r"this needs a label.*",
    r"\{\}: the broker takes nothing.*",
    r".*so the drawer was not opened.*",
    r"\{\}: \{\}",
    r"\{\} is (not connected|not open|busy: too many commands wait.*)",
)


def template(node: ast.expr) -> str:
    """A sentence with {} for each of its own values; empty where it comes from elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BoolOp):
        return template(node.values[-1])
    return ""


def sentences() -> Iterator[str]:
    """Every sentence that a driver or its keeper ends a link with."""
    for part in ("drivers", "gateway/devices"):
        for file in sorted((ROOT / part).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and node.args:
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    if name in ENDS and (text := template(node.args[0])):
                        yield text
                elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "why":
                    yield from {template(node.value)} - {""}


def pairs() -> dict[str, str]:
    return dict(re.findall(r'^  \["(.*?)", "(.*?)"\],$', FILE.read_text(), re.MULTILINE))


def test_there_is_a_german_sentence_for_each_of_a_driver() -> None:
    found = {text for text in sentences() if not any(re.fullmatch(answer, text) for answer in ANSWERS)}
    assert len(found) > 80
    assert sorted(found - set(pairs())) == []


def test_each_german_sentence_takes_what_the_english_one_has() -> None:
    listed = pairs()
    assert len(listed) == FILE.read_text().count('\n  ["')
    assert [english for english, german in listed.items() if english.count("{}") != german.count("{}")] == []
