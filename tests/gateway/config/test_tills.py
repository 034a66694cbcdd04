"""Tills: what each may name, and that nothing is named twice."""

from __future__ import annotations

import pytest

from gateway.config.schema import Clock, Till
from tests.gateway.config.test_problems import HEAD, VENUE

CLIENTS = "clients: {tab: {may: {paper: [print]}}, two: {}}\n"

CASES = {
    "no such drawer": (
        "{bar: {drawer: draw}}",
        '13:23: tills.bar.drawer: no drawer is called "draw"; did you mean `drawer`?',
    ),
    "a printer for a drawer": (
        "{bar: {drawer: paper}}",
        "13:23: tills.bar.drawer: `paper` is a printer, not a drawer; there is `drawer`",
    ),
    "no such printer": (
        "{bar: {printer: x}}",
        '13:24: tills.bar.printer: no printer is called "x"; there is `paper`',
    ),
    "no such client": (
        "{bar: {clients: [tob]}}",
        '13:25: tills.bar.clients[0]: no client is called "tob"; did you mean `two`?',
    ),
    "one client twice": (
        "{bar: {clients: [tab, tab]}}",
        "13:30: tills.bar.clients[1]: `tab` is here already; what a client takes is booked to one till",
    ),
    "one client at two tills": (
        "{bar: {clients: [tab]}, desk: {clients: [tab]}}",
        "13:49: tills.desk.clients[0]: `tab` is at till `bar` already; what a client takes is booked to one till",
    ),
    "one drawer at two tills": (
        "{bar: {drawer: drawer}, desk: {drawer: drawer}}",
        "13:47: tills.desk.drawer: `drawer` belongs to till `bar` already; one drawer is counted in one shift",
    ),
    "the name of a device": (
        "{paper: {}}",
        "13:9: tills.paper: a device or gate has this name already; every device, gate and till needs its own",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_tills(problems, case):
    text, problem = CASES[case]
    assert problems(HEAD + VENUE + CLIENTS + f"tills: {text}\n") == [problem]


def test_a_verb_that_no_till_knows(problems):
    text = HEAD + VENUE + "tills: {bar: {}}\nclients: {tab: {may: {bar: [open]}}}\n"
    (problem,) = problems(text)
    assert problem.startswith('13:29: clients.tab.may.bar[0]: "open" is nothing to ask of a till; a till knows')


def test_what_stands_in_the_file_is_what_counts(read):
    text = HEAD + VENUE + CLIENTS + "tills: {bar: {drawer: drawer, clients: [tab]}}\nclock: {trust: vouched}\n"
    configuration = read(text)
    assert configuration.tills == {"bar": Till(drawer="drawer", clients=("tab",))}
    assert configuration.clock == Clock(trust="vouched", untrusted="flag")


def test_most_venues_need_not_say_anything_of_the_clock(read):
    assert read(HEAD + VENUE).clock == Clock(trust="auto", untrusted="flag")
