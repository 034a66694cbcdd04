"""Several venues that hold allowances of the same wallets, and a network to upstream that does its worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec

from gateway.domain.allowance_events import AllowanceBookOpened
from gateway.domain.allowances import Grant, ended, received, spend_until_ms, statement
from gateway.domain.ledger import WALLET, wallet
from gateway.domain.wallet import Policy
from simulators.allowances import Treasury
from tests.gateway.domain.wallets import Bank

MARGIN_MS = 500
DURATION_MS = 4_000
POLICY = Policy(currency="EUR", upstream=True, hold_timeout_ms=900, allowance_margin_ms=MARGIN_MS)
SPENDING = {"charge", "tip", "deposit", "capture", "close_out"}


class CutOffVenue(Bank):
    """One venue. Its clock is apart from true time by `skew_ms`; `truth_ms` is set by whoever plays."""

    def __init__(self, name: str, skew_ms: int = 0, policy: Policy = POLICY) -> None:
        super().__init__(policy)
        self.name = name
        self.skew_ms = skew_ms
        self.record(AllowanceBookOpened(book=name))

    def live(self, truth_ms: int) -> None:
        """Let it become a later moment: holds end, and what is over goes back."""
        self.wait(max(0, truth_ms + self.skew_ms - self.now_ms))
        for holder in list(self.ledger.allowances):
            self.record(*ended(self.ledger, self.policy, holder, self.now_ms))

    def take(self, message: Mapping[str, Any]) -> None:
        self.record(*received(self.ledger, self.policy, as_grant(message), self.now_ms))

    def says(self, holder: str, wanted_minor: int = 0) -> dict[str, Any]:
        said = statement(self.ledger, self.policy, holder, wanted_minor)
        return msgspec.json.decode(msgspec.json.encode(said))

    def spend_until(self, holder: str) -> int:
        return spend_until_ms(self.policy, self.ledger.allowance(holder))

    def own_money(self) -> int:
        return sum(one.balance_minor for name, one in self.ledger.accounts.items() if name.startswith(WALLET))


def as_grant(message: Mapping[str, Any]) -> Grant:
    """A grant as it comes off the wire."""
    return msgspec.json.decode(msgspec.json.encode(message), type=Grant)


class Network:
    """Loses, repeats, delays and reorders. A venue that is cut off hears nothing and is not heard."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.under_way: list[tuple[str, Callable[[], None]]] = []
        self.cut: set[str] = set()

    def send(self, venue: str, deliver: Callable[[], None]) -> None:
        copies = self.random.choice((0, 1, 1, 1, 2, 3))
        self.under_way += [(venue, deliver)] * copies

    def deliver_some(self) -> None:
        for _ in range(self.random.randint(0, 4)):
            if self.under_way:
                place = self.random.randrange(len(self.under_way))
                venue, deliver = self.under_way[place]
                if venue not in self.cut:
                    del self.under_way[place]
                    deliver()


class Fleet:
    """Upstream, its venues and the network: one random schedule."""

    def __init__(self, seed: int, venues: int = 3, skew_ms: int = 0) -> None:
        self.random = random = Random(seed)
        self.treasury = Treasury({"ada": 5_000, "bob": 1_200}, duration_ms=DURATION_MS, margin_ms=MARGIN_MS)
        self.total_minor = 6_200
        self.venues = [CutOffVenue(f"venue-{n}", random.randint(-skew_ms, skew_ms)) for n in range(venues)]
        self.network = Network(random)
        self.now_ms = 1_000_000
        self.spent_minor = self.brought_minor = self.refused = self.paid = 0

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            self.check()

    def step(self) -> None:
        random = self.random
        self.now_ms += random.choice((0, 1, 20, 300, 900))
        venue = random.choice(self.venues)
        venue.live(self.now_ms)
        holder = random.choice(("ada", "ada", "bob"))
        match random.randrange(12):
            case 0 | 1 | 2 | 3 | 4:
                self.guest(venue, holder)
            case 5 | 6 | 7:
                self.say(venue, holder, random.choice((0, 0, 400, 3_000)))
            case 8:
                self.tell(venue, self.treasury.grant(venue.name, holder, random.choice((1, 500, 9_000)), self.now_ms))
            case 9:
                self.tell(venue, self.treasury.recall(venue.name, holder, random.choice((1, 300, 9_000))))
            case 10:
                self.tell(venue, self.treasury.terms(venue.name, holder))
            case _:
                self.network.cut ^= {venue.name}
        self.network.deliver_some()

    def guest(self, venue: CutOffVenue, holder: str) -> None:
        random = self.random
        action = random.choice(
            ("charge", "charge", "charge", "hold", "capture", "tip", "top_up", "refund", "close_out")
        )
        given: dict[str, Any] = {"amount_minor": random.choice((1, 90, 450, 1_300, 2_600))}
        if action == "capture":
            holds = sorted(venue.ledger.holds)
            if not holds:
                return
            given["of"] = random.choice(holds)
            holder = venue.ledger.holds[given["of"]].holder
        if action == "refund":
            charges = sorted(key for key, one in venue.ledger.transfers.items() if one.refundable_minor)
            if not charges:
                return
            given["of"] = random.choice(charges)
            holder = venue.ledger.transfers[given["of"]].holder
        if action == "close_out":
            given = {}
        before_minor = venue.balance(holder)
        verdict = venue.ask(holder, action, **given)
        if not isinstance(verdict, list):
            self.refused += 1
            return
        moved_minor = before_minor - venue.balance(holder)
        self.paid += action in SPENDING
        self.spent_minor += moved_minor if action in SPENDING else 0
        self.brought_minor -= moved_minor if action in ("top_up", "refund") else 0

    def say(self, venue: CutOffVenue, holder: str, wanted_minor: int) -> None:
        said = venue.says(holder, wanted_minor)
        self.network.send(venue.name, lambda: self.tell(venue, self.treasury.heard(said, self.now_ms)))

    def tell(self, venue: CutOffVenue, message: Mapping[str, Any]) -> None:
        self.network.send(venue.name, lambda: venue.take(message))

    def reconcile(self) -> None:
        """Everyone is back, and all that has to be said is heard."""
        self.network.cut.clear()
        self.network.under_way.clear()
        self.now_ms += 100 * DURATION_MS
        for venue in self.venues:
            venue.live(self.now_ms)
            for holder in ("ada", "bob"):
                venue.take(self.treasury.terms(venue.name, holder))
                venue.live(self.now_ms)
                venue.take(self.treasury.heard(venue.says(holder), self.now_ms))
                assert venue.ledger.allowance(holder).settled

    # What must be true.

    def check(self) -> None:
        free_minor = sum(self.treasury.free_minor.values())
        assert min(self.treasury.free_minor.values()) >= 0
        on_the_way = 0
        for venue in self.venues:
            for holder in ("ada", "bob"):
                part, own = self.treasury.parts.get((venue.name, holder)), venue.ledger.allowance(holder)
                account = venue.account(wallet(holder))
                assert 0 <= own.left_minor <= account.balance_minor
                assert 0 <= account.held_minor <= account.balance_minor
                if part is not None:
                    on_the_way += part.granted_minor - own.granted_minor + own.returned_minor - part.returned_minor
            venue.ledger.check()
            assert venue.ledger.imbalance_minor == 0
        there_minor = free_minor + on_the_way + sum(venue.own_money() for venue in self.venues)
        # Never a cent over, and never a cent lost: what is there and what was spent is what there was.
        assert there_minor + self.spent_minor - self.brought_minor == self.total_minor
        assert self.spent_minor - self.brought_minor <= self.total_minor
