"""The table on the terminal and the JSON beside it."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES, Figure, Run

WIDTH = 100


def machine() -> dict[str, str | int]:
    """Return what was measured on."""
    version = subprocess.run(["mosquitto", "-h"], check=False, capture_output=True, text=True, timeout=10).stdout
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mosquitto": _first(r"mosquitto version (\S+)", version),
    }


def write_json(path: Path, runs: Sequence[Run]) -> None:
    """Write machine, ratios and raw figures."""
    ratios = {figure.key: round(figure.value(runs), 3) for figure in FIGURES}
    rounded = [{name: round(value, 4) for name, value in msgspec.structs.asdict(run).items()} for run in runs]
    document = msgspec.json.encode({"machine": machine(), "ratios": ratios, "runs": rounded})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(document, indent=2) + b"\n")


def print_table(runs: Sequence[Run]) -> None:
    """Print one line for each figure: medians, their ratio, and whether it is within its limit."""
    table = Table(title=f"Medians of {len(runs)} interleaved repetitions")
    table.add_column("figure", no_wrap=True)
    for name in ("measured", "floor or naive", "ratio", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for figure in FIGURES:
        table.add_row(*_row(figure, runs))
    # Wide enough for every line where the output goes to a file.
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def _row(figure: Figure, runs: Sequence[Run]) -> Sequence[str]:
    value = figure.value(runs)
    measured = max if figure.worst else median
    base = median(getattr(run, figure.base) for run in runs) if figure.base else None
    sign, unit = ("≥" if figure.at_least else "≤"), ("" if figure.base else f" {figure.unit}")
    return (
        figure.label,
        _amount(measured([getattr(run, figure.measured) for run in runs]), figure.unit),
        _amount(base, figure.unit) if base is not None else "",
        f"{value:.2f}" if figure.base else "",
        f"{sign} {figure.limit:g}{unit}",
        "ok" if figure.holds(value) else "MISSED",
    )


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"


def _cpu() -> str:
    found = _first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found or platform.machine()


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1].strip() if match else ""
