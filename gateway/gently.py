"""Runs a module so that taps do not wait for it: `python -m gateway.gently MODULE ARGUMENTS`.

What a module imports takes some tenths of a second by itself, so the process gives way before it begins with that.
"""

from __future__ import annotations

import os
import runpy
import sys
from contextlib import suppress


def be_gentle() -> None:
    """Run this process only when nobody else wants the CPU or the disk; Linux ranks disk access by the same policy.

    A lower priority would not do: a process that runs already keeps its core for some milliseconds, whoever wakes.
    """
    # Where a container forbids it the work is as right as ever, and only less polite.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    be_gentle()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
