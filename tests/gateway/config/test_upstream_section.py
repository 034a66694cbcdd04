from collections.abc import Callable

import pytest

from gateway.config.schema import Configuration
from gateway.config.upstream import Endpoint

Read = Callable[[str], Configuration]
Problems = Callable[[str], list[str]]
HEAD = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/m.sock
"""


def test_without_the_section_there_is_no_upstream(read: Read):
    assert read(HEAD).upstream is None
    assert read(HEAD + "upstream:\n").upstream is None


def test_everything_that_can_be_said(read: Read):
    upstream = read(
        HEAD
        + "upstream:\n  url: https://up.example/x\n  token_file: t\n  ca_file: /c.pem\n  keep_days: 7\n"
        + "  directory: false\n  sinks: {books: {url: 'http://127.0.0.1:80', token_file: b}}\n"
    ).upstream
    assert upstream is not None
    main = Endpoint(url="https://up.example/x", token_file="/etc/venue/t", ca_file="/c.pem")
    books = Endpoint(url="http://127.0.0.1:80", token_file="/etc/venue/b")
    assert dict(upstream.all_sinks) == {"main": main, "books": books}
    assert (upstream.keep_days, upstream.directory) == (7, False)


def test_a_fleet_is_off_and_nothing_may_be_ordered_until_it_is_named(read: Read):
    assert read(HEAD + "upstream: {url: 'https://x'}\n").upstream.fleet is None
    assert read(HEAD + "upstream: {url: 'https://x', fleet: {}}\n").upstream.fleet.orders == ()
    fleet = read(HEAD + "upstream: {url: 'https://x', fleet: {orders: [restart, lock_down]}}\n").upstream.fleet
    assert fleet.orders == ("restart", "lock_down")


WRONG = {
    "{url: 'https://x', fleet: {orders: [keys]}}": "3:47: upstream.fleet.orders[0]: expected one of `configuration`, "
    '`diagnostics`, `emergency_release`, `lock_down`, `log_level`, `restart`, `restore`, found "keys"',
    "{}": "3:1: upstream.url: this key is missing; it takes text",
    "{url: ftp://x}": "3:17: upstream.url: expected https://host, with a port and a path where there are; "
    "http:// only to this machine itself",
    "{url: 'http://x.example'}": "3:17: upstream.url: http:// is read along by anybody on the way; write https://",
    "{url: 'https://me:pw@x'}": "3:17: upstream.url: a login stands in the URL; write the token into a file of its own "
    "and add `token_file: FILE`",
    "{url: 'http://localhost', ca_file: x}": "3:46: upstream.ca_file: only https:// checks a certificate; "
    "change the URL or leave this out",
    "{url: 'https://x', sinks: {main: {url: 'https://y'}}}": "3:38: upstream.sinks.main: `main` is upstream itself; "
    "give this one another name",
    "{url: 'https://x', sinks: {Books: {url: 'https://y'}}}": "3:38: upstream.sinks.Books: a sink's name is lower-case "
    'letters, digits and hyphens, at most 31; found "Books"',
    "{url: 'https://x', sinks: {b: {url: 'http://y'}}}": "3:47: upstream.sinks.b.url: http:// is read along by anybody "
    "on the way; write https://",
    "{url: 'https://x', keep_days: 0}": "3:41: upstream.keep_days: expected a number from 1 to 3650, found 0",
}


@pytest.mark.parametrize("section", WRONG)
def test_each_mistake_is_named_with_its_place(problems: Problems, section: str):
    assert problems(f"{HEAD}upstream: {section}\n") == [WRONG[section]]


def test_a_password_in_a_url_is_never_repeated(problems: Problems):
    assert "hunter2" not in "".join(problems(f"{HEAD}upstream: {{url: 'https://me:hunter2@x'}}\n"))
