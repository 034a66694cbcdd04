"""Why may this guest pass, or not? Every rule's verdict, side by side, and nothing touched. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.domain.access import RULES, Case, Credential, Entitlement, Grant, credential_fault, judge
from gateway.domain.reasons import Reason

OK = "ok"


def credential_verdicts(credential: Credential, case: Case, *, leaving: bool) -> dict[str, str]:
    """Return what the rules about the credential itself say: `ok` or the reason word. Leaving asks less of it."""
    blocked = Reason.BLOCKED if credential.state == "blocked" else None
    fault = None if leaving else credential_fault(credential, case.now_ms, case.doubt)
    return {
        "block_list": Reason.BLOCKED if case.presence.blocked else OK,
        "credential_state": blocked or fault or OK,
    }


def entitlement_verdicts(entitlements: Sequence[Entitlement], case: Case) -> list[dict[str, Any]]:
    """Return for each entitlement what every rule says of it, and whether it would admit."""
    return [_explain(entitlement, case) for entitlement in entitlements]


def _explain(entitlement: Entitlement, case: Case) -> dict[str, Any]:
    rules = {name: rule(entitlement, case) or OK for name, rule in RULES}
    admits = isinstance(judge(entitlement, case), Grant)
    used: dict[str, Any] = {"uses": case.uses(entitlement), "uses_total": entitlement.uses_total}
    if entitlement.uses_per_day is not None:
        used |= {"uses_today": case.uses_today(entitlement), "uses_per_day": entitlement.uses_per_day}
    return {"entitlement": entitlement.id, "admits": admits, "rules": rules, **used}
