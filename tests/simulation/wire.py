"""Who watches what is said: the feed, the answers and what goes up, each held against what is on disk by then."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tests.simulation.observers import Observers

PROOF = {
    ("accepted", "job"): ("print.queued", "print.held"),
    ("accepted", "opening"): ("drawer.opening",),
    ("done", "entry"): ("entry.granted",),
    ("denied", "entry"): ("entry.denied",),
    ("done", "job"): ("print.done", "print.cancelled"),
    ("failed", "job"): ("print.failed",),
    ("unknown", "job"): ("print.unknown",),
    ("done", "opening"): ("drawer.opened",),
    ("failed", "opening"): ("drawer.failed",),
    ("unknown", "opening"): ("drawer.unknown",),
}
"""What must be on disk before an answer may say so: status and the thing it names → the facts that prove it."""
CONVERSATIONAL = {"retained", "idempotency_conflict", "malformed", "too_large", "not_granted", "unknown_target"}
"""Refusals that speak of the message at hand, not of what became of the request whose id it bears."""


class Wire:
    """Knows what was told to whom, and asks the disk whether it is so."""

    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self.published: dict[int, tuple[str, bytes]] = {}
        self.arrived_seq = 0
        self._finals: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._acknowledged: list[tuple[float, int]] = []
        self._feed_floor = 0
        self._feed_begun = False

    def told(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """The gateway begins to send a message."""
        name, observers = topic.partition("/sim/")[2], self._observers
        observers.seen(name, payload)
        # Errors of the disk name its files, which are no part of the run.
        observers.note("told", name, payload.replace(observers.folder, b""), retain)
        if name == "events":
            entries = msgspec.json.decode(payload)
            self._check_resumption(entries[0]["seq"])
            for entry in entries:
                self._check_told(entry)
        elif name.startswith("clients/") and name.endswith("/responses"):
            self._check_answer(name.split("/")[1], msgspec.json.decode(payload))

    def told_upstream(self, events: list[dict[str, Any]], parts: Collection[bytes]) -> None:
        """The gateway begins to send these CloudEvents up: each is a row that is on disk, in its own words."""
        for part in parts:
            self._observers.seen("an event that went up", part)
        for event in events:
            seq = int(event["sequence"])
            row = self._observers.rows.get(seq)
            if seq > self._observers.durable_seq or row is None:
                self._observers.violated("I1", f"row {seq} went up and is not on disk")
            elif event["id"].replace("-", "") != row.id.hex() or event["data"] != self._observers.events[seq]:
                self._observers.violated("I5", f"row {seq} went up with another id or other words than are on disk")
        self._observers.note("up", [event["sequence"] for event in events])

    def _check_resumption(self, seq: int) -> None:
        """A new life begins the feed where its cursor is, and that is at most some seconds old."""
        if not self._feed_begun and seq <= self._feed_floor:
            what = f"the feed began again at row {seq}, and row {self._feed_floor} was acknowledged long before"
            self._observers.violated("I5", what)
        self._feed_begun = True

    def life_ended(self, cursors_older_s: float | None) -> None:
        """Where the next life may begin the feed at the earliest: what was acknowledged so long ago is on disk.

        None for a death after which nothing is known of the cursor.
        """
        if cursors_older_s is not None:
            until_s = self._observers.timeline.now_s - cursors_older_s
            self._feed_floor = max([self._feed_floor, *(seq for at_s, seq in self._acknowledged if at_s <= until_s)])
        self._acknowledged.clear()
        self._feed_begun = False

    def _check_told(self, entry: dict[str, Any]) -> None:
        seq = entry["seq"]
        row = self._observers.rows.get(seq)
        if seq > self._observers.durable_seq or row is None:
            self._observers.violated("I1", f"row {seq} was published and is not on disk")
            return
        identity = entry["id"], row.body
        if row.id.hex() != entry["id"].replace("-", "") or self.published.setdefault(seq, identity) != identity:
            self._observers.violated("I5", f"row {seq} was published under another id")
        event = entry.copy()
        for name in ("seq", "id", "at"):
            event.pop(name, None)
        if event != self._observers.events[seq]:
            self._observers.violated("I5", f"row {seq} was published with other words than are on disk")

    def arrived(self, seqs: list[int]) -> None:
        """The broker has these rows of the feed, and with it every subscriber."""
        if seqs[0] > self.arrived_seq + 1 or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            self._observers.violated("I5", f"the feed went from row {self.arrived_seq} to {seqs[0]}")
        self._observers.stats["feed repeats"] += seqs[0] <= self.arrived_seq
        self.arrived_seq = max(self.arrived_seq, seqs[-1])

    def _check_answer(self, client: str, answer: dict[str, Any]) -> None:
        key = client, answer["id"]
        self._observers.stats[f"answer {answer['status']}"] += 1
        if (asked := self._observers.asked.get(key)) is not None:
            asked.answers.append(answer)
        for entry in answer.get("data", {}).get("entries", ()):
            self._check_told(entry)
        thing = next((name for name in ("entry", "job", "opening") if name in answer.get("data", {})), None)
        if thing is not None:
            self._check_proof(key, answer, thing)
        self._check_final(key, answer, thing)
        self._observers.money.answered(key, answer)

    def _check_proof(self, key: tuple[str, str], answer: dict[str, Any], thing: str) -> None:
        """What an answer says of an entry, a job or an opening stands on the disk."""
        status, named = answer["status"], answer["data"][thing]
        kinds = {event["kind"] for event in self._observers.by_request.get(key, ()) if event.get(thing) == named}
        if not kinds.intersection(PROOF.get((status, thing), ())) and answer.get("reason") != "wrong_job_state":
            self._observers.violated("I1", f"{key} was answered {status} of {thing} and nothing on disk says so")

    def _check_final(self, key: tuple[str, str], answer: dict[str, Any], thing: str | None) -> None:
        """Once told what became of it, a client is never told anything else."""
        status, reason = answer["status"], answer.get("reason")
        if reason == "storage_unavailable" and thing is None:
            if self._observers.has_effect(key):
                self._observers.violated("I2", f"{key} was told that nothing was stored, and its effect is on disk")
        elif status == "denied" and thing != "entry":
            # Such a refusal is nowhere recorded, so the same request may find a better moment later; but not once done.
            if key in self._finals and reason not in CONVERSATIONAL:
                self._observers.violated("I2", f"{key} was answered {self._finals[key]} and then {reason}")
        elif status != "accepted" and thing is not None:
            final = status, reason, answer["data"][thing]
            if self._finals.setdefault(key, final) != final:
                self._observers.violated("I2", f"{key} was answered {self._finals[key]} and then {final}")

    def acknowledged_feed(self, last_seq: int) -> None:
        """The gateway's side has the broker's acknowledgement of the feed up to `last_seq`."""
        self._acknowledged.append((self._observers.timeline.now_s, last_seq))


class _Numbered(msgspec.Struct):
    seq: int


_decode_numbered = msgspec.json.Decoder(list[_Numbered]).decode


def feed_seqs(payload: bytes) -> list[int]:
    """The numbers in a message of the feed."""
    return [entry.seq for entry in _decode_numbered(payload)]
