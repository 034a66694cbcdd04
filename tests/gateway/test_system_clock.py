from __future__ import annotations

from pathlib import Path

import pytest

from gateway import system_clock
from gateway.system_clock import LinuxClock, Vouch, VouchFile, vouch_now


def test_the_kernel_answers() -> None:
    clock = LinuxClock()
    assert len(clock.boot) == 36
    assert clock.elapsed_ms() <= clock.elapsed_ms()
    assert clock.wall_ms() > 1_700_000_000_000
    assert clock.synchronised() in (True, False)


def test_systemd_says_that_it_has_synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "synchronized"
    said.touch()
    monkeypatch.setattr(system_clock, "TIMESYNC_FILE", said)
    assert LinuxClock().synchronised()


@pytest.mark.parametrize(
    ("board", "chip_off_s", "battery"),
    [(False, None, True), (True, None, False), (True, 10, True), (True, 1_700_000_000, False), (False, 10, True)],
    ids=["PC", "Pi", "board with a battery", "Pi 5 without its battery", "PC with its chip"],
)
def test_i10_whose_time_outlasts_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: bool, chip_off_s: int | None, battery: bool
) -> None:
    clock, tree, chips = LinuxClock(), tmp_path / "model", tmp_path / "rtc"
    if board:
        tree.write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    if chip_off_s is not None:
        (chips / "rtc0").mkdir(parents=True)
        (chips / "rtc0" / "since_epoch").write_text(f"{clock.wall_ms() // 1000 - chip_off_s}\n")
    monkeypatch.setattr(system_clock, "DEVICE_TREES", (tree,))
    monkeypatch.setattr(system_clock, "RTC_FOLDER", chips)
    assert clock.has_battery() is battery


def test_a_word_for_the_clock_is_taken_once(tmp_path: Path) -> None:
    clock, file = LinuxClock(), VouchFile(tmp_path)
    assert file.take() is None
    vouch = vouch_now(tmp_path, "by the station clock", clock)
    taken = file.take()
    assert taken == vouch == Vouch(clock.boot, vouch.elapsed_ms, vouch.at_ms, "by the station clock")
    assert file.take() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot": 5}', b"\xff"])
def test_what_is_no_word_for_the_clock_is_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / system_clock.VOUCH_FILE).write_bytes(content)
    assert VouchFile(tmp_path).take() is None
    assert list(tmp_path.iterdir()) == []
