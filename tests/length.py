"""How long a test takes: `make test` runs a short form of each, `make prove` all of them at full length."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

PROVING = os.environ.get("VENUE_PROVE", "") == "1"


def length(short: T, full: T) -> T:
    """Return what a test should use in this run."""
    return full if PROVING else short
