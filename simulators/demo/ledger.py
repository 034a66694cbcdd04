"""Who is inside and which receipts wait, read off the journal as any client can."""

from __future__ import annotations

from collections import Counter

from simulators.demo.listening import ControlRoom, Message

JOB_ENDS = ("print.done", "print.failed", "print.unknown")


class Ledger:
    """Follows the control room's events; `follow()` takes in what is new."""

    def __init__(self, room: ControlRoom) -> None:
        self._room = room
        self._seq = 0
        self.inside: dict[str, str] = {}
        self.jobs: dict[str, tuple[str, str]] = {}
        self.counts: Counter[str] = Counter()

    def follow(self) -> list[Message]:
        """Take in the new entries, and return them."""
        fresh = [entry for entry in self._room.events if entry["seq"] > self._seq]
        for entry in fresh:
            self._seq = entry["seq"]
            self.counts[entry["kind"]] += 1
            if entry["kind"].startswith("entry."):
                self._move(entry)
            elif entry["kind"].startswith("print."):
                self._print(entry)
        return fresh

    def waiting(self, printer: str) -> list[str]:
        """How each open job of a printer is: `queued`, `started` or `held`."""
        return [status for owner, status in self.jobs.values() if owner == printer]

    def _move(self, entry: Message) -> None:
        if entry["kind"] in ("entry.granted", "entry.returned"):
            if entry.get("zone"):
                self.inside[entry["holder"]] = entry["zone"]
            else:
                self.inside.pop(entry["holder"], None)

    def _print(self, entry: Message) -> None:
        if entry["kind"] in JOB_ENDS:
            self.jobs.pop(entry["job"], None)
        elif entry["kind"] != "print.cancelled":
            self.jobs[entry["job"]] = (entry["printer"], entry["kind"].removeprefix("print."))
