"""From the bytes of a request to its checked parts, or to a refusal that says what would be right. Pure."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from gateway.mqtt.messages import ID_PATTERN, VERB_DATA, VERB_EXAMPLES, Envelope

PAYLOAD_BYTES_MAX = 256 * 1024
CORRELATION_BYTES_MAX = 256
_EPOCH_MS_MIN = 10**11
"""Milliseconds below this are before 1973, so most likely seconds."""
_EPOCH_MS_MAX = 10**14
_ID_SEARCH_BYTES = 4096

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decoders = {verb: msgspec.json.Decoder(data) for verb, data in VERB_DATA.items()}
_loose_id = re.compile(rb'"id"\s*:\s*"([^"\\\x00-\x1f]{1,64})"')
_is_id = re.compile(ID_PATTERN.replace("$", r"\Z")).match
_at_path = re.compile(r" - at `(?:key in )?\$(.*)`$")
_HOLDS_CREDENTIALS = frozenset({"authenticate"})
"""Verbs whose data is a card number or a code, wherever in it a client may have put it by mistake (I12)."""
_names_types_only = re.compile(r"(?:Expected|Object missing required field) `").match
"""Of msgspec's messages the ones that repeat nothing of what was sent."""


_is_number = re.compile(rb"-?[0-9][0-9.eE+-]{0,63}\Z").match
_NUMBER_AS_ID = (
    "`id`: expected a string of 1 to 64 characters, got a number; put it in quotes. "
    "The id of this answer is that number as a string."
)


class _OnlyId(msgspec.Struct, frozen=True):
    id: msgspec.Raw


_decode_only_id = msgspec.json.Decoder(_OnlyId).decode


class Malformed(Exception):
    """A request is not as the contract wants it. The message names the field and what would be right."""


class Opened(msgspec.Struct, frozen=True):
    """The parts of a request. `data` is raw JSON; `asked` is what it says, where the verb is a known one."""

    id: str
    expires_at_ms: int | None
    data: bytes
    asked: msgspec.Struct | None


def open_envelope(payload: bytes, verb: str) -> Opened:
    """Decode and check one request. Raises Malformed."""
    try:
        envelope = _decode_envelope(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(_NUMBER_AS_ID if _has_number_as_id(error, payload) else _explain(error, "", verb)) from None
    data = bytes(envelope.data)
    return Opened(envelope.id, _expires_at_ms(envelope.expires_at), data, _read(data, verb))


def find_id(payload: bytes) -> str:
    """Return the id of a request that is otherwise wrong, so that its answer finds the asker; empty without one.

    A number in the place of the id is given back as its text: whoever sent 7 will know "7".
    """
    if len(payload) <= PAYLOAD_BYTES_MAX:
        try:
            found = bytes(_decode_only_id(payload).id)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return _id_text(found)
    # What is broken or too large is not decoded; an id most likely stands at its beginning or its end.
    match = _loose_id.search(payload[:_ID_SEARCH_BYTES]) or _loose_id.search(payload[-_ID_SEARCH_BYTES:])
    return match[1].decode("utf-8", "replace") if match else ""


def _id_text(raw: bytes) -> str:
    """The id in the JSON value that stands there; empty for what is neither a fitting string nor a short number."""
    if _is_number(raw):
        return raw.decode()
    try:
        text = msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return text if _is_id(text) else ""


def _has_number_as_id(error: Exception, payload: bytes) -> bool:
    """Whether that is what is wrong; a number too long to be repeated gets the plain words."""
    if not str(error).endswith("- at `$.id`"):
        return False
    try:
        return _is_number(bytes(_decode_only_id(payload).id)) is not None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _read(data: bytes, verb: str) -> msgspec.Struct | None:
    decoder = _decoders.get(verb)
    if decoder is None:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{_explain(error, 'data', verb)} Right is, for example: {VERB_EXAMPLES[verb]}") from None


def _explain(error: Exception, root: str, verb: str) -> str:
    """Turn "Expected `str`, got `int` - at `$.value`" into "`data.value`: expected `str`, got `int`."."""
    if isinstance(error, RecursionError):
        return "The JSON is nested too deep. A request needs no more than a few levels."
    if isinstance(error, UnicodeDecodeError):
        return "The text is not UTF-8. Send JSON in UTF-8."
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return f"This is not JSON: {text[:200]}."
    match = _at_path.search(text)
    path = (root + (match[1] if match else "")).lstrip(".")
    what = text[: match.start()] if match else text
    if verb in _HOLDS_CREDENTIALS and not _names_types_only(what):
        what = "Something stands there that does not belong there; it is not repeated, as it may be a credential"
    where = f"`{path[:100]}`: " if path else ""
    return f"{where}{(what[0].lower() + what[1:] if where else what)[:300]}."


def _expires_at_ms(value: str | int | None) -> int | None:
    """Return UTC milliseconds. Raises Malformed, also for a time without a zone and for seconds."""
    if value is None:
        return None
    if isinstance(value, int):
        if _EPOCH_MS_MIN <= value <= _EPOCH_MS_MAX:
            return value
        raise Malformed("`expires_at`: a number counts milliseconds since 1970; this looks like seconds or nonsense.")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        pass
    raise Malformed("`expires_at`: expected RFC 3339 with a zone, such as 2026-07-01T19:30:05Z, or epoch milliseconds.")
