"""Guests at the gates and thin clients on the network: patient, hasty, confused and hostile ones."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from tests.simulation import venue
from tests.simulation.broker import Broker
from tests.simulation.devices import TECHNOLOGY, Board, Reader
from tests.simulation.observers import Asked, Observers
from tests.simulation.timeline import Timeline

WALK_S = (0.05, 0.6)
LINGER_S = (0.1, 0.8)


class Guests:
    """Hold cards to readers, and walk through a gate when it opens, or do not."""

    def __init__(
        self, timeline: Timeline, random: Random, observers: Observers, readers: dict[str, Reader], boards: list[Board]
    ) -> None:
        self.timeline = timeline
        self.random = random
        self.observers = observers
        self.readers = readers
        self.patient = False
        self.place = {gate: (board, channel) for board in boards for channel, gate in board.gates.items()}
        for board in boards:
            board.on_opened = self.opened

    def tap(self) -> None:
        """One guest at one reader, or the same ticket at two of them at once."""
        random = self.random
        name = random.choice(list(self.readers))
        card = self.card()
        self.readers[name].tap(card)
        if random.random() < 0.25:
            self.observers.faults.count("people", "one ticket at two gates")
            others = [one for one in self.readers if one != name]
            again = random.choice([card, card, *venue.COPIED_CARDS])
            delay_s = random.choice((0.0, 0.0, 0.0005, 0.003))
            self.timeline.after(delay_s, self.readers[random.choice(others)].tap, again)

    def card(self) -> str:
        random = self.random
        kind = random.random()
        if kind < 0.55:
            return random.choice(venue.SINGLE_CARDS)
        if kind < 0.75:
            return random.choice(venue.STAFF_CARDS)
        if kind < 0.9:
            return random.choice(venue.TIMED_CARDS)
        return random.choice((*venue.COPIED_CARDS, venue.BLOCKED_CARD, venue.UNKNOWN_CARD, venue.LATE_CARD))

    def opened(self, gate: str, entry: str | None) -> None:
        if self.patient or self.random.random() < 0.8:
            board, channel = self.place[gate]
            if channel in board.contacts:
                walk_s = self.random.uniform(*WALK_S)
                linger_s = self.random.uniform(*LINGER_S)
                if not self.patient and self.random.random() < 0.06:
                    linger_s = 5.0
                self.timeline.after(walk_s, board.contact, channel, True)
                self.timeline.after(walk_s + linger_s, board.contact, channel, False)

    def force(self) -> None:
        """Somebody climbs over a gate."""
        self.observers.faults.count("people", "forced a gate")
        gate = self.random.choice(list(self.place))
        board, channel = self.place[gate]
        self.timeline.after(0.0, board.contact, channel, True)
        self.timeline.after(self.random.uniform(*LINGER_S), board.contact, channel, False)


class Clients:
    """Tablets, tills and networked readers. Each request is remembered as it was sent."""

    def __init__(self, timeline: Timeline, random: Random, observers: Observers, broker: Broker) -> None:
        self.timeline = timeline
        self.random = random
        self.observers = observers
        self.broker = broker
        self.jobs: dict[str, list[str]] = {}
        self._count = 0
        broker.on_response = self._hear

    def _hear(self, topic: str, payload: bytes) -> None:
        answer = msgspec.json.decode(payload)
        if answer["status"] == "accepted" and "job" in answer.get("data", {}):
            self.jobs.setdefault(topic.split("/")[3], []).append(answer["data"]["job"])

    def act(self) -> None:
        """One client asks for something, rightly or wrongly."""
        kind = self.random.random()
        if kind < 0.30:
            self.authenticate()
        elif kind < 0.58:
            self.print()
        elif kind < 0.78:
            self.open_drawer()
        elif kind < 0.84:
            self.about_a_job()
        elif kind < 0.92:
            self.trespass()
        elif kind < 0.96:
            self.ask("ops", "gateway", "replay", {"after_seq": self.random.randrange(50), "limit": 20})
        else:
            self.ask("ops", "gateway", "status", {})

    def authenticate(self, value: str | None = None, **how: Any) -> Asked:
        random = self.random
        cards = (*venue.SINGLE_CARDS, *venue.STAFF_CARDS, *venue.STAFF_CARDS, *venue.COPIED_CARDS, venue.UNKNOWN_CARD)
        data = {"credential": {"technology": TECHNOLOGY, "value": value or random.choice(cards)}}
        target = "net" if how or random.random() < 0.8 else "vip"
        return self.ask("turnstile", target, "authenticate", data, **(how or self._manner(moves_metal=True)))

    def print(self, client: str | None = None, printer: str | None = None, **how: Any) -> Asked:
        client = client or self.random.choice(("bar-tablet", "till"))
        printer = printer or ("printer-1" if client == "bar-tablet" else self.random.choice(("printer-1", "printer-2")))
        return self.ask(client, printer, "print", None, **(how or self._manner(moves_metal=False)))

    def open_drawer(self, client: str | None = None, **how: Any) -> Asked:
        client = client or self.random.choice(("bar-tablet", "till"))
        reason = {"reason": self.random.choice(("sale", "change", "count"))}
        return self.ask(client, "drawer-1", "open", reason, **(how or self._manner(moves_metal=True)))

    def about_a_job(self) -> None:
        client = self.random.choice(("bar-tablet", "till"))
        known = self.jobs.get(client)
        job = self.random.choice(known) if known else "no-such-job"
        printer = "printer-1" if client == "bar-tablet" else "printer-2"
        self.ask(client, printer, self.random.choice(("reprint", "cancel", "status")), {"job": job}, expires_in_s=None)

    def trespass(self) -> None:
        """Ask for what is not granted, or send what is no request."""
        random = self.random
        kind = random.random()
        is_request = kind < 0.7
        what = "asked for what is not granted" if is_request else "sent what is no request"
        self.observers.faults.count("people", what)
        if kind < 0.4:
            self.ask("stranger", "drawer-1", "open", {"reason": "mine"}, expires_in_s=10.0)
        elif is_request:
            self.ask("turnstile", "printer-1", "print", None, expires_in_s=None)
        else:
            topic = f"{self.broker.base}/clients/bar-tablet/requests/drawer-1/open"
            payload = random.choice((b"", b"{", b'{"id":7}', b"\xff\xfe", b'{"id":"x","data":' + b"[" * 3000, b"[]"))
            self.broker.publish(topic, payload)

    def _manner(self, *, moves_metal: bool) -> dict[str, Any]:
        """How a request is sent: mostly well, sometimes late, retained, without an end or under an old id."""
        random = self.random
        kind = random.random()
        expires_in_s = random.uniform(0.3, 20.0) if moves_metal else random.choice((None, 2.0, 30.0))
        if kind < 0.7:
            return {"expires_in_s": expires_in_s}
        if kind < 0.78:
            return {"expires_in_s": -random.uniform(0.001, 5.0)}
        if kind < 0.82:
            return {"expires_in_s": 1000.0 if moves_metal else None}
        if kind < 0.86:
            return {"expires_in_s": None}
        if kind < 0.92:
            return {"expires_in_s": expires_in_s, "retain": True}
        return {"expires_in_s": expires_in_s, "reuse": True}

    def ask(
        self,
        client: str,
        target: str,
        verb: str,
        data: Any,
        *,
        expires_in_s: float | None = None,
        retain: bool = False,
        reuse: bool = False,
        repeats: bool = True,
    ) -> Asked:
        """Send a request, now and perhaps again. A reused id is that of another request of the same client."""
        observers, random = self.observers, self.random
        self._count += 1
        request_id = f"r{self._count}"
        mine = [one for one in observers.asked.values() if one.client == client]
        asked = random.choice(mine) if reuse and mine else None
        if asked is not None:
            request_id = asked.id
            observers.faults.count("people", "used an id again")
        if retain:
            observers.faults.count("people", "sent a retained request")
        if expires_in_s is not None and expires_in_s < 0:
            observers.faults.count("people", "sent an expired request")
        if data is None:
            text = f"#{client}/{request_id}# {self._count}"
            data = {"document": {"lines": [{"type": "text", "text": text}, {"type": "cut"}]}}
        envelope: dict[str, Any] = {"id": request_id, "data": data}
        expires_at_ms = None
        if expires_in_s is not None:
            expires_at_ms = envelope["expires_at"] = self.timeline.now_ms + round(expires_in_s * 1000)
        if asked is None:
            asked = Asked(client, request_id, target, verb, expires_at_ms, self.timeline.now_s)
            observers.asked[client, request_id] = asked
        elif expires_at_ms is not None and asked.expires_at_ms is not None:
            # Whichever of the two took effect, neither may after the later end.
            asked.expires_at_ms = max(asked.expires_at_ms, expires_at_ms)
        payload = msgspec.json.encode(envelope)
        topic = f"{self.broker.base}/clients/{client}/requests/{target}/{verb}"
        observers.note("ask", client, request_id, target, verb, expires_in_s)
        self.broker.publish(topic, payload, retain=retain)
        while repeats and random.random() < 0.35:
            observers.faults.count("people", "sent a request twice")
            self.timeline.after(random.choice((0.0, 0.002, 0.3, 2.0, 6.0)), self.broker.publish, topic, payload)
        return asked
