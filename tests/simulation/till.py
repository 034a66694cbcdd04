"""Tills and staff: what is paid, held, given back and ordered in one run; right, wrong, twice and at the same time."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation import venue
from tests.simulation.devices import TECHNOLOGY
from tests.simulation.observers import Asked

if TYPE_CHECKING:
    from tests.simulation.world import World

CLIENTS = ("bar-tablet", "till")
AMOUNTS_MINOR = (1, 40, 250, 700, 1_200, 2_600)
BAD_AMOUNTS = (0, -1, 10**9, 2.5, "7")
PAYERS = venue.STAFF_CARDS[:3]
"""Few, so that each has something to lose."""
ZONES = ("hall", "vip", None)


class Tills:
    """Whoever asks for money, and whoever gives orders."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        # Some evenings have no bar, so that what is found in those is found as often as ever.
        self.is_open = random.random() < 0.6
        self.actions_max, self.orders_max = (26, 4) if self.is_open else (0, 0)

    def act(self) -> None:
        """Ask for something of a wallet."""
        random, client = self.random, self.random.choice(CLIENTS)
        kind = random.random()
        if kind < 0.3:
            self._pay(client, "top_up", by=random.choice(("cash", "card", "voucher")))
        elif kind < 0.54:
            self._pay(client, "charge", tip_minor=random.choice((0, 0, 50)), deposit_minor=random.choice((0, 200)))
        elif kind < 0.66:
            self._pay(client, "hold")
        elif kind < 0.88:
            self._about(client)
        elif kind < 0.94:
            self._pay(client, random.choice(("tip", "deposit")))
        elif kind < 0.97:
            self._pay(client, "transfer", to=self._shown())
        else:
            self._ask(client, "close_out", {"credential": self._shown()})

    def open(self) -> None:
        """Most guests come with some money."""
        if not self.is_open:
            return
        for card in self.random.sample(PAYERS, self.random.randint(1, len(PAYERS))):
            data = {"amount_minor": 5_000, "by": "card", "credential": {"technology": TECHNOLOGY, "value": card}}
            self._ask("till", "top_up", data, repeats=False)

    def order(self) -> None:
        """Staff order something, and most often take it back soon."""
        random = self.random
        kind, zone = random.random(), random.choice(ZONES)
        data: dict[str, Any] = {"reason": "drill"} | ({"zone": zone} if zone else {})
        if kind < 0.35:
            self._order("lock_down", data, "restore")
        elif kind < 0.5:
            self._order("emergency_release", data, "restore")
        elif kind < 0.8:
            whom = random.choice(({"credential": self._shown()}, {"holder": f"staff-{random.randrange(venue.STAFF)}"}))
            self._order("block", {"reason": "lost", **whom}, "unblock")
        else:
            data = {"reason": "a guest of the house", "credential": self._shown()}
            self.world.clients.ask("staff", "net", "override", data, expires_in_s=random.choice((-1.0, 5.0, 20.0)))

    def mend(self) -> None:
        """Let staff take back all that they ordered."""
        for wait_s in (4.0, 8.0):
            self.world.timeline.after(wait_s, self._take_back_everything)

    def probe(self, well: dict[str, Any]) -> list[Asked]:
        """Ask for what must work at the end."""
        shown = {"credential": {"technology": TECHNOLOGY, "value": venue.PROBE_CARDS[-1]}}
        return [self._ask(client, "top_up", {"amount_minor": 500, "by": "cash", **shown}, **well) for client in CLIENTS]

    def _take_back_everything(self) -> None:
        soon = {"expires_in_s": 10.0, "repeats": False}
        for zone in sorted(self.world.observers.money.closed):
            data = {"reason": "over"} | ({"zone": zone} if zone else {})
            self.world.clients.ask("staff", "gateway", "restore", data, **soon)

    def _order(self, verb: str, data: dict[str, Any], back: str) -> None:
        clients, random = self.world.clients, self.random
        clients.ask("staff", "gateway", verb, data, expires_in_s=random.choice((0.5, 10.0)))
        if random.random() < 0.8:
            later_s = random.uniform(0.01, 3.0)
            self.world.timeline.after(later_s, lambda: clients.ask("staff", "gateway", back, data, expires_in_s=10.0))

    def _shown(self) -> dict[str, str]:
        others = (*venue.STAFF_CARDS, venue.BLOCKED_CARD, venue.UNKNOWN_CARD)
        cards = PAYERS if self.random.random() < 0.9 else others
        return {"technology": TECHNOLOGY, "value": self.random.choice(cards)}

    def _pay(self, client: str, verb: str, **fields: Any) -> None:
        random = self.random
        amount = random.choice(AMOUNTS_MINOR) if random.random() < 0.96 else random.choice(BAD_AMOUNTS)
        data = {"amount_minor": amount, **fields}
        if random.random() < 0.35:
            self._ask(client, verb, {**data, "reader": venue.TILL_READER})
            for _ in range(random.choice((0, 1, 1, 1, 2))):
                wait_s = random.choice((0.0, 0.02, 0.3, 1.5))
                self.world.timeline.after(wait_s, self.world.till_reader.tap, self._shown()["value"])
            return
        if random.random() < 0.05:
            data["currency"] = "CHF"
        self._ask(client, verb, {**data, "credential": self._shown()})

    def _about(self, client: str) -> None:
        """Capture, refund or cancel something of before, also twice at once, of somebody else, or of nobody."""
        random, money = self.random, self.world.observers.money
        if not money.hold_ids and not money.charged:
            self._pay(client, "hold")
            return
        verb = random.choice(("capture", "capture", "refund", "cancel")) if money.hold_ids else "refund"
        of = sorted(money.hold_ids if verb == "capture" else money.charged) or ["till/r0"]
        transfer = random.choice(of)
        if verb == "cancel":
            mine = [one for one in sorted({*money.hold_ids, *of}) if one.startswith(f"{client}/")]
            request = random.choice(mine).partition("/")[2] if mine else "r0"
            self._ask(client, "cancel", {"request": request})
            return
        amount = {"amount_minor": random.choice(AMOUNTS_MINOR)} if random.random() < 0.6 else {}
        for _ in range(random.choice((1, 1, 2))):
            self._ask(client, verb, {"transfer": transfer, **amount})

    def _ask(self, client: str, verb: str, data: dict[str, Any], **how: Any) -> Asked:
        random = self.random
        given = how or {
            "expires_in_s": random.choice((None, None, None, 2.0, 30.0, 30.0, -1.0)),
            "reuse": random.random() < 0.06,
        }
        return self.world.clients.ask(client, "wallet", verb, data, **given)
