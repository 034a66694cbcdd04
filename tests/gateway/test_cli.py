from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gateway import cli

YAML = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
state_dir: state
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    file = tmp_path / "venue.yaml"
    file.write_text(YAML)
    return file


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "", "mqtt", "\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_broker_write_refuses_a_port_that_is_none(
    config: Path, tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(["broker", "write", str(tmp_path / "b"), "--listen", f"0.0.0.0:{port}", "--config", str(config)]) == 1
    )
    assert "with a port from 1 to 65535, not" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_broker_write_takes_the_highest_port(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    assert cli.main(["broker", "write", str(folder), "--listen", "0.0.0.0:65535", "--config", str(config)]) == 0
    assert "listener 65535 0.0.0.0" in (folder / "mosquitto.conf").read_text()


def test_an_import_that_would_lock_everybody_out_must_be_meant(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.importing.be_gentle", lambda: None)
    nobody = tmp_path / "nobody.ndjson"
    nobody.touch()
    command = ["directory", "import", str(nobody), "--config", str(config)]
    assert cli.main(command) == 1
    assert capsys.readouterr().err == (
        f"{nobody}: there is no credential in it, so nobody could come in; if that is what you want, add --empty\n"
        "nothing was imported; the directory in use stays as it is\n"
    )
    assert not (tmp_path / "state/directory.db").exists()
    assert cli.main([*command, "--empty"]) == 0


def test_an_import_of_a_file_that_is_not_there_says_so(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.importing.be_gentle", lambda: None)
    missing = tmp_path / "guests.ndjson"
    assert cli.main(["directory", "import", str(missing), "--config", str(config)]) == 1
    expected = f"{missing}: it cannot be read: No such file or directory; check the path and its rights\n"
    assert capsys.readouterr().err == expected


def test_an_import_with_a_key_that_others_can_read_names_the_key_and_not_the_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.importing.be_gentle", lambda: None)
    key = tmp_path / "state" / "credential.key"
    key.write_bytes(bytes(32))
    key.chmod(0o644)
    assert cli.main(["directory", "import", str(config), "--config", str(config)]) == 1
    assert capsys.readouterr().err == f"{key} can be read by others; run: chmod 600 {key}\n"


def test_a_configuration_in_the_wrong_place_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "club.yaml"])
    assert left.value.code == 2
    assert "unrecognized arguments: club.yaml; the configuration is named by --config FILE" in capsys.readouterr().err


def test_check_counts_in_words_that_fit(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(config)]) == 0
    assert capsys.readouterr().out == f"{config} is right: 0 devices, 0 gates, 0 clients.\n"


CONTRADICTION = (
    '{"type":"credential","technology":"barcode","value":"A","holder":"ada"}\n'
    '{"type":"schedule","id":"night","weekly":[{"days":["fri"],"from":"18:00","to":"18:00"}]}\n'
)


@pytest.mark.parametrize("verb", ["check", "import"])
def test_a_schedule_that_contradicts_itself_is_refused_with_its_line(
    config: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.importing.be_gentle", lambda: None)
    file = tmp_path / "rows.ndjson"
    file.write_text(CONTRADICTION)
    assert cli.main(["directory", verb, str(file), "--config", str(config)]) == 1
    assert capsys.readouterr().err.startswith(f"{file}:2: weekly[0].to: it ends when it begins;")


def test_a_right_directory_is_told_to_be_right_and_changes_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.importing.be_gentle", lambda: None)
    file = tmp_path / "rows.ndjson"
    file.write_text(CONTRADICTION.replace('"to":"18:00"', '"to":"02:00"'))
    assert cli.main(["directory", "check", str(file), "--config", str(config)]) == 0
    assert capsys.readouterr().out == f"{file} is right: 1 credential and 0 entitlements.\n"
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["docter"], "there is no `docter`; did you mean `doctor`?"),
        (["journal", "verfy"], "there is no `verfy`; did you mean `verify`?"),
        (["xyz"], "there is no `xyz`; there are: run, check,"),
        (["run", "--confg", "venue.yaml"], "did you mean `--config`?"),
        (["run", "venue.yaml"], "the configuration is named by --config FILE"),
        ([], "commands:"),
    ],
)
def test_a_typing_mistake_is_told_what_was_meant(
    typed: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(typed)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    "words",
    [
        ["doctor"], ["journal", "verify"], ["journal", "tail"], ["journal", "export"], ["run"],
        ["console", "user", "add", "ada", "--role", "viewer", "--generate"],
    ],
)  # fmt: skip
def test_whoever_is_not_root_is_told_to_be(config: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    state = config.parent / "state"
    state.chmod(0o700)
    # Commands import what they need when they run; whoever that is here may not read this computer's Python.
    for module in ("gateway.app", "gateway.ops.doctor", "gateway.web.user_commands", "gateway.telling", "http.cookies"):
        import_module(module)
    for folder in config.parents:
        if folder.owner() == "root" and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        status = cli.main([*words, "--config", str(config)])
    finally:
        os.seteuid(0)
    assert status == 1
    told = capsys.readouterr().err
    assert "Permission denied" in told
    assert "run this as root" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("option", [[], ["--config"]])
def test_check_takes_the_file_either_way(config: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *option, str(config)]) == 0
    assert capsys.readouterr().out == f"{config} is right: 0 devices, 0 gates, 0 clients.\n"


def test_check_of_nothing_named_is_of_the_gateways_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{cli.DEFAULT_CONFIG}:1:1: the file cannot be read")
    assert said.err == f"1 problem in {cli.DEFAULT_CONFIG}\n"


@pytest.mark.parametrize("number", ["-1", "1.5", "", "9007199254740992", "9" * 5000, "\N{SUPERSCRIPT TWO}"])
def test_a_number_of_rows_is_a_whole_one(config: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["journal", "tail", f"--lines={number}", "--config", str(config)])
    assert "expected a whole number from 0 to 9007199254740991" in capsys.readouterr().err


def test_what_finds_no_room_on_its_disk_says_so() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "gateway", "schema"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        1,
        "the output: No space left on device; free some, or write to another disk\n",
    )
