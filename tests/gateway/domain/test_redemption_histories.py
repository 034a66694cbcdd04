"""Whatever is redeemed and undone, in whatever order: never more than was sold, and no crash forgets anything (I4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain import entitlements as rules
from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain.access import Entitlement, ZoneMap
from gateway.domain.entitlements import Purse, Refusal
from gateway.domain.state import VenueState
from tests.gateway.domain.samples import rebuilt, snapshot

UTC = ZoneInfo("UTC")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SOLD = (
    Entitlement("two-drinks", "anna", (), uses_total=2, item="drink"),
    Entitlement("soon-over", "anna", (), valid_until_ms=DAY_MS, uses_total=1, item="drink"),
    Entitlement("a-coat", "anna", (), uses_total=1, item="cloakroom"),
    Entitlement("meals", "anna", (), uses_total=4, uses_per_day=2, item="meal"),
    Entitlement("water", "anna", (), item="water"),
    Entitlement("ticket", "anna", ("hall",), uses_total=1),
)
LIMITS = {one.id: one.uses_total for one in SOLD}
often = settings(max_examples=max(300, settings().max_examples))

lines = st.lists(
    st.builds(
        r.Line,
        item=st.sampled_from(["drink", "cloakroom", "meal", "water", "ticket"]),
        entitlement=st.sampled_from(["", "", "", "two-drinks"]),
        count=st.integers(1, 4),
    ),
    max_size=3,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("redeem"), lines),
        st.tuples(st.just("undo"), st.tuples(st.integers(0, 5), st.none() | lines)),
        st.tuples(st.just("later"), st.sampled_from([HOUR_MS, DAY_MS])),
    ),
    max_size=25,
)


class Bar:
    """The domain alone; keeps every event, and the stored rows after each."""

    def __init__(self) -> None:
        self.state = VenueState(ZoneMap({}, {}))
        self.now_ms = 1_000
        self.history: list[e.AnyEvent] = []
        self.stored: dict[tuple[str, str], bytes] = {}
        self.rows_after: list[dict[tuple[str, str], bytes]] = [{}]
        self.net: Counter[str] = Counter()
        self.today: Counter[tuple[str, str]] = Counter()

    def play(self, history: Sequence[tuple[str, object]]) -> None:
        for verb, about in history:
            match verb, about:
                case "redeem", wanted:
                    self.redeem(wanted)
                case "undo", (place, wanted):
                    self.undo(place, wanted)
                case "later", span_ms:
                    self.now_ms += span_ms

    def redeem(self, wanted: Sequence[r.Line]) -> None:
        purse = Purse(SOLD, self.state.uses, self.state.day_uses, {}, self.now_ms, UTC)
        verdict = rules.decide(wanted, purse)
        if isinstance(verdict, Refusal):
            return
        assert sum(used.count for used in verdict) == sum(line.count for line in wanted)
        for used in verdict:
            self.net[used.entitlement] += used.count
            self.today[used.entitlement, used.day] += used.count
        self.record(
            r.RedemptionMade(
                redemption=f"bar/{len(self.history)}", client="bar", holder="anna", used=verdict, left=purse.left()
            )
        )

    def undo(self, place: int, wanted: Sequence[r.Line] | None) -> None:
        made = list(self.state.redemptions.made)
        if not made:
            return
        of = made[place % len(made)]
        before = self.state.redemptions.undone.get(of, {})
        redeemed = self.state.redemptions.made[of]
        verdict = rules.undo(redeemed, before, wanted, self.state.uses, self.state.day_uses)
        if isinstance(verdict, Refusal):
            return
        for used in verdict:
            self.net[used.entitlement] -= used.count
            self.today[used.entitlement, used.day] -= used.count
        undone = before | {used.entitlement: before.get(used.entitlement, 0) + used.count for used in verdict}
        taken = {part.entitlement: part.count for part in redeemed.parts}
        assert all(count <= taken[name] for name, count in undone.items())
        self.record(
            r.RedemptionUndone(
                redemption=f"bar/{len(self.history)}",
                of=of,
                client="bar",
                holder="anna",
                given_back=verdict,
                undone=undone,
            )
        )

    def record(self, event: e.AnyEvent) -> None:
        self.history.append(event)
        self.state.apply(event)
        for kind, key in self.state.dirty:
            row = self.state.row(kind, key)
            if row is not None:
                self.stored[kind, key] = row
        self.state.dirty.clear()
        self.rows_after.append(dict(self.stored))


@often
@given(steps)
def test_i04_no_entitlement_is_used_more_often_than_it_was_sold(history: list[tuple[str, object]]) -> None:
    bar = Bar()
    bar.play(history)
    for name, uses in bar.state.uses.items():
        assert 0 <= uses == bar.net[name]
        assert LIMITS[name] is None or uses <= LIMITS[name]
    assert all(count <= 2 for (name, _), count in bar.today.items() if name == "meals")
    assert "ticket" not in bar.state.uses


@often
@given(steps, st.data())
def test_the_journal_gives_the_same_state_to_the_bit_from_every_fold(
    history: list[tuple[str, object]], data: st.DataObject
) -> None:
    bar = Bar()
    bar.play(history)
    # Rows may be newer than the point from which the journal is read again.
    folded = data.draw(st.integers(0, len(bar.history)))
    newer = data.draw(st.integers(folded, len(bar.history)))
    again = rebuilt(bar.state, bar.rows_after[newer])
    for event in bar.history[folded:]:
        again.apply(msgspec.json.decode(msgspec.json.encode(event), type=e.AnyEvent))
    assert snapshot(again) == snapshot(bar.state)


def test_what_ends_first_is_used_first_and_the_last_used_comes_back_first() -> None:
    bar = Bar()
    bar.redeem([r.Line("drink", count=2)])
    assert bar.state.uses == {"soon-over": 1, "two-drinks": 1}
    bar.undo(0, [r.Line("drink")])
    assert {name: uses for name, uses in bar.state.uses.items() if uses} == {"soon-over": 1}


def test_a_day_that_is_over_does_not_come_back() -> None:
    bar = Bar()
    bar.redeem([r.Line("meal", count=2)])
    bar.now_ms += DAY_MS
    bar.redeem([r.Line("meal", count=1)])
    bar.undo(0, None)
    assert bar.state.uses["meals"] == 1
    assert bar.state.day_uses["meals"].uses == 1
