"""The benchmark runs and writes what it should; its timings are worth nothing here and are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
RATIOS = {
    "tap_p50_over_floor",
    "tap_p99_ms",
    "rate64_over_naive",
    "p99_over_p50_at_64",
    "wal_mb_max",
    "local_p50_over_commit",
    "local_rest_p50_over_commit",
    "local_p99_ms_100tps",
    "bytes_per_tap_over_append",
    "sd_p50_1_over_fsync",
    "sd_p50_64_over_fsync",
    "rss_mb_million",
    "start_s_million",
    "lost_at_kill9",
    "peer_rate_ratio",
    "peer_rate64_ratio",
}
OF_PEER = {"peer_rate_ratio", "peer_rate64_ratio"}


def run(module: str, *options: str) -> str:
    """Run a module of the benchmarks to its end and return what it printed."""
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(120)
def test_a_quick_run_writes_every_ratio(tmp_path):
    output = tmp_path / "latest.json"

    run("benchmarks", "--quick", "--without-peer", "--repetitions", "1", "--output", str(output))

    written = json.loads(output.read_text())
    assert set(written) == {"machine", "ratios", "peer", "runs"}
    assert set(written["machine"]) == {"cpu", "cores", "kernel", "python", "sqlite", "mosquitto"}
    assert set(written["ratios"]) == RATIOS
    assert all(written["ratios"][key] is None for key in OF_PEER)
    assert written["peer"]["missing"] == "left out by --without-peer"
    assert written["ratios"]["lost_at_kill9"] == 0
    assert all(written["ratios"][key] > 0 for key in RATIOS - OF_PEER - {"lost_at_kill9"})
    (measured,) = written["runs"]
    # The sync of the slow card takes the 5 ms more, and no tap is answered before one.
    assert measured["sd_tap_p50_ms"] > 5
    assert measured["sd_sync_p50_ms"] > 5


@pytest.mark.timeout(120)
def test_a_small_run_of_growth_has_a_line_for_each_number_of_guests(tmp_path):
    output = tmp_path / "growth.json"

    run("benchmarks.growth", "--guests", "300", "400", "--taps", "30", "--starts", "1", "--output", str(output))

    costs = json.loads(output.read_text())["costs"]
    assert [cost["guests"] for cost in costs] == [300, 400]
    assert all(value > 0 for cost in costs for value in cost.values())


@pytest.mark.timeout(120)
def test_a_small_run_of_saturation_has_a_step_for_each_load_and_a_plot(tmp_path):
    output, plot = tmp_path / "saturation.json", tmp_path / "plot.png"
    # As many guests as in the quick run, whose directory is kept.
    small = ["--guests", "20000", "--rates", "50", "150", "--step-s", "0.5"]

    run("benchmarks.saturation", *small, "--output", str(output), "--plot", str(plot))

    steps = json.loads(output.read_text())["steps"]
    assert 1 <= len(steps) <= 2
    assert all(0 < step["p50_ms"] <= step["p99_ms"] <= step["max_ms"] for step in steps)
    with Image.open(plot) as image:
        assert image.size == (1000, 600)


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


@pytest.mark.timeout(60)
def test_a_few_tags_are_found():
    pytest.importorskip("nfc", reason="nfcpy is not installed: it comes with the extra `nfc`")

    # How soon is not asked here: a busy machine takes longer.
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.tags", "--taps", "3"], cwd=ROOT, check=False, capture_output=True, text=True
    )

    assert [line.split()[0] for line in found.stdout.splitlines()] == ["nfc_tag_found_p50_ms", "nfc_tag_found_p95_ms"]
