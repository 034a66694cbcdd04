from collections.abc import Callable

import pytest

from gateway.config.schema import Configuration
from gateway.config.upstream import ChangeStream, SinkEntry

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
    main = SinkEntry(url="https://up.example/x", token_file="/etc/venue/t", ca_file="/c.pem", keep_after_ack_s=0)
    books = SinkEntry(url="http://127.0.0.1:80", token_file="/etc/venue/b")
    assert dict(upstream.all_sinks) == {"main": main, "books": books}
    assert (upstream.keep_days, upstream.directory) == (7, False)


def test_a_fleet_is_off_and_nothing_may_be_ordered_until_it_is_named(read: Read):
    assert read(HEAD + "upstream: {url: 'https://x'}\n").upstream.fleet is None
    assert read(HEAD + "upstream: {url: 'https://x', fleet: {}}\n").upstream.fleet.orders == ()
    fleet = read(HEAD + "upstream: {url: 'https://x', fleet: {orders: [restart, lock_down]}}\n").upstream.fleet
    assert fleet.orders == ("restart", "lock_down")


def test_sinks_of_every_kind_and_a_stream_of_changes(read: Read):
    upstream = read(
        HEAD
        + "upstream:\n  url: https://up.example\n  events: false\n  sinks:\n"
        + "    rules: {url: 'mqtts://b.example', username: hall, password_file: p, topic: x/y}\n"
        + "    fleet: {url: 'tls://n1.example,n2.example:4333', credentials_file: c.creds, keep_after_ack_s: 60}\n"
        + "  directory_stream: {url: 'nats://127.0.0.1', durable: hall}\n"
    ).upstream
    assert upstream is not None
    assert dict(upstream.all_sinks) == {
        "rules": SinkEntry(url="mqtts://b.example", username="hall", password_file="/etc/venue/p", topic="x/y"),
        "fleet": SinkEntry(
            url="tls://n1.example,n2.example:4333", credentials_file="/etc/venue/c.creds", keep_after_ack_s=60
        ),
    }
    assert [one.kind for one in upstream.all_sinks.values()] == ["mqtt", "nats"]
    assert upstream.sinks["fleet"].servers == ["tls://n1.example", "tls://n2.example:4333"]
    assert upstream.directory_stream == ChangeStream(url="nats://127.0.0.1", durable="hall")


WRONG = {
    "{url: 'https://x', fleet: {orders: [keys]}}": "3:47: upstream.fleet.orders[0]: expected one of `configuration`, "
    '`diagnostics`, `emergency_release`, `lock_down`, `log_level`, `restart`, `restore`, found "keys"',
    "{url: 'https://x', sinks: {b: {url: 'ftp://y'}}}": "3:47: upstream.sinks.b.url: expected https://host, "
    "mqtts://host or tls://host (NATS), with a port where it is not the usual one",
    "{url: 'https://x', sinks: {b: {url: 'mqtt://y'}}}": "3:47: upstream.sinks.b.url: mqtt:// is read along by anybody "
    "on the way; write mqtts://",
    "{url: 'https://x', sinks: {b: {url: 'tls://y,nats://z'}}}": "3:47: upstream.sinks.b.url: expected "
    "https://host, mqtts://host or tls://host (NATS), with a port where it is not the usual one",
    "{url: 'https://x', sinks: {b: {url: 'mqtts://y', token_file: t}}}": "3:60: upstream.sinks.b.token_file: this is "
    "for https, and the URL is one of mqtt; leave it out, or change the URL",
    "{url: 'https://x', sinks: {b: {url: 'mqtts://y', topic: 'a/#'}}}": "3:67: upstream.sinks.b.topic: expected a "
    "topic without wildcards and spaces",
    "{url: 'https://x', sinks: {b: {url: 'tls://y', username: u}}}": "3:68: upstream.sinks.b.username: this needs "
    "`password_file` too",
    "{url: 'https://x', events: false}": "3:30: upstream.events: events go nowhere; add `sinks`, or leave this out",
    "{url: 'https://x', directory: false, directory_stream: {url: 'tls://y'}}": "3:48: upstream.directory_stream: with "
    "`directory: false` nothing asks for changes; leave one of them out",
    "{url: 'https://x', directory_stream: {url: 'mqtts://y'}}": "3:54: upstream.directory_stream.url: expected "
    "tls://host, with a port where it is not 4222",
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
