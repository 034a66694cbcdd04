"""I12: whatever somebody wrote into the file by mistake, the page does not show a secret."""

from __future__ import annotations

import pytest

from gateway.console_file import HIDDEN, redacted, shown


@pytest.mark.parametrize(
    "line",
    [
        "password: hunter2",
        "  broker: {url: mqtt://h, password: hunter2}",
        "{password: 'hunter2', x: 1}",
        'api_key: "hunter2"',
        "apikey: hunter2",
        "broker: mqtt://me:hunter2@host",
        "broker: mqtt://hunter2@host",
        "MY_TOKEN: hunter2 and more hunter2",
        "'password': hunter2",
        '"secret" : hunter2',
        "key: 0f0e0d0c0b0a09080706050403020100",
    ],
)
def test_i12_a_secret_is_hidden(line):
    told = redacted(line)
    assert "hunter2" not in told
    assert "0f0e0d0c0b0a0908" not in told
    assert HIDDEN in told


@pytest.mark.parametrize(
    "line",
    [
        "devices:",
        "  north-reader: {driver: rdm6300, port: /dev/serial/by-id/usb-FTDI_A9X-if00}",
        "  bar-printer: {driver: escpos, connect: tcp://192.168.1.40:9100}",
        "  key_file: osdp.key",
        "broker: {url: mqtts://host, username: gw, password_file: pw}",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(line):
    assert redacted(line) == line


def test_a_file_that_is_gone_is_a_finding(tmp_path):
    found = shown(tmp_path / "none.yaml", {})
    assert found["lines"] == []
    assert found["findings"][0]["level"] == "problem"


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\xfa", b"a: &a [*a]", b"x: " + b"[" * 500, b"a: [&x [1], *x, *x]\n" * 3]
)
def test_a_file_of_nonsense_is_shown_with_findings(tmp_path, data):
    file = tmp_path / "venue.yaml"
    file.write_bytes(data)
    assert shown(file, {})["findings"]
