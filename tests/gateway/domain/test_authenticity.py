from __future__ import annotations

import pytest

from gateway.domain.authenticity import Evidence, fault, is_required
from gateway.domain.reasons import Reason

ALL = frozenset({"nfc"})


@pytest.mark.parametrize(
    ("required_for", "technology", "kind", "expected"),
    [
        (frozenset(), "nfc", "card", False),
        (ALL, "nfc", "", True),
        (ALL, "em4100", "card", False),
        (ALL, "barcode", "qr_code", False),
        (frozenset({"card"}), "nfc", "card", True),
        (frozenset({"card"}), "nfc", "wristband", False),
        (frozenset({"staff_badge"}), "em4100", "staff_badge", True),
        (frozenset({"card"}), "nfc", "", False),
    ],
)
def test_what_has_to_prove_itself(required_for, technology, kind, expected):
    assert is_required(required_for, technology, kind) is expected


@pytest.mark.parametrize(
    ("proven", "counter", "last", "expected"),
    [
        (None, None, None, Reason.AUTHENTICITY_FAILED),
        (False, None, None, Reason.AUTHENTICITY_FAILED),
        (False, 9, 1, Reason.AUTHENTICITY_FAILED),
        (True, None, None, None),
        (True, None, 5, None),
        (True, 1, None, None),
        (True, 6, 5, None),
        (True, 5, 5, Reason.REPLAYED),
        (True, 4, 5, Reason.REPLAYED),
    ],
)
def test_what_is_proof_enough(proven, counter, last, expected):
    assert fault(Evidence(proven, counter), last) is expected
