"""Writing a contract that was made of types as YAML, the same way for every contract there is."""

from __future__ import annotations

import inspect
import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString


def as_yaml(content: dict[str, Any], first_line: str) -> str:
    """Return a document as YAML, with texts of several lines as blocks, under a comment of one line."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    stream.write(f"# {first_line}\n")
    yaml.dump(_blocks(content), stream)
    return stream.getvalue()


def unindented(value: Any) -> Any:  # noqa: ANN401
    """Return schemas as msgspec makes them with their descriptions, which are docstrings, as plain text."""
    if isinstance(value, list | tuple):
        return [unindented(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: inspect.cleandoc(item) if key == "description" and isinstance(item, str) else unindented(item)
        for key, item in value.items()
    }


def _blocks(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _blocks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blocks(item) for item in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
