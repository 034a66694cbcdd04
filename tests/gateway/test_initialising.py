from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from gateway import cli, joining
from gateway.config.loading import load
from gateway.devices.discovery import Found
from gateway.devices.registry import kinds
from gateway.initialising import Answers, initialise, system_timezone
from gateway.mqtt.authority import names_of

GIVEN = Answers(venue="club", timezone="Europe/Vienna", currency="EUR", tablets=("bar",))


def look(_: Sequence[str]) -> list[Found]:
    printer = Found("a printer", "10.0.0.9", "certain", "escpos", {"connect": "tcp://10.0.0.9:9100"})
    reader = Found("an \x1badapter", "here", "possible", "rdm6300", {"port": "/dev/ttyUSB0"})
    return [printer, reader]


def test_flags_alone_make_a_file_that_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.yaml"
    assert initialise(file, GIVEN, look=look) == 0
    assert cli.main(["check", str(file)]) == 0
    assert "1 device, 0 gates, 1 client" in capsys.readouterr().out
    assert "  bar: {may: {escpos-1: [print, reprint, status]}}" in file.read_text()
    assert "\x1b" not in file.read_text()


def test_what_comes_next_is_said_for_the_file_that_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.yaml"
    assert initialise(file, GIVEN, look=look) == 0
    said = capsys.readouterr().out
    # The service reads the package's file and no other.
    assert f"venue-gateway run --config {file}" in said
    assert f"broker apply --config {file}" in said
    assert "systemctl" not in said


def test_questions_are_asked_until_they_are_answered(tmp_path: Path) -> None:
    answers = iter(["My Club", "", "my-club", "Mars/Olympus", "eu", "chf", ""])
    file = tmp_path / "gateway.yaml"
    # A time zone that is none is named by `check`, and nothing is written.
    assert initialise(file, Answers(discover=False), ask=lambda _: next(answers)) == 1
    assert not file.exists()
    answers = iter(["my-club", "Europe/Zurich", "chf", "bar door"])
    assert initialise(file, Answers(discover=False, name='The "Club": #1'), ask=lambda _: next(answers)) == 0
    assert cli.main(["check", str(file)]) == 0
    assert 'currency: "CHF"' in file.read_text()


def test_a_script_is_told_which_flag_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert initialise(tmp_path / "a.yaml", Answers(discover=False)) == 1
    assert "--id is missing" in capsys.readouterr().err


@pytest.mark.parametrize("given", [Answers(venue="A B"), Answers(venue="a", currency="EURO", timezone="UTC")])
def test_wrong_flags_write_nothing(tmp_path: Path, given: Answers) -> None:
    assert initialise(tmp_path / "a.yaml", given) == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("mine")
    assert initialise(file, GIVEN, look=look) == 1
    assert file.read_text() == "mine"
    assert initialise(file, GIVEN, force=True, look=look) == 0
    assert (tmp_path / "gateway.yaml.before").read_text() == "mine"


def test_the_computers_own_time_zone_is_proposed(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert system_timezone(link) == "Europe/Berlin"
    assert system_timezone(tmp_path / "missing") == "UTC"


def test_with_tablets_their_page_is_served_with_the_certificate_that_apply_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "SYSTEMD_RUNS", Path("/nowhere"))
    file = tmp_path / "gateway.yaml"
    given = msgspec.structs.replace(GIVEN, state_dir=str(tmp_path / "state"))
    assert initialise(file, given, look=look) == 0
    assert cli.main(["broker", "apply", "--config", str(file), "--folder", str(tmp_path / "broker")]) == 0
    console = load(file, kinds()).console
    assert console is not None
    assert console.certificate_file is not None
    assert set(console.hosts) <= set(names_of(Path(console.certificate_file)))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(console.certificate_file, console.private_key_file)


def test_without_tablets_nothing_is_served(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    assert initialise(file, msgspec.structs.replace(GIVEN, tablets=()), look=look) == 0
    assert load(file, kinds()).console is None
