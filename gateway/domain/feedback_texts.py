"""What readers show unless the configuration says otherwise: a tone, a colour, and a line in German and English.

The lines are for guests, so they are short, tell what to do next, and never accuse: the staff's tablet has the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.feedback import Colour, Signal, Tone
from gateway.domain.reasons import Reason


def _signal(tone: Tone, colour: Colour, german: str, english: str) -> Signal:
    return Signal(tone, colour, {"de": german, "en": english})


def _refused(german: str, english: str) -> Signal:
    return _signal("long", "red", german, english)


def _later(german: str, english: str) -> Signal:
    """Something to try again: not the guest's fault, and not for long."""
    return _signal("double", "amber", german, english)


_DESK = _refused("Bitte zum Service", "Please see the desk")
_EXPIRED = _refused("Nicht mehr gültig", "No longer valid")
_USED = _refused("Bereits eingelöst", "Already used")
_SORRY = _later("Bitte Personal rufen", "Please call staff")

DEFAULTS: Mapping[str, Signal] = {
    "granted": _signal("short", "green", "Willkommen", "Welcome"),
    "denied": _DESK,
    "paid": _signal("short", "green", "{amount} bezahlt, Rest {balance}", "{amount} paid, {balance} left"),
    "topped_up": _signal("short", "green", "{amount} geladen, jetzt {balance}", "{amount} added, now {balance}"),
    "refunded": _signal("short", "green", "{amount} zurück, jetzt {balance}", "{amount} back, now {balance}"),
    "paid_out": _signal("short", "green", "{amount} ausgezahlt", "{amount} paid out"),
    "held": _signal("short", "green", "{amount} vorgemerkt", "{amount} reserved"),
    "balance": _signal("short", "blue", "Guthaben {balance}", "Balance {balance}"),
    "redeemed": _signal("short", "green", "Eingelöst: {items}", "Redeemed: {items}"),
    "vouchers": _signal("short", "blue", "Noch da: {left}", "You have: {left}"),
    "present_card": _signal("none", "blue", "Bitte Karte vorhalten {amount}", "Please tap {amount}"),
    "cancelled": _signal("none", "amber", "Abgebrochen", "Cancelled"),
    "failed": _signal("none", "amber", "Zeit abgelaufen", "Time is over"),
    Reason.UNKNOWN_CREDENTIAL: _refused("Karte unbekannt", "Card not known"),
    Reason.BLOCKED: _DESK,
    Reason.REPLACED: _refused("Bitte die neue Karte nehmen", "Please use your new card"),
    Reason.AUTHENTICITY_FAILED: _refused("Ticket nicht lesbar, zum Service", "Ticket not readable, see desk"),
    Reason.WRONG_VENUE: _refused("Ticket gilt woanders", "Ticket is for another venue"),
    Reason.NOT_YET_VALID: _refused("Noch nicht gültig", "Not valid yet"),
    Reason.EXPIRED: _EXPIRED,
    Reason.WRONG_ZONE: _refused("Gilt nicht für diesen Bereich", "Not valid for this area"),
    Reason.OUTSIDE_SCHEDULE: _refused("Jetzt nicht gültig", "Not valid at this time"),
    Reason.ALREADY_INSIDE: _refused("Bereits eingecheckt", "Already checked in"),
    Reason.NO_USES_LEFT: _USED,
    Reason.NO_USES_LEFT_TODAY: _refused("Heute schon eingelöst", "Used up for today"),
    Reason.CAPACITY_REACHED: _later("Gerade voll, bitte warten", "Full just now, please wait"),
    Reason.GATE_LOCKED: _refused("Zur Zeit gesperrt", "Closed at the moment"),
    Reason.GATE_UNAVAILABLE: _later("Bitte anderen Zugang nehmen", "Please use another gate"),
    Reason.EMERGENCY: _signal("none", "white", "Bitte durchgehen", "Please walk through"),
    Reason.BUSY: _later("Bitte noch einmal", "Please try again"),
    Reason.DIRECTORY_UNAVAILABLE: _SORRY,
    Reason.STORAGE_UNAVAILABLE: _SORRY,
    Reason.INSUFFICIENT_FUNDS: _refused("Guthaben reicht nicht", "Not enough balance"),
    Reason.OVER_OFFLINE_LIMIT: _refused("Bitte anders bezahlen", "Please pay another way"),
    Reason.OVER_BALANCE_LIMIT: _refused("Guthaben wäre zu hoch", "Balance would be too high"),
    Reason.DIRECTORY_STALE: _refused("Bitte anders bezahlen", "Please pay another way"),
    Reason.NO_WALLET: _refused("Kein Guthabenkonto", "No wallet on this card"),
    Reason.NO_DEPOSIT_OPEN: _refused("Kein Pfand offen", "No deposit to return"),
    Reason.HOLD_OPEN: _DESK,
    Reason.SAME_WALLET: _refused("Bitte die andere Karte", "Please use the other card"),
    Reason.NO_ENTITLEMENT: _refused("Kein Gutschein dafür", "No voucher for this"),
}
"""By outcome or reason word. A refusal that is not here looks like `denied`."""
