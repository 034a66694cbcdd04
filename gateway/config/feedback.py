"""The section `feedback`: what guests see and hear. Whoever writes none gets good German and English."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.config import tree
from gateway.config.problems import Problems, advice, join, quote
from gateway.config.reading import read_struct, struct_type
from gateway.domain import feedback
from gateway.domain.feedback import Colour, Tone
from gateway.domain.feedback_book import Book, Change, Place
from gateway.domain.reasons import Reason

OUTCOME_WORDS = (*feedback.OUTCOMES, *(reason.value for reason in Reason))
Language = Annotated[
    str, Meta(pattern="^[a-z]{2}$", extra={"expected": "a language of two letters (ISO 639-1), such as de or en"})
]
Text = Annotated[
    str,
    Meta(max_length=80, description="A line for the guest. {amount}, {balance}, {items}, {left} are put in."),
]


class OutcomeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How one outcome is told; what is left out stays as it is built in."""

    tone: Annotated[Tone | None, Meta(description="How often the reader beeps.")] = None
    colour: Annotated[Colour | None, Meta(description="Colour of the reader's light; none leaves it alone.")] = None
    text: Annotated[dict[str, Text], Meta(description="Language → line on the display.")] = {}


class PlaceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is special about one reader, or one client that shows something itself."""

    language: Annotated[
        Language | None, Meta(description="Language of its display. Left out: the first of `languages`.")
    ] = None
    silent: Annotated[bool, Meta(description="True for a reader that never beeps.")] = False
    outcomes: Annotated[dict[str, OutcomeEntry], Meta(description="Outcome or reason word → how it is told here.")] = {}


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What guests see and hear at readers."""

    languages: Annotated[
        tuple[Language, ...],
        Meta(min_length=1, max_length=8, description="Languages of the venue; displays show the first."),
    ] = ("de", "en")
    show_s: Annotated[float, Meta(ge=0.5, le=60, description="Seconds a light or a line stays.")] = 3.0
    show_holder: Annotated[
        bool, Meta(description="True allows {holder} in texts: then a display tells who the guest is.")
    ] = False
    outcomes: Annotated[
        dict[str, OutcomeEntry], Meta(description="Outcome or reason word → how it is told at every reader.")
    ] = {}
    readers: Annotated[dict[str, PlaceEntry], Meta(description="Reader or client → what is special about it.")] = {}

    @property
    def book(self) -> Book:
        """The signals as the flows take them."""
        places = {
            name: Place(entry.language or "", entry.silent, _changes(entry.outcomes))
            for name, entry in self.readers.items()
        }
        return Book(self.languages, _changes(self.outcomes), places)


def _changes(entries: dict[str, OutcomeEntry]) -> dict[str, Change]:
    return {name: Change(entry.tone, entry.colour, entry.text) for name, entry in entries.items()}


def read_feedback(section: tree.Entry | None, places: Collection[str], problems: Problems) -> Feedback | None:
    """Return the feedback, the built-in one where none is given; None when something is wrong, here or before.

    `places` are the readers and clients that there are.
    """
    if section is None:
        return Feedback()
    before = len(problems)
    values = read_struct(section.node, struct_type(Feedback), "feedback", problems, at=section.key_mark)
    if len(problems) > before:
        return None
    read = msgspec.convert(values, Feedback)
    whole = section.node
    _check_outcomes(_child(whole, "outcomes"), "feedback.outcomes", read, problems)
    readers = _child(whole, "readers")
    for name, entry in readers.entries.items() if isinstance(readers, tree.Mapping) else ():
        path = join("feedback.readers", name)
        if name not in places:
            message = f"no reader and no client is called {quote(name)}; {advice(name, list(places), '')}"
            problems.add(entry.key_mark, path, message)
        _check_outcomes(_child(entry.node, "outcomes"), join(path, "outcomes"), read, problems)
    return read if len(problems) == before else None


def _child(node: tree.Node | None, key: str) -> tree.Node | None:
    return node.entries[key].node if isinstance(node, tree.Mapping) and key in node.entries else None


def _check_outcomes(node: tree.Node | None, path: str, read: Feedback, problems: Problems) -> None:
    for name, entry in node.entries.items() if isinstance(node, tree.Mapping) else ():
        if name not in OUTCOME_WORDS:
            problems.add(entry.key_mark, join(path, name), f"unknown outcome; {advice(name, OUTCOME_WORDS, '')}")
        texts = _child(entry.node, "text")
        for language, line in texts.entries.items() if isinstance(texts, tree.Mapping) else ():
            if re.fullmatch("[a-z]{2}", language) is None:
                message = "expected a language of two letters (ISO 639-1), such as de or en"
                problems.add(line.key_mark, join(join(join(path, name), "text"), language), message)
            _check_text(line, join(join(join(path, name), "text"), language), read, problems)


def _check_text(line: tree.Entry, path: str, read: Feedback, problems: Problems) -> None:
    text = line.node.value if isinstance(line.node, tree.Scalar) else ""
    if not isinstance(text, str):
        return
    if fault := feedback.text_fault(text):
        problems.add(line.node.mark, path, fault)
    elif feedback.names_holder(text) and not read.show_holder:
        message = "a display that tells who the guest is needs `show_holder: true`; else leave {holder} out"
        problems.add(line.node.mark, path, message)
