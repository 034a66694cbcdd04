"""X and Z reports as receipts, in German and English. Sums come from the shift; only kinds are added up here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from drivers.document import Block, Cell, Columns, Cut, Document, Rule, Text
from gateway.config.schema import Venue
from gateway.domain import booking, money
from gateway.domain import shift_events as s
from gateway.domain.booking import Line
from gateway.domain.shifts import Shift, differences_minor

OPENINGS_PRINTED = 40
COUNT_CHARS = 5
AMOUNT_CHARS = 14
Words = Mapping[str, str]

GERMAN: Words = {
    "x": "X-Bericht Nr.", "z": "Z-Bericht Nr.", "till": "Kasse", "drawer": "Lade", "opened": "Eröffnet",
    "closed": "Geschlossen", "now": "Stand", "by": "durch", "sales": "Umsatz", "refunds": "Erstattungen",
    "tips": "Trinkgeld", "tips_refunded": "Trinkgeld zurück", "deposits": "Pfand", "deposits_returned": "Pfand zurück",
    "top_ups": "Aufladungen", "payouts": "Auszahlungen", "cash": "bar", "card": "Karte", "voucher": "Gutschein",
    "wallet": "Guthaben", "vouchers": "Gutscheine gesamt", "float": "Wechselgeld", "cash_sum": "Bareinnahmen",
    "cash_paid": "Barausgaben", "cash_in": "Einlagen", "cash_out": "Entnahmen", "expected": "Soll in der Lade",
    "counted": "Gezählt", "difference": "Differenz", "in_drawer": "Bargeld", "openings": "Öffnungen der Lade",
    "forced": "ohne Auftrag geöffnet", "more": "weitere stehen im Journal", "nothing": "Keine Umsätze",
    "shift": "Schicht", "point": ",",
}  # fmt: skip
ENGLISH: Words = {
    "x": "X report no.", "z": "Z report no.", "till": "Till", "drawer": "Drawer", "opened": "Opened",
    "closed": "Closed", "now": "As of", "by": "by", "sales": "Sales", "refunds": "Refunds",
    "tips": "Tips", "tips_refunded": "Tips given back", "deposits": "Deposits",
    "deposits_returned": "Deposits returned",
    "top_ups": "Top-ups", "payouts": "Pay-outs", "cash": "cash", "card": "card", "voucher": "voucher",
    "wallet": "wallet", "vouchers": "Vouchers in all", "float": "Float", "cash_sum": "Cash taken",
    "cash_paid": "Cash given", "cash_in": "Cash in", "cash_out": "Cash out", "expected": "Expected in drawer",
    "counted": "Counted", "difference": "Difference", "in_drawer": "Cash", "openings": "Drawer openings",
    "forced": "opened unasked", "more": "more stand in the journal", "nothing": "No turnover",
    "shift": "Shift", "point": ".",
}  # fmt: skip
LANGUAGES: Mapping[str, Words] = {"de": GERMAN, "en": ENGLISH}


def x_report(shift: Shift, reported: s.ShiftReported, now_ms: int, venue: Venue, language: str) -> Document:
    """Return the interim report of an open shift."""
    words, opened = LANGUAGES[language], shift.opened
    openings = [(one.at_ms, one.client, one.reason) for _, one in sorted(shift.openings.items())]
    times = [("opened", opened.at_ms, opened.client), ("now", now_ms, reported.client)]
    blocks = [
        *_head(venue, f"{words['x']} {reported.number}", opened.till, words),
        *_times(times, venue, words),
        *_sums(opened.floats, shift.lines, booking.expected_minor(opened.floats, shift.lines), {}, words),
        *_openings(openings, shift.opening_count, venue, words),
    ]
    return _document(blocks, opened.shift, words)


def z_report(closed: s.ShiftClosed, venue: Venue, language: str) -> Document:
    """Return the final report of a closed shift; it says the same whenever it is printed."""
    words = LANGUAGES[language]
    times = [("opened", closed.opened_at_ms, closed.opened_by), ("closed", closed.at_ms, closed.client)]
    blocks = [
        *_head(venue, f"{words['z']} {closed.number}", closed.till, words),
        *_times(times, venue, words),
        *_sums(closed.floats, closed.lines, closed.expected, closed.counted, words, differences_minor(closed)),
        *_openings(list(closed.openings), closed.opening_count, venue, words),
    ]
    return _document(blocks, closed.shift, words)


def _document(blocks: list[Block], shift: str, words: Words) -> Document:
    return Document(lines=(*blocks, Rule(), Text(text=f"{words['shift']} {shift}"), Cut()))


def _head(venue: Venue, title: str, till: str, words: Words) -> Iterator[Block]:
    yield Text(text=venue.name or venue.id, align="center", bold=True)
    yield Text(text=title, align="center", bold=True, double_width=True, double_height=True)
    yield Text(text=f"{words['till']} {till}", align="center")
    yield Rule()


def _times(times: list[tuple[str, int, str]], venue: Venue, words: Words) -> Iterator[Block]:
    for word, at_ms, client in times:
        when = _local(at_ms, venue).strftime("%d.%m.%Y %H:%M:%S")
        yield Columns(cells=(Cell(text=words[word]), Cell(text=when, align="right", chars=19)))
        yield Columns(cells=(Cell(text=""), Cell(text=f"{words['by']} {client}", align="right", share=3)))


def _sums(
    floats: Mapping[str, int],
    lines: Mapping[str, Line],
    expected: Mapping[str, int],
    counted: Mapping[str, int],
    words: Words,
    differences: Mapping[str, int] | None = None,
) -> Iterator[Block]:
    for currency in sorted({*expected, *counted}):
        own = {booking.parts(name)[1:]: line for name, line in lines.items() if booking.parts(name)[0] == currency}
        yield Rule(char="=")
        yield Text(text=currency, bold=True, align="center")
        yield from _turnover(own, currency, words)
        yield Rule()
        yield from _drawer(floats.get(currency, 0), own, expected.get(currency, 0), currency, words)
        if differences is not None:
            yield _amount(words["counted"], counted.get(currency, 0), currency, words)
            yield _amount(words["difference"], differences.get(currency, 0), currency, words, bold=True)


def _turnover(own: Mapping[tuple[str, str], Line], currency: str, words: Words) -> Iterator[Block]:
    """Each kind of turnover, by what it was paid with, and under those that have several, their sum."""
    shown = False
    for kind in booking.KINDS:
        media = [(medium, own[kind, medium]) for medium in booking.MEDIA if (kind, medium) in own]
        for medium, line in media:
            yield _amount(f"{words[kind]} {words[medium]}", line.amount_minor, currency, words, line.count)
        shown = shown or bool(media)
        if len(media) > 1:
            total = Line(sum(line.amount_minor for _, line in media), sum(line.count for _, line in media))
            yield _amount(words[kind], total.amount_minor, currency, words, total.count, bold=True)
    vouchers = [line for (_, medium), line in own.items() if medium == "voucher"]
    if vouchers:
        yield _amount(
            words["vouchers"],
            sum(line.amount_minor for line in vouchers),
            currency,
            words,
            sum(line.count for line in vouchers),
            bold=True,
        )
    if not shown:
        yield Text(text=words["nothing"])


def _drawer(
    float_minor: int, own: Mapping[tuple[str, str], Line], expected_minor: int, currency: str, words: Words
) -> Iterator[Block]:
    cash = {kind: line for (kind, medium), line in own.items() if medium == "cash"}
    taken = [line for kind, line in cash.items() if kind in booking.INTO_TILL and kind != "cash_in"]
    given = [line for kind, line in cash.items() if kind in booking.OUT_OF_TILL and kind != "cash_out"]
    yield Text(text=words["in_drawer"], bold=True)
    yield _amount(words["float"], float_minor, currency, words)
    yield _amount(words["cash_sum"], sum(line.amount_minor for line in taken), currency, words)
    yield _amount(words["cash_paid"], -sum(line.amount_minor for line in given), currency, words)
    for kind, sign in (("cash_in", 1), ("cash_out", -1)):
        line = cash.get(kind, Line())
        yield _amount(words[kind], sign * line.amount_minor, currency, words, line.count)
    yield _amount(words["expected"], expected_minor, currency, words, bold=True)


def _openings(openings: list[tuple[int, str, str]], count: int, venue: Venue, words: Words) -> Iterator[Block]:
    yield Rule(char="=")
    yield Text(text=f"{words['openings']}: {count}", bold=True)
    for at_ms, client, reason in openings[-OPENINGS_PRINTED:]:
        who = f"{client}: {reason}" if client else f"! {words['forced']}"
        yield Columns(cells=(Cell(text=_local(at_ms, venue).strftime("%H:%M:%S"), chars=8), Cell(text=_plain(who))))
    if count > min(len(openings), OPENINGS_PRINTED):
        yield Text(text=f"… {words['more']}")


def _amount(
    label: str, amount_minor: int, currency: str, words: Words, count: int | None = None, *, bold: bool = False
) -> Columns:
    number = "" if count is None else f"{count}x"
    text = money.text(amount_minor, currency).removesuffix(f" {currency}").replace(".", words["point"])
    cells = (
        Cell(text=label),
        Cell(text=number, align="right", chars=COUNT_CHARS),
        Cell(text=text, align="right", chars=AMOUNT_CHARS),
    )
    return Columns(cells=cells, bold=bold)


def _plain(text: str) -> str:
    """A client may have put anything into a reason; a control character has no place on paper."""
    return "".join(char if char.isprintable() else " " for char in text)


def _local(at_ms: int, venue: Venue) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(venue.zone_info)
