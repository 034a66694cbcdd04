"""The benchmark runs and writes what it should; its timings are worth nothing here and are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RATIOS = {
    "tap_p50_over_floor",
    "tap_p99_ms",
    "rate64_over_naive",
    "p99_over_p50_at_64",
    "wal_mb_max",
    "local_p50_over_commit",
    "bytes_per_tap_over_append",
    "rss_mb_million",
    "start_s_million",
}


@pytest.mark.timeout(120)
def test_a_quick_run_writes_every_ratio(tmp_path):
    output = tmp_path / "latest.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--repetitions", "1", "--output", str(output)]

    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=110)

    assert done.returncode == 0, done.stderr[-3000:]
    written = json.loads(output.read_text())
    assert set(written) == {"machine", "ratios", "runs"}
    assert set(written["machine"]) == {"cpu", "cores", "kernel", "python", "sqlite", "mosquitto"}
    assert set(written["ratios"]) == RATIOS
    assert all(value > 0 for value in written["ratios"].values())
    assert len(written["runs"]) == 1


@pytest.mark.timeout(60)
def test_a_small_run_of_scale_starts_the_daemon_over_wallets_that_changed_here(tmp_path):
    output = tmp_path / "scale.json"
    small = ["--holders", "300", "--charges", "20", "--only", "changed", "--output", str(output)]
    command = [sys.executable, "-m", "benchmarks.scale", *small]

    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=55)

    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    starts = json.loads(output.read_text())
    assert [one["name"] for one in starts] == ["changed"]
    assert all(one["start_s"] > 0 and one["rss_mb"] > 0 for one in starts)
