from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.topics import Parsed, RequestTopic, Topics

topics = Topics("hall")
names = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,62}\Z")
levels = st.text(st.characters(exclude_characters="/+#\0", exclude_categories=["Cs"]), min_size=1, max_size=80)


@given(names, levels, levels)
def test_a_request_topic_parses_to_what_it_was_built_from(client: str, target: str, verb: str) -> None:
    topic = topics.request(client, target, verb)
    assert topics.parse_request(topic) == RequestTopic(client, target, verb)
    assert topics.parse(topic) == Parsed("request", client=client, target=target, verb=verb)


@given(names)
def test_every_other_topic_parses_to_what_it_was_built_from(name: str) -> None:
    assert topics.parse(topics.responses(name)) == Parsed("response", client=name)
    assert topics.parse(topics.device_state(name)) == Parsed("device_state", device=name)
    assert topics.parse(topics.device_events(name)) == Parsed("device_events", device=name)
    assert topics.parse_device_state(topics.device_state(name)) == name


@given(st.text())
def test_any_text_is_parsed_without_an_error(text: str) -> None:
    for topic in (text, f"{topics.base}/{text}", topics.client_prefix("a") + text):
        topics.parse(topic)
        topics.parse_request(topic)
        topics.parse_device_state(topic)


@given(names, st.text())
def test_a_response_topic_never_leaves_the_prefix(client: str, text: str) -> None:
    if topics.may_respond_to(client, text):
        assert text.startswith(f"venue/hall/clients/{client}/")
        assert topics.parse_request(text) is None


def test_fixed_topics() -> None:
    assert topics.base == "venue/hall"
    assert topics.parse("venue/hall/gateway/state") == Parsed("gateway_state")
    assert topics.parse("venue/hall/events") == Parsed("events")
    assert topics.parse("venue/other/events") is None


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("venue/hall/clients/bar/replies/1", True),
        ("venue/hall/clients/bar/responses", True),
        ("venue/hall/clients/bar/requests/gate/open", False),
        ("venue/hall/clients/bar/requests", False),
        ("venue/hall/clients/bar/", False),
        ("venue/hall/clients/bar/+", False),
        ("venue/hall/clients/bar2/x", False),
        ("venue/hall/clients/other/responses", False),
        ("venue/hall/gateway/state", False),
        ("venue/hall/clients/bar/" + "x" * 300, False),
    ],
)
def test_where_an_answer_may_go(topic: str, allowed: bool) -> None:
    assert topics.may_respond_to("bar", topic) is allowed


@pytest.mark.parametrize(
    "topic",
    [
        "venue/hall/clients/Bar/requests/a/b",
        "venue/hall/clients/bar/requests/a",
        "venue/hall/clients/bar/requests/a/b/c",
        "venue/hall/clients/bar\n/requests/a/b",
        "venue/hall/clients//requests/a/b",
    ],
)
def test_what_is_no_request(topic: str) -> None:
    assert topics.parse_request(topic) is None
