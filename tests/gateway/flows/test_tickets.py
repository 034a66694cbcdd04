"""Signed tickets at a gate: admitted unheard of, once, and by no trick twice."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config.schema import Gate
from gateway.domain import events as e
from gateway.domain import zone_events as z
from gateway.domain.access import Entitlement
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.flows.gate import GateFlow
from tests.gateway.domain.signing import Issuer
from tests.gateway.fakes import START_MS, Disk, settle
from tests.gateway.flows.test_entry import UTC, Doors

ISSUER = Issuer()
NAME = "tickets-online:t-1"
LATER = "2027-01-01T00:00:00Z"


class Entrance(Doors):
    """Two doors and a directory that knows the issuer, and of its tickets nothing."""

    def __init__(self, *, disk: Disk | None = None, anti_passback: str = "off") -> None:
        super().__init__(disk=disk, anti_passback=anti_passback)
        self.directory.issuer_keys = (ISSUER.key(),)
        self.flow.configure(self.gates, UTC, "club")

    def scan(self, code: str, gate: str = "north") -> asyncio.Future[None]:
        return self.flow.tap(gate, "barcode", code, f"{gate}-scanner")

    async def once(self, code: str) -> str:
        """Return the decision about a code."""
        before = len(self.decisions())
        self.scan(code)
        await asyncio.sleep(60)
        return self.decisions()[before]


@pytest.fixture
def entrance() -> Entrance:
    return Entrance()


async def test_a_ticket_nobody_has_heard_of_is_admitted_once(entrance: Entrance) -> None:
    code = ISSUER.ticket()
    entrance.scan(code)
    await asyncio.sleep(1)
    entrance.walk_through()
    entrance.scan(code, "south")
    await asyncio.sleep(1)
    assert entrance.decisions() == ["granted", Reason.NO_USES_LEFT]
    granted = entrance.house.events[0]
    assert (granted.holder, granted.entitlement, granted.uses) == (NAME, NAME, 1)


async def test_it_stays_used_when_the_daemon_dies(entrance: Entrance) -> None:
    code = ISSUER.ticket()
    entrance.scan(code)
    await asyncio.sleep(1)
    entrance.walk_through()
    await asyncio.sleep(1)
    await entrance.house.crash()
    assert await Entrance(disk=entrance.house.journal.disk).once(code) is Reason.NO_USES_LEFT


async def test_it_stays_used_when_the_directory_learns_of_it(entrance: Entrance) -> None:
    code = ISSUER.ticket()
    entrance.scan(code)
    await asyncio.sleep(1)
    entrance.walk_through()
    # The directory may give it whatever holder and other tickets: this code stands for this ticket alone.
    listed = Entitlement(NAME, "guest-1", ("hall",), uses_total=1)
    entrance.directory.add_as("barcode", code, "guest-1", Entitlement("other", "guest-1", ("hall",)), listed)
    assert await entrance.once(code) is Reason.NO_USES_LEFT
    entrance.directory.add_as("barcode", code, "guest-1", Entitlement("other", "guest-1", ("hall",)))
    assert await entrance.once(code) is Reason.NO_USES_LEFT


async def test_the_directory_may_change_a_ticket_it_knows(entrance: Entrance) -> None:
    code = ISSUER.ticket(zones=["vip"])
    entrance.directory.add_as("barcode", code, "guest-1", Entitlement(NAME, "guest-1", ("yard",)))
    assert await entrance.once(code) is Reason.WRONG_ZONE
    entrance.directory.add_as("barcode", code, "guest-1", Entitlement(NAME, "guest-1", ("hall",)), state="blocked")
    assert await entrance.once(code) is Reason.BLOCKED


async def test_a_revoked_key_acts_with_the_directory_that_says_so(entrance: Entrance) -> None:
    entrance.directory.issuer_keys = (ISSUER.key(state="revoked"),)
    assert await entrance.once(ISSUER.ticket()) is Reason.AUTHENTICITY_FAILED
    entrance.directory.issuer_keys = ()
    assert await entrance.once(ISSUER.ticket()) is Reason.AUTHENTICITY_FAILED


@pytest.mark.parametrize("fields", [{"valid_until_ms": START_MS - 1}, {"valid_from_ms": START_MS + 10**9}])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("doubt", "decision"),
    [
        (None, Reason.AUTHENTICITY_FAILED),
        (Doubt("deny"), Reason.CLOCK_UNTRUSTED),
        (Doubt("flag"), "granted"),
        (Doubt("last_known"), Reason.AUTHENTICITY_FAILED),
    ],
)
async def test_i10_the_time_of_a_key_goes_by_the_policy_while_nobody_vouches_for_it(
    entrance: Entrance, fields: dict[str, int], listed: bool, doubt: Doubt | None, decision: str
) -> None:
    code = ISSUER.ticket()
    if listed:
        # Of the guest's own nothing depends on the time: it is the key alone.
        entrance.directory.add_as("barcode", code, "guest-1", Entitlement(NAME, "guest-1", ("hall",)))
    entrance.directory.issuer_keys = (ISSUER.key(**fields),)
    entrance.house.recorder.doubt = doubt
    assert await entrance.once(code) == decision


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": "2026-05-28T20:00:00Z"}, Reason.EXPIRED),
        ({"nbf": LATER}, Reason.NOT_YET_VALID),
        ({"zones": ["yard"]}, Reason.WRONG_ZONE),
        ({"zones": ["no-such-zone"]}, Reason.WRONG_ZONE),
        ({"schedule": "no-such-schedule"}, Reason.OUTSIDE_SCHEDULE),
        ({"aud": "stadthalle"}, Reason.WRONG_VENUE),
    ],
)
async def test_a_ticket_is_refused_for_its_one_reason(
    entrance: Entrance, claims: dict[str, object], reason: Reason
) -> None:
    assert START_MS == 1_780_000_000_000, "the times above lie around it: 2026-05-28T20:26:40Z"
    assert await entrance.once(ISSUER.ticket(**claims)) is reason
    assert entrance.house.state.uses == {}


async def test_a_flipped_bit_is_refused_and_uses_nothing_up(entrance: Entrance) -> None:
    code = ISSUER.ticket()
    place = len(code) // 2
    flipped = code[:place] + ("A" if code[place] != "A" else "B") + code[place + 1 :]
    assert await entrance.once(flipped) is Reason.AUTHENTICITY_FAILED
    assert await entrance.once(code) == "granted"


async def test_a_block_list_names_a_ticket_by_its_holder(entrance: Entrance) -> None:
    await entrance.house.recorder.record(z.CredentialBlocked(client="desk", reason="stolen", holder=NAME))
    assert await entrance.once(ISSUER.ticket()) is Reason.BLOCKED


async def test_i12_neither_journal_nor_log_holds_the_ticket(
    entrance: Entrance, capsys: pytest.CaptureFixture[str]
) -> None:
    flipped = ISSUER.ticket()[:-3] + "AAA"
    await entrance.once(flipped)
    out = capsys.readouterr()
    assert "ticket_not_authentic" in out.out + out.err
    assert flipped[12:60] not in out.out + out.err


async def test_without_a_directory_no_key_is_known(entrance: Entrance) -> None:
    entrance.directory.loaded = False
    assert await entrance.once(ISSUER.ticket()) is Reason.DIRECTORY_UNAVAILABLE


class TwoReaders(Entrance):
    """Two networked readers, which move their own barriers, so that nothing but the ticket can say no."""

    def _gate(self, name: str, lock: object, anti_passback: str) -> GateFlow:
        return GateFlow(Gate(name=name, to_zone="hall", anti_passback=anti_passback), self.house.recorder, None)


async def test_a_ticket_signed_again_with_another_key_is_the_same_ticket() -> None:
    readers, new = TwoReaders(), Issuer(kid="2026-b", seed=9)
    readers.directory.issuer_keys = (ISSUER.key(), new.key())
    readers.scan(ISSUER.ticket())
    readers.scan(new.ticket(note="printed again"), "south")
    await settle()
    assert readers.decisions() == ["granted", Reason.NO_USES_LEFT]


@pytest.mark.parametrize("signed", [False, True], ids=["listed", "signed"])
async def test_i04_ten_thousand_tickets_at_two_gates_in_the_same_millisecond(signed: bool) -> None:
    readers, codes = TwoReaders(), []
    # Checking a signature takes longer than deciding, and the counting is the same.
    for number in range(1_000 if signed else 10_000):
        code = ISSUER.ticket(jti=f"t-{number}") if signed else f"CODE-{number}"
        if not signed:
            ticket = Entitlement(f"t-{number}", f"guest-{number}", ("hall",), uses_total=1)
            readers.directory.add_as("barcode", code, f"guest-{number}", ticket)
        codes.append(code)
    for number, code in enumerate(codes):
        first, second = ("north", "south") if number % 2 else ("south", "north")
        readers.scan(code, first)
        readers.scan(code, second)
        if number % 20 == 0:
            await settle()
    await settle()
    assert readers.decisions().count("granted") == len(codes)
    assert readers.decisions().count(Reason.NO_USES_LEFT) == len(codes)
    granted = [event.entitlement for event in readers.house.events if isinstance(event, e.EntryGranted)]
    assert len(set(granted)) == len(codes)
    assert set(readers.house.state.uses.values()) == {1}
