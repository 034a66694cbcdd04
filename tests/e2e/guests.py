"""Guests with made-up cards and tickets, and the NDJSON that brings them into the gateway's directory."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Iterator
from typing import NamedTuple

_HEX_RUN = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{10}(?![0-9A-Fa-f])")
_CODE = re.compile(r"(?=(QZ[A-Z0-9]{14}))")
# Not inside a hash or a time: there any digits may stand.
_DIGIT_RUN = re.compile(r"(?<![0-9A-Za-z.])\d{8,13}(?![0-9A-Za-z])")


class Guest(NamedTuple):
    """Someone with one card or code and one ticket."""

    holder: str
    technology: str
    value: str

    @property
    def credential(self) -> dict[str, str]:
        """What a networked reader sends of them."""
        return {"technology": self.technology, "value": self.value}


class Guests:
    """A supply of guests: half with a ticket for one use, half with one for any number; each test takes fresh ones."""

    def __init__(self, count: int = 120, seed: int = 20260701) -> None:
        self._random = random.Random(seed)
        self._number = 0
        self._rows: list[dict[str, object]] = []
        self._free: dict[tuple[str, int | None], list[Guest]] = {}
        self.values: set[str] = set()
        for technology in ("em4100", "barcode"):
            for uses in (1, None):
                self._free[technology, uses] = [self.add(technology, uses) for _ in range(count)]

    def add(self, technology: str, uses: int | None, **entitlement: object) -> Guest:
        """Put one more guest into the directory to be imported."""
        guest = self.stranger(technology)
        ticket = {"id": f"ticket-{guest.holder}", "holder": guest.holder, "zones": ["hall"], **entitlement}
        self._rows.append({"type": "credential", "holder": guest.holder, **guest.credential})
        self._rows.append({"type": "entitlement", **ticket, **({"uses": uses} if uses else {})})
        return guest

    def enlist(self, technology: str, value: str, kind: str | None = None) -> Guest:
        """Put a guest with this very card into the directory to be imported, with a ticket for any number of uses."""
        self._number += 1
        guest = Guest(f"guest-{self._number}", technology, value)
        ticket = {"id": f"ticket-{guest.holder}", "holder": guest.holder, "zones": ["hall"]}
        self._rows.append(
            {"type": "credential", "holder": guest.holder, **guest.credential, **({"kind": kind} if kind else {})}
        )
        self._rows.append({"type": "entitlement", **ticket})
        return guest

    def stranger(self, technology: str = "em4100") -> Guest:
        """Someone whom no directory knows."""
        self._number += 1
        value = f"{self._random.getrandbits(40):010X}" if technology == "em4100" else self._code()
        self.values.add(value)
        return Guest(f"guest-{self._number}", technology, value)

    def tag(self, uses: int | None = 1) -> Guest:
        """A guest with a wristband nobody has used yet; `uses` is 1, or None for a ticket without a limit."""
        return self._free["em4100", uses].pop()

    def code(self, uses: int | None = 1) -> Guest:
        """A guest with a code nobody has used yet."""
        return self._free["barcode", uses].pop()

    def rows(self) -> Iterator[str]:
        """The lines of the NDJSON file."""
        return (json.dumps(row) for row in self._rows)

    def found_in(self, text: str) -> list[str]:
        """Every card number or code of a guest that stands in `text`."""
        tags = {value: value for value in self.values if len(value) == 10}
        tags |= {str(int(value, 16)): value for value in tags}
        tags |= {str(int(value[2:10], 16)): value for value in tags.values()}
        runs = {match[0].upper() for match in _HEX_RUN.finditer(text)} | set(_DIGIT_RUN.findall(text))
        return [tags[run] for run in runs & tags.keys()] + sorted(set(_CODE.findall(text)) & self.values)

    def _code(self) -> str:
        return "QZ" + "".join(self._random.choices(string.ascii_uppercase + string.digits, k=14))
