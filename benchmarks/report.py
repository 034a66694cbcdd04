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
from benchmarks.peer import NAME, PROMISE, VERSION

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


def write_json(path: Path, runs: Sequence[Run], no_peer: str = "") -> None:
    """Write machine, ratios, the peer and raw figures; `no_peer` says why there was none to compare with."""
    ratios = {figure.key: _rounded(figure.value(runs), 3) for figure in FIGURES}
    parts = {
        "machine": machine(),
        "ratios": ratios,
        "peer": peer_of(runs, no_peer),
        "runs": [rounded(run) for run in runs],
    }
    document = msgspec.json.encode(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(document, indent=2) + b"\n")


def peer_of(runs: Sequence[Run], no_peer: str = "") -> dict[str, object]:
    """Return who was compared, what it promises and lost, or the reason why nobody was."""
    if no_peer:
        return {"name": NAME, "version": VERSION, "missing": no_peer}
    return {
        "name": NAME,
        "version": VERSION,
        "promise": PROMISE,
        "rate": _rounded(median(run.peer_rate or 0 for run in runs), 1),
        "rate64": _rounded(median(run.peer64_rate or 0 for run in runs), 1),
        "p50_ms": _rounded(median(run.peer_p50_ms or 0 for run in runs), 1),
        "sent_before_kill9": sum(run.peer_sent or 0 for run in runs),
        "lost_at_kill9": sum(run.peer_lost or 0 for run in runs),
    }


def rounded(figures: msgspec.Struct) -> dict[str, float | None]:
    """Return the numbers of a struct by their names, with four digits after the point."""
    return {name: _rounded(value, 4) for name, value in msgspec.structs.asdict(figures).items()}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def print_table(runs: Sequence[Run], no_peer: str = "") -> None:
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
    print(_of_peer(runs, no_peer))


def _of_peer(runs: Sequence[Run], no_peer: str) -> str:
    if no_peer:
        return f"no peer: {no_peer}"
    found = peer_of(runs)
    return (
        f"{NAME} {VERSION}: {found['rate']:,} messages a second on disk, {found['p50_ms']} ms for one alone; of"
        f" {found['sent_before_kill9']:,} that the broker had taken, kill -9 lost {found['lost_at_kill9']:,}"
    )


def _row(figure: Figure, runs: Sequence[Run]) -> Sequence[str]:
    value = figure.value(runs)
    if value is None:
        return figure.label, "", "no peer", "", f"≥ {figure.limit:g}", ""
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
