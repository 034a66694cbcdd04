"""The section `feedback`: good without a word, and every mistake in it named in its place."""

from __future__ import annotations

import msgspec
import pytest

from gateway.config.feedback import Feedback
from gateway.domain.feedback import Shown, Told

HEAD = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
devices: {reader: {driver: tag-reader, port: /dev/a}, other: {driver: tag-reader, port: /dev/b}}
clients: {vip-reader: {may: {wallet: [balance]}}}
"""


def test_a_venue_without_it_has_german_and_english() -> None:
    book = Feedback().book
    assert book.line(Shown("reader", "granted")) == "Willkommen"
    assert book.told(Shown("vip-reader", "no_uses_left")) == Told(
        "long", "red", {"de": "Bereits eingelöst", "en": "Already used"}
    )


def test_what_is_written_takes_the_place_of_what_is_built_in(problems, read) -> None:
    text = (
        HEAD
        + """\
feedback:
  languages: [en, fr]
  show_holder: true
  outcomes:
    granted: {tone: double, text: {fr: "Bonjour {holder}"}}
    denied: {colour: amber}
  readers:
    other: {language: fr, silent: true, outcomes: {expired: {colour: red}}}
    vip-reader: {language: de}
"""
    )
    assert problems(text) == []
    book = read(text).feedback.book
    assert book.signal("reader", "granted").tone == "double"
    assert book.line(Shown("reader", "granted")) == "Welcome"
    assert book.line(Shown("other", "granted", {"holder": "ada"})) == "Bonjour ada"
    assert book.signal("other", "granted").tone == "none"
    assert book.signal("reader", "blocked").colour == "amber"
    assert (book.signal("other", "expired").colour, book.signal("other", "blocked").colour) == ("red", "amber")
    assert book.told(Shown("vip-reader", "expired")).text == {"de": "Nicht mehr gültig"}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{outcomes: {grantd: {tone: short}}}", "feedback.outcomes.grantd: unknown outcome; did you mean `granted`?"),
        ("{outcomes: {granted: {tone: loud}}}", "feedback.outcomes.granted.tone: expected one of"),
        ("{outcomes: {granted: {colour: pink}}}", "feedback.outcomes.granted.colour: expected one of"),
        ("{outcomes: {granted: {beep: short}}}", "feedback.outcomes.granted.beep: unknown key"),
        ('{outcomes: {granted: {text: {de: "{name}"}}}}', "feedback.outcomes.granted.text.de: only {amount}"),
        ('{outcomes: {granted: {text: {de: "{amount.x}"}}}}', "feedback.outcomes.granted.text.de: only {amount}"),
        ('{outcomes: {granted: {text: {de: "{amount:>99}"}}}}', "feedback.outcomes.granted.text.de: only {amount}"),
        ('{outcomes: {granted: {text: {de: "{"}}}}', "feedback.outcomes.granted.text.de: only {amount}"),
        ('{outcomes: {granted: {text: {de: "Hallo {holder}"}}}}', "needs `show_holder: true`"),
        ("{outcomes: {granted: {text: {german: x}}}}", "expected a language of two letters"),
        ("{languages: []}", "feedback.languages: expected 1 to 8 entries"),
        ("{languages: [deutsch]}", "feedback.languages[0]: expected a language of two letters"),
        ("{readers: {raeder: {}}}", 'feedback.readers.raeder: no reader and no client is called "raeder"'),
        ("{show_s: 0}", "feedback.show_s: expected a number from 0.5 to 60"),
    ],
)
def test_a_mistake_is_named(problems, section: str, said: str) -> None:
    (problem,) = problems(f"{HEAD}feedback: {section}\n")
    assert problem.startswith("5:")
    assert said in problem


def test_it_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Feedback().show_s = 1
    assert msgspec.json.encode(Feedback())
