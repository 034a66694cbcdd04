"""Amounts are whole minor units of one currency (I3): 1250 is 12.50 EUR. There is no float near money."""

from __future__ import annotations

AMOUNT_MAX_MINOR = 100_000_000
"""The largest amount of one request: a million euros is a typing error, not a round of drinks."""
BALANCE_MAX_MINOR = 10**15
"""The largest balance of any account: every JSON reader holds it exactly, for it is below 2**53."""

_NO_MINOR_UNITS = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()  # noqa: SIM905 - reads as a list
)
_THOUSANDTHS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))


def digits(currency: str) -> int:
    """Return how many decimal places the currency has (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD."""
    if currency in _NO_MINOR_UNITS:
        return 0
    return 3 if currency in _THOUSANDTHS else 2


def text(amount_minor: int, currency: str) -> str:
    """Return an amount as people read it: `12.50 EUR`, `-0.05 EUR`, `300 JPY`."""
    places = digits(currency)
    sign, value = "-" if amount_minor < 0 else "", str(abs(amount_minor)).rjust(places + 1, "0")
    whole = f"{value[:-places]}.{value[-places:]}" if places else value
    return f"{sign}{whole} {currency}"
