"""The command line of the simulation: one seed, many seeds, or the mutants."""

from __future__ import annotations

import sys

from tests.simulation.running import main

sys.exit(main())
