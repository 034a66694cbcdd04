"""The report of an outage as a receipt, in German and English. It says what the JSON says, shorter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from drivers.document import Block, Cell, Columns, Cut, Document, Rule, Text
from gateway.config.schema import Venue
from gateway.domain import money
from gateway.domain.reconciliation import Clash, Exposure, Report

LINES_PRINTED = 40
AMOUNT_CHARS = 14
Words = Mapping[str, str]

GERMAN: Words = {
    "title": "Ohne Verbindung", "sink": "Ziel", "since": "Seit", "until": "Bis", "goes_on": "dauert an",
    "numbers": "Einträge", "entries": "Einlässe", "passed": "durchgegangen", "returned": "zurückgegeben",
    "unknown": "unbekannt", "overridden": "von Hand", "clock_untrusted": "Uhrzeit unsicher", "redeemed": "Einlösungen",
    "denied": "Abgelehnt", "over_entries": "Auch anderswo eingelassen", "conflicts": "Widersprüche",
    "open": "Ausgang unbekannt", "nothing": "nichts", "more": "weitere stehen im Bericht", "report": "Bericht",
    "allowance": "aus Freigaben", "offline_limit": "auf Risiko", "own": "eigene Guthaben", "none": "ohne Guthaben",
    "spent_minor": "ausgegeben", "given_back_minor": "zurück", "paid_in_minor": "eingezahlt",
    "paid_out_minor": "ausgezahlt", "moved_minor": "umgebucht", "held_minor": "reserviert", "exposed": "netto",
    "entry": "Einlass", "print_job": "Druckauftrag", "drawer_opening": "Lade", "point": ",",
}  # fmt: skip
ENGLISH: Words = {
    "title": "Offline", "sink": "Sink", "since": "Since", "until": "Until", "goes_on": "goes on",
    "numbers": "Entries in journal", "entries": "Guests let in", "passed": "passed", "returned": "handed back",
    "unknown": "unknown", "overridden": "by hand", "clock_untrusted": "clock in doubt", "redeemed": "Redemptions",
    "denied": "Denied", "over_entries": "Let in elsewhere too", "conflicts": "Conflicts",
    "open": "Outcome unknown", "nothing": "none", "more": "more stand in the report", "report": "Report",
    "allowance": "from allowances", "offline_limit": "at risk", "own": "own wallets", "none": "without wallet",
    "spent_minor": "spent", "given_back_minor": "given back", "paid_in_minor": "paid in",
    "paid_out_minor": "paid out", "moved_minor": "moved", "held_minor": "held", "exposed": "net",
    "entry": "entry", "print_job": "print job", "drawer_opening": "drawer", "point": ".",
}  # fmt: skip
LANGUAGES: Mapping[str, Words] = {"de": GERMAN, "en": ENGLISH}
_PARTS = ("spent_minor", "given_back_minor", "paid_in_minor", "paid_out_minor", "moved_minor", "held_minor")
_ENTRIES = ("passed", "returned", "unknown", "overridden", "clock_untrusted")


def receipt(report: Report, digest: str, venue: Venue, language: str) -> Document:
    """Return the report as a document for any printer; `digest` says which JSON it belongs to."""
    words = LANGUAGES[language]
    blocks = [
        *_head(report, venue, words),
        *_entries(report, words),
        *_money(report, words),
        *_denied(report, words),
        *_clashes(words["over_entries"], report.over_entries, report.more.get("over_entries", 0), words),
        *_clashes(words["conflicts"], report.conflicts, report.more.get("conflicts", 0), words),
        *_unknown(report, words),
        Rule(),
        Text(text=f"{words['report']} {digest[:16]}"),
        Cut(),
    ]
    return Document(lines=tuple(blocks))


def _head(report: Report, venue: Venue, words: Words) -> Iterator[Block]:
    outage = report.outage
    yield Text(text=venue.name or venue.id, align="center", bold=True)
    yield Text(text=words["title"], align="center", bold=True, double_width=True, double_height=True)
    yield _line(words["sink"], outage.sink)
    yield _line(words["since"], _local(outage.since_ms, venue))
    yield _line(words["until"], words["goes_on"] if outage.until_ms is None else _local(outage.until_ms, venue))
    yield _line(words["numbers"], f"{outage.after_seq + 1}-{outage.through_seq}")
    yield Rule()


def _entries(report: Report, words: Words) -> Iterator[Block]:
    yield _line(words["entries"], str(report.entries.granted), bold=True)
    for name in _ENTRIES:
        if count := getattr(report.entries, name):
            yield _line(f"  {words[name]}", str(count))
    for gate, count in report.gates.items():
        yield _line(f"  {gate}", str(count))
    yield _line(words["redeemed"], str(report.redeemed))


def _money(report: Report, words: Words) -> Iterator[Block]:
    for currency, kinds in report.exposure.items():
        yield Rule(char="=")
        yield Text(text=currency, bold=True, align="center")
        for kind, exposure in kinds.items():
            yield Text(text=words[kind], bold=True)
            yield from _exposure(exposure, currency, words)


def _exposure(exposure: Exposure, currency: str, words: Words) -> Iterator[Block]:
    for part in _PARTS:
        if amount_minor := getattr(exposure, part):
            yield _amount(words[part], amount_minor, currency, words)
    yield _amount(words["exposed"], exposure.exposed_minor, currency, words)


def _denied(report: Report, words: Words) -> Iterator[Block]:
    yield Rule(char="=")
    total = sum(sum(reasons.values()) for reasons in report.denied.values())
    yield _line(words["denied"], str(total), bold=True)
    for reasons in report.denied.values():
        for reason, count in reasons.items():
            yield _line(f"  {reason}", str(count))


def _clashes(title: str, clashes: list[Clash], more: int, words: Words) -> Iterator[Block]:
    yield _line(title, str(len(clashes) + more), bold=True)
    for clash in clashes[:LINES_PRINTED]:
        yield _line(f"  {clash.seq} {clash.what}", clash.elsewhere)
    if more or len(clashes) > LINES_PRINTED:
        yield Text(text=f"… {words['more']}")


def _unknown(report: Report, words: Words) -> Iterator[Block]:
    yield _line(words["open"], str(len(report.unknown) + report.more.get("unknown", 0)), bold=True)
    for one in report.unknown[:LINES_PRINTED]:
        yield _line(f"  {one.seq} {words[one.what]}", one.where)
    if len(report.unknown) > LINES_PRINTED or report.more.get("unknown"):
        yield Text(text=f"… {words['more']}")


def _line(label: str, value: str, *, bold: bool = False) -> Columns:
    return Columns(
        cells=(Cell(text=_plain(label), share=3), Cell(text=_plain(value), align="right", share=2)), bold=bold
    )


def _amount(label: str, amount_minor: int, currency: str, words: Words) -> Columns:
    text = money.text(amount_minor, currency).removesuffix(f" {currency}").replace(".", words["point"])
    return Columns(cells=(Cell(text=f"  {label}"), Cell(text=text, align="right", chars=AMOUNT_CHARS)))


def _plain(text: str) -> str:
    """Upstream may have put anything into a name; a control character has no place on paper."""
    return "".join(char if char.isprintable() else " " for char in text)


def _local(at_ms: int, venue: Venue) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(venue.zone_info).strftime("%d.%m.%Y %H:%M:%S")
