"""Which gate a shared passage contact speaks of: both directions of a turnstile may have one between them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.flows.gate import GateFlow


def concerned(gates: Sequence[GateFlow], *, active: bool) -> Sequence[GateFlow]:
    """Return the gates that hear of an edge of their common contact.

    Somebody in the turnstile is the guest one direction was released for; when none was, the first gate raises the
    alarm. At rest again, whichever had heard of it hears of that; the others take no notice.
    """
    if not active or len(gates) == 1:
        return gates
    inside = [gate for gate in gates if gate.door.contact_active]
    released = [gate for gate in gates if gate.status == "released"]
    return (inside or released or gates)[:1]
