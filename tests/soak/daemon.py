"""The daemon with shorter breaths, so that minutes show what an evening would: it folds four times a minute."""

from __future__ import annotations

import sys

import gateway.housekeeping
from gateway.cli import main

FOLD_EVERY_S = 15.0

if __name__ == "__main__":
    gateway.housekeeping.FOLD_EVERY_S = FOLD_EVERY_S
    sys.exit(main())
