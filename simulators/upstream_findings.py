"""The reference upstream's findings: a ticket for one entry that two venues let in, told to both of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

Finding = dict[str, Any]
GRANTED = "venue.entry.granted"
FINDINGS_MAX = 500


def venue_of(source: str) -> str:
    """Return the venue of a journal's `source`."""
    return source.split("/")[2]


class FindingsOfAll:
    """What was found, for each venue in order. `single_use` says whether an entitlement admits once in all."""

    def __init__(self, single_use: Callable[[str, str], bool]) -> None:
        """Begin with nothing found."""
        self._single_use = single_use
        self._found: dict[str, list[Finding]] = {}
        self._entries: dict[tuple[str, str], tuple[str, int]] = {}
        self._changed = asyncio.Event()

    def saw(self, lines: Iterable[bytes]) -> None:
        """Look at events that are new, whole CloudEvents."""
        for line in lines:
            if f'"{GRANTED}"'.encode() in line:
                self._entered(json.loads(line))

    def _entered(self, event: dict[str, Any]) -> None:
        holder, entitlement = event["data"].get("holder", ""), event["data"].get("entitlement", "")
        if not entitlement or not self._single_use(holder, entitlement):
            return
        here = event["source"], int(event["sequence"])
        first = self._entries.setdefault((holder, entitlement), here)
        if venue_of(first[0]) != venue_of(here[0]):
            self._add(here, first)
            self._add(first, here)

    def _add(self, own: tuple[str, int], other: tuple[str, int]) -> None:
        source, sequence = own
        finding = {"id": f"entry/{source}/{sequence}", "what": "entered_elsewhere", "source": source}
        self.add(venue_of(source), {**finding, "sequence": sequence, "elsewhere": venue_of(other[0])})

    def add(self, venue: str, finding: Finding) -> None:
        """Tell a venue of something; once."""
        known = self._found.setdefault(venue, [])
        if all(one["id"] != finding["id"] for one in known):
            known.append(finding)
            self._changed.set()
            self._changed = asyncio.Event()

    async def since(self, venue: str, after: int, wait_s: float) -> dict[str, Any] | None:
        """Return what was found after a number, waiting for it; None when nothing is in time."""
        if after >= len(self._found.get(venue, ())):
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                return None
        given = self._found.get(venue, [])[after : after + FINDINGS_MAX]
        return {"after": after, "cursor": after + len(given), "findings": given} if given else None
