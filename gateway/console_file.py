"""The configuration file as the console shows it: line by line, with what `check` finds in its place, and no secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.loading import ConfigurationError, loads
from gateway.config.schema import DriverKind
from gateway.config.tree import MAX_BYTES

HIDDEN = "•••"
LINES_MAX = 6000
_SECRET = re.compile(
    r"(?i)((?:^|[\s{,\"'_-])[\w-]*(?:password|passwd|passphrase|secret|token|api_?key|private_?key)[\"']?\s*:\s*)"
    r"(?:\"[^\"]*\"?|'[^']*'?|[^\s,}#][^,}#]*)"
)
_LOGIN = re.compile(r"//[^/\s\"'@]*@")
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{24,}(?![0-9A-Za-z])")
_WARNING = re.compile(r".*?:(\d+):(\d+): (?:([^:]*): )?(.*)\Z", re.DOTALL)


def shown(path: Path, kinds: Mapping[str, DriverKind]) -> dict[str, Any]:
    """Return the file's lines and its findings; blocking, some ten milliseconds. A file that cannot be read is one."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        finding = {"line": 1, "column": 1, "path": "", "message": error.strerror or str(error), "level": "problem"}
        return {"file": path.name, "lines": [], "findings": [finding], "digest": ""}
    findings, digest = _findings(data, path, kinds)
    lines = data.decode("utf-8", "replace").splitlines()[:LINES_MAX]
    return {"file": path.name, "lines": [redacted(line) for line in lines], "findings": findings, "digest": digest}


def redacted(line: str) -> str:
    """Return a line without what may be a password, a login or a key, wherever somebody wrote one by mistake (I12)."""
    hidden = _SECRET.sub(rf"\1{HIDDEN}", line)
    return _LONG_HEX.sub(HIDDEN, _LOGIN.sub(f"//{HIDDEN}@", hidden))


def _findings(data: bytes, path: Path, kinds: Mapping[str, DriverKind]) -> tuple[list[dict[str, Any]], str]:
    try:
        configuration = loads(data, path, kinds)
    except ConfigurationError as error:
        found = [
            {
                "line": one.line,
                "column": one.column,
                "path": one.path,
                "message": redacted(one.message),
                "level": "problem",
            }
            for one in error.problems
        ]
        return found, ""
    return [_warning(text) for text in configuration.warnings], configuration.digest[:12]


def _warning(text: str) -> dict[str, Any]:
    match = _WARNING.match(text.removesuffix(" (warning)"))
    if match is None:
        return {"line": 1, "column": 1, "path": "", "message": redacted(text), "level": "warning"}
    line, column, path, message = match.groups()
    where = {"line": int(line), "column": int(column), "path": path or ""}
    return {**where, "message": redacted(message), "level": "warning"}
