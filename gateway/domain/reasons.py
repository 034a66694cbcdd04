"""The words a decision or an answer gives as its one reason: in the docs, on the wire and in the journal."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was not done. A word is added where needed and never reused for something else."""

    # Entry decisions.
    UNKNOWN_CREDENTIAL = "unknown_credential"
    BLOCKED = "blocked"
    REPLACED = "replaced"
    AUTHENTICITY_FAILED = "authenticity_failed"
    REPLAYED = "replayed"
    WRONG_VENUE = "wrong_venue"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    WRONG_ZONE = "wrong_zone"
    OUTSIDE_SCHEDULE = "outside_schedule"
    ALREADY_INSIDE = "already_inside"
    NO_USES_LEFT = "no_uses_left"
    NO_USES_LEFT_TODAY = "no_uses_left_today"
    CAPACITY_REACHED = "capacity_reached"
    GATE_LOCKED = "gate_locked"
    GATE_UNAVAILABLE = "gate_unavailable"
    INTERLOCKED = "interlocked"
    EMERGENCY = "emergency"
    CLOCK_UNTRUSTED = "clock_untrusted"
    DIRECTORY_UNAVAILABLE = "directory_unavailable"
    BUSY = "busy"
    STORAGE_UNAVAILABLE = "storage_unavailable"

    # Wallet decisions.
    INSUFFICIENT_FUNDS = "insufficient_funds"
    OVER_OFFLINE_LIMIT = "over_offline_limit"
    OVER_BALANCE_LIMIT = "over_balance_limit"
    OVER_ALLOWANCE = "over_allowance"
    OVER_CHARGED_AMOUNT = "over_charged_amount"
    OVER_HELD_AMOUNT = "over_held_amount"
    WRONG_CURRENCY = "wrong_currency"
    INVALID_AMOUNT = "invalid_amount"
    DIRECTORY_STALE = "directory_stale"
    NO_WALLET = "no_wallet"
    NO_DEPOSIT_OPEN = "no_deposit_open"
    SAME_WALLET = "same_wallet"
    UNKNOWN_TRANSFER = "unknown_transfer"
    HOLD_ENDED = "hold_ended"
    HOLD_OPEN = "hold_open"

    # Shifts.
    SHIFT_OPEN = "shift_open"
    NO_SHIFT_OPEN = "no_shift_open"
    NOT_COUNTED = "not_counted"
    COUNT_OUTDATED = "count_outdated"
    UNKNOWN_REPORT = "unknown_report"
    UNKNOWN_PRINTER = "unknown_printer"

    # How a reader that waits for a card can end.
    UNKNOWN_READER = "unknown_reader"
    PAYMENT_TIMED_OUT = "payment_timed_out"
    PAYMENT_CANCELLED = "payment_cancelled"
    PAYMENT_INTERRUPTED = "payment_interrupted"
    PAYMENT_ENDED = "payment_ended"

    # Redeeming entitlements.
    NO_ENTITLEMENT = "no_entitlement"
    UNKNOWN_REDEMPTION = "unknown_redemption"
    OVER_REDEEMED_COUNT = "over_redeemed_count"
    REDEMPTION_TIMED_OUT = "redemption_timed_out"
    REDEMPTION_CANCELLED = "redemption_cancelled"
    REDEMPTION_INTERRUPTED = "redemption_interrupted"
    REDEMPTION_ENDED = "redemption_ended"

    # What is wrong with a request itself.
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNKNOWN_TARGET = "unknown_target"
    UNKNOWN_VERB = "unknown_verb"
    NOT_GRANTED = "not_granted"
    RETAINED = "retained"
    EXPIRY_REQUIRED = "expiry_required"
    EXPIRY_TOO_FAR = "expiry_too_far"
    REQUEST_EXPIRED = "request_expired"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"

    # How a print job or a drawer opening can end.
    UNKNOWN_JOB = "unknown_job"
    WRONG_JOB_STATE = "wrong_job_state"
    JOB_EXPIRED = "job_expired"
    JOB_CANCELLED = "job_cancelled"
    DEVICE_OFFLINE = "device_offline"
    DEVICE_FAULT = "device_fault"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CONFIGURATION_CHANGED = "configuration_changed"

    # What a request about zones can name wrongly.
    UNKNOWN_ZONE = "unknown_zone"


MESSAGES: dict[Reason, str] = {
    Reason.UNKNOWN_CREDENTIAL: "This credential is not in the directory. Check that the directory is up to date.",
    Reason.BLOCKED: "This credential is blocked. Send the guest to the service desk.",
    Reason.REPLACED: "This credential was replaced by another. Ask the guest for the new one.",
    Reason.AUTHENTICITY_FAILED: "It did not prove to be authentic. Send the guest to the service desk.",
    Reason.REPLAYED: "This reading was shown before, as by a copy. Send the guest to the service desk.",
    Reason.WRONG_VENUE: "The ticket is for another venue.",
    Reason.NOT_YET_VALID: "The ticket is not valid yet.",
    Reason.EXPIRED: "The ticket is no longer valid.",
    Reason.WRONG_ZONE: "The ticket does not cover the zone behind this gate.",
    Reason.OUTSIDE_SCHEDULE: "The ticket is not valid at this time of the week.",
    Reason.ALREADY_INSIDE: "The guest is already inside. Scan them out first.",
    Reason.NO_USES_LEFT: "It has been used already.",
    Reason.NO_USES_LEFT_TODAY: "The ticket has been used up for today.",
    Reason.CAPACITY_REACHED: "The zone behind this gate is full. Let someone out first.",
    Reason.GATE_LOCKED: "This gate is locked down by staff.",
    Reason.GATE_UNAVAILABLE: "The gate's lock or contact does not answer. Check cable and power, or use another gate.",
    Reason.INTERLOCKED: "Another gate of this interlock is not shut. Wait until it is, then try again.",
    Reason.EMERGENCY: "Emergency release is active. Gates stand open and nobody is checked.",
    Reason.CLOCK_UNTRUSTED: "Nobody vouches for the time, so this cannot be judged. Call the technician.",
    Reason.DIRECTORY_UNAVAILABLE: "No directory has been loaded yet. Import one with `venue-gateway directory import`.",
    Reason.BUSY: "Too much is waiting already. Try again in a moment.",
    Reason.STORAGE_UNAVAILABLE: "The gateway cannot write to its disk, so nothing is admitted. Call the operator.",
    Reason.INSUFFICIENT_FUNDS: "There is not enough in the wallet. Top it up, or take another way to pay.",
    Reason.OVER_OFFLINE_LIMIT: "The wallet may spend no more until the venue is online again. Pay in another way.",
    Reason.OVER_ALLOWANCE: "This venue holds no more of the wallet and asks for more. Try again in a moment.",
    Reason.OVER_BALANCE_LIMIT: "A wallet may not hold that much. Top up less.",
    Reason.OVER_CHARGED_AMOUNT: "More cannot be given back than was charged and not given back yet.",
    Reason.OVER_HELD_AMOUNT: "More cannot be taken than was held. Take at most that, and charge the rest.",
    Reason.WRONG_CURRENCY: "Wallets here hold the venue's currency only.",
    Reason.INVALID_AMOUNT: "An amount is a whole number of minor units, from 1 to 100,000,000.",
    Reason.DIRECTORY_STALE: "The last word from upstream is too old. Bring the venue online, or import a directory.",
    Reason.NO_WALLET: "This guest has no wallet. One is opened at the service desk.",
    Reason.NO_DEPOSIT_OPEN: "No deposit of this amount has been paid here, so none can be returned.",
    Reason.SAME_WALLET: "Both cards belong to the same wallet. Show another one.",
    Reason.UNKNOWN_TRANSFER: "There is no such transfer. Use the `transfer` from the answer to the first request.",
    Reason.HOLD_ENDED: "The hold is over: captured, released or timed out. Charge the guest anew.",
    Reason.HOLD_OPEN: "A part of the wallet is still held. Capture or cancel that first.",
    Reason.SHIFT_OPEN: "This till has a shift open already. Close that first.",
    Reason.NO_SHIFT_OPEN: "This till has no shift open. Open one with `open_shift`.",
    Reason.NOT_COUNTED: "The drawer has not been counted. Count it, then close the shift.",
    Reason.COUNT_OUTDATED: "Cash has moved since the drawer was counted. Count it again.",
    Reason.UNKNOWN_REPORT: "This till has no Z report of this number.",
    Reason.UNKNOWN_PRINTER: "There is no printer of this name in the configuration.",
    Reason.UNKNOWN_READER: "There is no reader of this name. Use one of the configuration's readers.",
    Reason.PAYMENT_TIMED_OUT: "Nobody held a card to the reader in time. Nothing was charged.",
    Reason.PAYMENT_CANCELLED: "The request was cancelled. Nothing was charged.",
    Reason.PAYMENT_INTERRUPTED: "The gateway stopped before a card was shown. Nothing was charged; ask with a new id.",
    Reason.PAYMENT_ENDED: "This has ended already. What was paid is given back with `refund`.",
    Reason.NO_ENTITLEMENT: "The guest has no entitlement to that. Look at what they have with `why`.",
    Reason.UNKNOWN_REDEMPTION: "There is no such redemption. Use the `redemption` from the answer to `redeem`.",
    Reason.OVER_REDEEMED_COUNT: "More cannot be given back than was redeemed and not given back yet.",
    Reason.REDEMPTION_TIMED_OUT: "Nobody held a card to the reader in time. Nothing was redeemed.",
    Reason.REDEMPTION_CANCELLED: "The request was cancelled. Nothing was redeemed.",
    Reason.REDEMPTION_INTERRUPTED: "The gateway stopped before a card was shown. Nothing was redeemed; use a new id.",
    Reason.REDEMPTION_ENDED: "This has ended already. What was redeemed is given back with `undo`.",
    Reason.RETAINED: "Requests must not be retained. Publish with retain off.",
    Reason.EXPIRY_REQUIRED: "This request moves hardware and needs `expires_at`, a time a few seconds ahead.",
    Reason.EXPIRY_TOO_FAR: "`expires_at` is too far ahead. Use a few seconds for gates and drawers.",
    Reason.REQUEST_EXPIRED: "The request arrived after its `expires_at`. Check the tablet's clock, then ask again.",
    Reason.IDEMPOTENCY_CONFLICT: "This id was used before for something else. Use a new id for each request.",
    Reason.UNKNOWN_JOB: "This printer knows no such job. Use the `job` from the answer to the print request.",
    Reason.WRONG_JOB_STATE: "The job is not in a state in which this can be done.",
    Reason.DEVICE_OFFLINE: "The device is not connected. Check its power and its cable.",
    Reason.DEVICE_FAULT: "The device did not do what it was told. Look at it, then ask again.",
    Reason.JOB_EXPIRED: "The receipt waited too long and was not printed.",
    Reason.JOB_CANCELLED: "The print job was cancelled.",
    Reason.OUTCOME_UNKNOWN: "The gateway cannot say whether this happened. Look, then ask again with a new id.",
    Reason.UNKNOWN_ZONE: "There is no such zone in the configuration or the directory.",
    Reason.CONFIGURATION_CHANGED: "The device was removed from the configuration.",
}


def message_for(reason: Reason) -> str:
    """Return one sentence a person at the counter can act on."""
    return MESSAGES.get(reason, "The request was refused.")
