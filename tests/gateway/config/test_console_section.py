"""The section `console`: off without it, safe with it, and every mistake named in its place."""

from __future__ import annotations

import pytest

from gateway.config.console import ConsoleSettings

HEAD = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
"""


def test_without_it_there_is_none(read) -> None:
    assert read(HEAD).console is None


def test_an_empty_one_is_for_this_machine_alone(read) -> None:
    console = read(HEAD + "console: {}\n").console
    assert console == ConsoleSettings()
    assert console.address == ("127.0.0.1", 8080)
    assert console.names == {"127.0.0.1", "localhost", "[::1]"}
    assert not console.encrypted


def test_one_for_the_network_is_encrypted_and_named(read) -> None:
    files = "certificate_file: tls/cert.pem, private_key_file: /k.pem"
    console = read(HEAD + f'console: {{listen: "[::]:443", hosts: [gateway.local], {files}}}\n').console
    assert console.address == ("::", 443)
    assert console.encrypted
    assert "gateway.local" in console.names
    assert "localhost" not in console.names
    assert console.certificate_file.endswith("/tls/cert.pem")
    assert console.private_key_file == "/k.pem"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("console: {listen: 8080}", "3:19: console.listen: expected"),
        ('console: {listen: "127.0.0.1"}', "3:19: console.listen: expected HOST:PORT"),
        ('console: {listen: "127.0.0.1:0"}', "console.listen: expected HOST:PORT"),
        ('console: {listen: "127.0.0.1:65536"}', "console.listen: expected HOST:PORT"),
        ('console: {listen: "127.0.0.1:８０"}', "console.listen: expected HOST:PORT"),
        ('console: {listen: "::1:80"}', "console.listen: expected HOST:PORT"),
        ('console: {listen: "[127.0.0.1]:80"}', "console.listen: expected HOST:PORT"),
        ('console: {listen: "example.org:80"}', "console.listen: expected HOST:PORT"),
        ('console: {listen: "192.168.1.5:80"}', "console.listen: passwords would cross the network in clear"),
        ('console: {listen: "0.0.0.0:80"}', "console.hosts: a page on every address needs the names"),
        ("console: {hosts: [Gateway]}", "console.hosts[0]: expected a host name"),
        ("console: {hosts: ['a:80']}", "console.hosts[0]: expected a host name"),
        ("console: {hosts: [a b]}", "console.hosts[0]: expected a host name"),
        ("console: {certificate_file: a.pem}", "console.certificate_file: a certificate and its key go together"),
        ("console: {private_key_file: a.pem}", "console.private_key_file: a certificate and its key go together"),
        ("console: {idle_timeout_min: 0}", "console.idle_timeout_min: expected a number from 1 to 1440"),
        ("console: {lisen: x}", "console.lisen: unknown key; did you mean `listen`?"),
        ("console: {password: x}", "console.password: secrets do not stand in this file"),
        ("console: [a]", "console: expected"),
    ],
)
def test_a_mistake_is_named_with_its_line(problems, section: str, said: str) -> None:
    found = problems(HEAD + section + "\n")
    assert any(said in one and ":3:" in f":{one}" for one in found), found
