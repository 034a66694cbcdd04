"""What was decided while upstream was out of reach, counted up from the journal. Pure: facts in, a report out.

Nothing in a report names a guest or a card: it is counts, amounts, places and the numbers of journal entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain import upstream_events as u
from gateway.domain import wallet_events as w
from gateway.domain.ledger import UPSTREAM, WALLET

LISTED_MAX = 200
"""So many single things of one kind are named in a report; all of them are counted (I9)."""

Kind: TypeAlias = Literal["allowance", "offline_limit", "own", "none"]
"""Whose risk it was: granted before by upstream, within the venue's offline limits, a wallet that the venue keeps
itself, or no wallet at all."""


class Outage(msgspec.Struct, frozen=True):
    """A stretch of the journal that a sink did not have: after `after_seq`, up to `through_seq`.

    `until_ms` is None while it goes on. `told` is False where somebody named the stretch and no outage is known.
    """

    sink: str
    after_seq: int
    through_seq: int
    since_ms: int
    until_ms: int | None = None
    told: bool = True


class Entries(msgspec.Struct):
    """Guests at the gates. `granted` ended as passed, returned or unknown, or has no outcome of its own."""

    granted: int = 0
    passed: int = 0
    returned: int = 0
    unknown: int = 0
    overridden: int = 0
    clock_untrusted: int = 0


class Exposure(msgspec.Struct):
    """Money of one currency and one kind of wallet, in minor units; every amount is zero or more.

    `spent_minor` left wallets for sales, tips and deposits, `given_back_minor` came back from there. `paid_in_minor`
    and `paid_out_minor` were exchanged for cash, card or voucher, `moved_minor` went from one wallet to another. Of
    sales without a wallet `spent_minor` is what was paid. `held_minor` was reserved and not yet taken or released.
    """

    transfers: int = 0
    spent_minor: int = 0
    given_back_minor: int = 0
    paid_in_minor: int = 0
    paid_out_minor: int = 0
    moved_minor: int = 0
    held_minor: int = 0

    @property
    def exposed_minor(self) -> int:
        """What has left wallets, on balance, without upstream's knowing."""
        return self.spent_minor - self.given_back_minor + self.paid_out_minor - self.paid_in_minor + self.held_minor


class Unknown(msgspec.Struct, frozen=True):
    """Something whose outcome nobody can say: entry `seq` of the journal, at a gate, printer or drawer."""

    seq: int
    what: Literal["entry", "print_job", "drawer_opening"]
    where: str


class Clash(msgspec.Struct, frozen=True):
    """What does not go together with what others know: entry `seq` of the journal, and what is wrong with it."""

    seq: int
    what: str
    elsewhere: str = ""


class Report(msgspec.Struct):
    """All that `venue-gateway reconcile` tells. `exposure` is by currency and kind; `more` is what is not listed."""

    venue: str
    outage: Outage
    events: int = 0
    first_seq: int = 0
    entries: Entries = msgspec.field(default_factory=Entries)
    gates: dict[str, int] = msgspec.field(default_factory=dict)
    exposure: dict[str, dict[Kind, Exposure]] = msgspec.field(default_factory=dict)
    redeemed: int = 0
    denied: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    over_entries: list[Clash] = msgspec.field(default_factory=list)
    conflicts: list[Clash] = msgspec.field(default_factory=list)
    unknown: list[Unknown] = msgspec.field(default_factory=list)
    more: dict[str, int] = msgspec.field(default_factory=dict)


def outages(told: Sequence[tuple[int, int, u.UpstreamEvent]], last_seq: int, sink: str) -> list[Outage]:
    """Return every outage of a sink, oldest first, from (seq, at_ms, fact); the last may still go on.

    An outage whose beginning has been pruned is known by its end.
    """
    found: list[Outage] = []
    lost: u.UpstreamLost | None = None
    for seq, at_ms, fact in told:
        if isinstance(fact, u.UpstreamLost) and fact.sink == sink:
            lost = fact
        elif isinstance(fact, u.UpstreamRegained) and fact.sink == sink:
            found.append(Outage(sink, fact.after_seq, seq - 1, fact.since_ms, at_ms))
            lost = None
    if lost is not None:
        found.append(Outage(sink, lost.through_seq, last_seq, lost.since_ms))
    return found


class Reconciliation:
    """Counts one outage. `add` takes the facts of its stretch, in order; `found` what was learnt of them later."""

    def __init__(self, venue: str, outage: Outage, *, kept_upstream: bool = False) -> None:
        """Begin with nothing counted; `kept_upstream` says that upstream keeps the wallets."""
        self._kept_upstream = kept_upstream
        self._outage = outage
        self._report = Report(venue=venue, outage=outage)
        self._gates: Counter[str] = Counter()
        self._denied: dict[str, Counter[str]] = {}
        self._holds: dict[str, tuple[str, Kind, int]] = {}

    def add(self, seq: int, event: e.AnyEvent) -> None:
        """Count one fact of the stretch."""
        report = self._report
        report.events += 1
        report.first_seq = report.first_seq or seq
        match event:
            case e.EntryGranted() | e.EntryPassed() | e.EntryReturned():
                self._entered(event)
            case e.EntryDenied() | w.WalletDenied() | r.RedemptionDenied():
                what = str(type(event).__struct_config__.tag).partition(".")[0]
                self._denied.setdefault(what, Counter())[str(event.reason)] += 1
            case e.EntryUnknown() | e.PrintUnknown() | e.DrawerUnknown():
                self._unknown(seq, event)
            case w.WalletTransferred():
                self._transferred(event)
            case w.WalletHeld() | w.WalletHoldEnded():
                self._held(event)
            case r.RedemptionMade() if event.used:
                report.redeemed += 1
            case _:
                pass

    def found(self, fact: u.UpstreamEvent) -> None:
        """Take in what upstream found, or refused, of this stretch; what is about another one is passed over."""
        if isinstance(fact, u.UpstreamFound) and self._within(fact.event_seq):
            clash = Clash(fact.event_seq, fact.what, fact.elsewhere)
            if fact.what == "entered_elsewhere":
                self._list(self._report.over_entries, clash, "over_entries")
            else:
                self._list(self._report.conflicts, clash, "conflicts")
        elif isinstance(fact, u.EventSetAside) and fact.sink == self._outage.sink and self._within(fact.event_seq):
            self._list(self._report.conflicts, Clash(fact.event_seq, "refused_by_upstream", fact.sink), "conflicts")

    def report(self) -> Report:
        """Return what was counted, in an order that is always the same."""
        report = self._report
        for currency, kind, amount_minor in self._holds.values():
            self._exposure(currency, kind).held_minor += amount_minor
        self._holds = {}
        report.gates = dict(sorted(self._gates.items()))
        report.denied = {what: dict(sorted(words.items())) for what, words in sorted(self._denied.items())}
        report.exposure = {currency: dict(sorted(kinds.items())) for currency, kinds in sorted(report.exposure.items())}
        return report

    def _within(self, seq: int) -> bool:
        return self._outage.after_seq < seq <= self._outage.through_seq

    def _entered(self, event: e.EntryGranted | e.EntryPassed | e.EntryReturned) -> None:
        entries = self._report.entries
        if isinstance(event, e.EntryGranted):
            entries.granted += 1
            entries.overridden += bool(event.override_by)
            entries.clock_untrusted += event.clock == "untrusted"
            self._gates[event.gate] += 1
        elif isinstance(event, e.EntryPassed):
            entries.passed += 1
        else:
            entries.returned += 1

    def _unknown(self, seq: int, event: e.EntryUnknown | e.PrintUnknown | e.DrawerUnknown) -> None:
        if isinstance(event, e.EntryUnknown):
            self._report.entries.unknown += 1
            one = Unknown(seq, "entry", event.gate)
        elif isinstance(event, e.PrintUnknown):
            one = Unknown(seq, "print_job", event.printer)
        else:
            one = Unknown(seq, "drawer_opening", event.drawer)
        self._list(self._report.unknown, one, "unknown")

    def _held(self, event: w.WalletHeld | w.WalletHoldEnded) -> None:
        if isinstance(event, w.WalletHoldEnded):
            self._holds.pop(event.transfer, None)
            return
        kind: Kind = "offline_limit" if self._kept_upstream or event.spent is not None else "own"
        self._holds[event.transfer] = (event.currency, kind, event.amount_minor)

    def _list(self, listed: list[Clash] | list[Unknown], one: Clash | Unknown, name: str) -> None:
        if len(listed) < LISTED_MAX:
            listed.append(one)  # type: ignore[arg-type]  # each list is only ever handed its own kind
        else:
            self._report.more[name] = self._report.more.get(name, 0) + 1

    def _exposure(self, currency: str, kind: Kind) -> Exposure:
        return self._report.exposure.setdefault(currency, {}).setdefault(kind, Exposure())

    def _transferred(self, event: w.WalletTransferred) -> None:
        if event.action in {"opening", "grant", "return"}:
            # Upstream's own doing.
            return
        if event.action == "capture" and event.of is not None:
            self._holds.pop(event.of, None)
        counted = self._exposure(event.currency, self._kind(event))
        counted.transfers += 1
        for leg in event.legs:
            _count(counted, leg)

    def _kind(self, event: w.WalletTransferred) -> Kind:
        """Return whose risk a transfer was."""
        if not any(account.startswith(WALLET) for leg in event.legs for account in (leg.debit, leg.credit)):
            return "none"
        if event.allowance is not None:
            return "allowance"
        return "offline_limit" if self._kept_upstream or event.spent is not None else "own"


_OUTSIDE = ("cash:", "card:", "voucher:")


def _count(counted: Exposure, leg: w.Leg) -> None:
    """Add one movement to what it is: each leg counts exactly once."""
    from_wallet, to_wallet = leg.debit.startswith(WALLET), leg.credit.startswith(WALLET)
    if UPSTREAM in {leg.debit, leg.credit}:
        return
    if from_wallet and to_wallet:
        counted.moved_minor += leg.amount_minor
    elif to_wallet and leg.debit.startswith(_OUTSIDE):
        counted.paid_in_minor += leg.amount_minor
    elif from_wallet and leg.credit.startswith(_OUTSIDE):
        counted.paid_out_minor += leg.amount_minor
    elif to_wallet or leg.credit.startswith(_OUTSIDE):
        counted.given_back_minor += leg.amount_minor
    else:
        counted.spent_minor += leg.amount_minor
