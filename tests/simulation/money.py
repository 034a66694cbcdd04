"""Who watches the money and the orders: a naive account of every leg on disk, and what staff closed and blocked."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.observers import Observers

PAID = ("charge", "tip", "deposit", "capture")
MOVES = ("wallet.transferred", "wallet.held")
PROOF = {
    "accepted": ("wallet.armed",),
    "done": (*MOVES, "wallet.cancelled", "wallet.hold_ended", "wallet.shown"),
    "denied": ("wallet.denied",),
    "failed": ("wallet.failed",),
}
WITHIN = {"vip": ("vip", "hall", ""), "hall": ("hall", ""), "": ("",)}


class Money:
    """Knows nothing of the ledger but its legs."""

    def __init__(self, observers: Observers) -> None:
        self.observers = observers
        self.balances: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.holds: dict[str, dict[str, Any]] = {}
        self.hold_ids: set[str] = set()
        self.ended: set[str] = set()
        self.charged: Counter[str] = Counter()
        self.refunded: Counter[str] = Counter()
        self.moved: set[str] = set()
        self.finals: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.closed: dict[str, str] = {}
        self.blocked: set[tuple[str, str]] = set()
        self.gates: dict[str, tuple[str, str]] = {}

    def on_disk(self, event: dict[str, Any]) -> None:
        """Take a fact that is on disk for good."""
        match event["kind"]:
            case "wallet.transferred":
                self._transferred(event)
            case "wallet.held":
                self._held(event)
            case "wallet.hold_ended":
                self._hold_over(event["transfer"])
            case "credential.blocked":
                self.blocked.add((event.get("credential", ""), event.get("holder", "")))
            case "credential.unblocked":
                self.blocked.discard((event.get("credential", ""), event.get("holder", "")))
            case "zone.locked_down" | "zone.released":
                self.closed[event["zone"]] = event["kind"]
            case "zone.restored":
                self.closed.pop(event["zone"], None)
            case "entry.granted" if "override_by" not in event:
                self._admitted(event)
            case _:
                pass

    def answered(self, key: tuple[str, str], answer: dict[str, Any]) -> None:
        """Take an answer that speaks of a transfer: what it says is on disk, and is never said otherwise later."""
        status, asked = answer["status"], self.observers.asked.get(key)
        if "transfer" not in answer.get("data", {}) or (asked is not None and asked.verb == "balance"):
            return
        kinds = {event["kind"] for event in self.observers.by_request.get(key, ())}
        if not kinds.intersection(PROOF.get(status, ())):
            self.observers.violated("I1", f"{key} was answered {status} of a transfer and nothing on disk says so")
        if status != "accepted":
            final = status, answer.get("reason")
            if self.finals.setdefault(key, final) != final:
                self.observers.violated("I2", f"{key} was answered {self.finals[key]} and then {final}")

    def _transferred(self, event: dict[str, Any]) -> None:
        legs, transfer = event["legs"], event["transfer"]
        self._once(transfer)
        if any(type(leg["amount_minor"]) is not int or leg["amount_minor"] <= 0 for leg in legs):
            self._wrong(f"{transfer} moves what is no amount: {legs}")
        for leg in legs:
            self.balances[leg["debit"]] -= leg["amount_minor"]
            self.balances[leg["credit"]] += leg["amount_minor"]
        if event["action"] == "capture":
            self._captured(event)
        if event["action"] in PAID:
            self.charged[transfer] += event["amount_minor"]
        if event["action"] == "refund":
            self.refunded[event["of"]] += event["amount_minor"]
            if self.refunded[event["of"]] > self.charged[event["of"]]:
                self._wrong(f"more of {event['of']} was given back than was paid")
        for name, balance_minor in event["balances"].items():
            self._check_account(name, balance_minor)
        self._check_payer(event)

    def _check_account(self, name: str, said_minor: int) -> None:
        if said_minor != self.balances[name]:
            self._wrong(f"{name} is said to hold {said_minor}, and by its legs it holds {self.balances[name]}")
        if name.startswith("wallet:") and not 0 <= self.held[name] <= self.balances[name]:
            self._wrong(f"{name} holds {self.balances[name]} with {self.held[name]} reserved")
        if name == "deposits" and self.balances[name] < 0:
            self._wrong("more deposits were returned than were paid")

    def _held(self, event: dict[str, Any]) -> None:
        self._once(event["transfer"])
        name = f"wallet:{event['holder']}"
        self.holds[event["transfer"]] = event
        self.hold_ids.add(event["transfer"])
        self.held[name] += event["amount_minor"]
        self._check_account(name, event["balance_minor"])
        self._check_payer(event)

    def _captured(self, event: dict[str, Any]) -> None:
        hold = self.holds.get(event["of"])
        if hold is None:
            self._wrong(f"{event['of']} was captured and is no open hold")
        elif event["amount_minor"] > hold["amount_minor"]:
            self._wrong(f"more of {event['of']} was captured than was held")
        self._hold_over(event["of"])

    def _hold_over(self, transfer: str) -> None:
        hold = self.holds.pop(transfer, None)
        if hold is not None:
            self.held[f"wallet:{hold['holder']}"] -= hold["amount_minor"]

    def _once(self, transfer: str) -> None:
        if transfer in self.moved:
            self.observers.violated("I2", f"{transfer} moved money twice")
        self.moved.add(transfer)

    # What staff ordered.

    def _is_blocked(self, event: dict[str, Any]) -> bool:
        return (event.get("credential") or "-", "") in self.blocked or ("", event.get("holder", "-")) in self.blocked

    def _check_payer(self, event: dict[str, Any]) -> None:
        if event.get("credential") and self._is_blocked(event):
            self.observers.violated("orders", f"{event['transfer']} was paid by somebody whom staff had blocked")

    def _admitted(self, event: dict[str, Any]) -> None:
        come_from, go_to = self.gates[event["gate"]]
        if self._is_blocked(event):
            self.observers.violated("orders", f"{event['gate']} admitted somebody whom staff had blocked")
        closed = {zone for zone in WITHIN[go_to] if zone in self.closed}
        if go_to and closed:
            self.observers.violated("orders", f"{event['gate']} admitted somebody into {closed}, which is closed")
        released = {zone for zone in WITHIN[come_from] if self.closed.get(zone) == "zone.released"}
        if released:
            self.observers.violated("orders", f"{event['gate']} checked somebody amid the emergency of {released}")

    def _wrong(self, what: str) -> None:
        self.observers.violated("I3", what)
