"""Which signal an outcome has at which place: what is built in, under what the venue says, under what a reader says."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.domain.feedback import OUTCOMES, Colour, Shown, Signal, Told, Tone, spoken
from gateway.domain.feedback_texts import DEFAULTS

OTHER_LANGUAGE = "en"
"""Shown where a text is not there in the language that is asked for."""


class Change(msgspec.Struct, frozen=True):
    """What is to be different about one outcome; None is as before."""

    tone: Tone | None = None
    colour: Colour | None = None
    text: Mapping[str, str] = {}


class Place(msgspec.Struct, frozen=True):
    """What is special about one reader or client."""

    language: str = ""
    silent: bool = False
    outcomes: Mapping[str, Change] = {}


class Book:
    """The signals of one configuration. What was asked once is remembered: a tap must not wait for it."""

    def __init__(
        self,
        languages: tuple[str, ...] = ("de", "en"),
        outcomes: Mapping[str, Change] | None = None,
        places: Mapping[str, Place] | None = None,
    ) -> None:
        """Take what differs from the built-in signals; the first language is that of displays."""
        self._languages = languages
        self._outcomes = outcomes or {}
        self._places = places or {}
        self._known: dict[tuple[str, str], Signal] = {}
        self._told: dict[tuple[str, str], Told] = {}

    def signal(self, place: str, outcome: str) -> Signal:
        """Return how an outcome, or a reason word, is told at a reader or to a client."""
        # Only places with something of their own make a difference, and outcomes are a closed set: this is bounded.
        special = place if place in self._places else ""
        known = self._known.get((special, outcome))
        if known is None:
            known = self._known[special, outcome] = self._made(self._places.get(place, Place()), outcome)
        return known

    def line(self, shown: Shown) -> str:
        """Return what a display shows."""
        signal = self.signal(shown.place, shown.outcome)
        own = self._places.get(shown.place, Place()).language
        for language in (own, *self._languages, OTHER_LANGUAGE, *signal.text):
            if language in signal.text:
                return spoken(signal.text[language], language, shown.values)
        return ""

    def told(self, shown: Shown) -> Told:
        """Return a signal with its texts as they are said, in every language of the venue that has one."""
        key = (shown.place if shown.place in self._places else "", shown.outcome)
        if (known := self._told.get(key)) is not None:
            return known
        signal = self.signal(shown.place, shown.outcome)
        own = self._places.get(shown.place, Place()).language
        wanted = [own] if own else self._languages
        texts = {one: spoken(signal.text[one], one, shown.values) for one in wanted if one in signal.text}
        told = Told(signal.tone, signal.colour, texts)
        if not any("{" in text for text in signal.text.values()):
            # It is the same for every guest.
            self._told[key] = told
        return told

    def _made(self, place: Place, outcome: str) -> Signal:
        refusal = outcome not in OUTCOMES
        signal = DEFAULTS.get(outcome, DEFAULTS["denied"])
        for changes in (self._outcomes, place.outcomes):
            if refusal and "denied" in changes:
                general = changes["denied"]
                text = general.text if outcome not in DEFAULTS else {}
                signal = _changed(signal, msgspec.structs.replace(general, text=text))
            if outcome in changes:
                signal = _changed(signal, changes[outcome])
        return msgspec.structs.replace(signal, tone="none") if place.silent else signal


def _changed(signal: Signal, change: Change) -> Signal:
    return Signal(change.tone or signal.tone, change.colour or signal.colour, {**signal.text, **change.text})
