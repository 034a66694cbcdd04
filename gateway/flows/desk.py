"""The one door for requests: is this client allowed, is it still wanted, was it asked before.

The desk knows no hardware and no MQTT. It hands a request that passes to the one handler for its target and verb, and
the answer to it comes out of the journal; only queries and refusals are answered on the spot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from gateway.domain.answers import Answer, denied, failed
from gateway.domain.events import RequestRef
from gateway.domain.reasons import Reason
from gateway.domain.state import StoredAnswer
from gateway.flows.recorder import Recorder
from gateway.store.journal import JournalBusy, StorageUnavailable

MS_PER_S = 1000


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request of one client.

    `data` is the raw JSON of what it asks, `asked` the same already read, where whoever took the request knew the type;
    `fingerprint` is a digest of target, verb and data.
    """

    client: str
    id: str
    target: str
    verb: str
    data: bytes
    expires_at_ms: int | None
    fingerprint: str
    asked: Any = None

    @property
    def ref(self) -> RequestRef:
        """The reference that the journal keeps."""
        return RequestRef(self.client, self.id, self.fingerprint)


class RefusedRequest(Exception):
    """A handler cannot take a request; the answer says why."""

    def __init__(self, answer: Answer) -> None:
        """Carry the answer to send."""
        super().__init__(answer.message)
        self.answer = answer


class Handler(msgspec.Struct, frozen=True):
    """What serves one verb of one target.

    `take` gets the request and returns an answer for a query, or None when the journal will answer. `moves_metal` makes
    `expires_at` a must; `repeatable` marks queries, whose ids are not kept.
    """

    take: Callable[[Request], Answer | None]
    moves_metal: bool = False
    repeatable: bool = False


class Desk:
    """The one door for requests. `configure()` swaps in the targets and grants of a new configuration at once."""

    def __init__(self, recorder: Recorder) -> None:
        """Begin with no targets and no grants: everything is refused."""
        self._recorder = recorder
        self._handlers: Mapping[str, Mapping[str, Handler]] = {}
        self._grants: Mapping[str, Mapping[str, frozenset[str]]] = {}
        self._expiry_max_ms = 60 * MS_PER_S
        self._closed = False

    def configure(
        self,
        handlers: Mapping[str, Mapping[str, Handler]],
        grants: Mapping[str, Mapping[str, frozenset[str]]],
        expiry_max_ms: int,
    ) -> None:
        """Serve `handlers[target][verb]` to the clients that `grants[client][target]` names the verb for."""
        self._handlers, self._grants, self._expiry_max_ms = handlers, grants, expiry_max_ms

    def close(self) -> None:
        """Take nothing new any more, as the gateway stops; what was done is told to whoever asks again."""
        self._closed = True

    def handle(self, request: Request) -> Answer | None:
        """Return the answer to give at once, or None when it will come from the journal."""
        handler = self._find(request)
        if isinstance(handler, Answer):
            return handler
        if not handler.repeatable:
            earlier = self._recorder.answered(request.client, request.id)
            if earlier is not None:
                return self._again(request, earlier)
            if self._recorder.lost:
                return failed(Reason.STORAGE_UNAVAILABLE)
        if self._closed:
            return denied(Reason.BUSY, "The gateway is stopping. Ask again when it is back.")
        if reason := self._untimely(request, handler):
            return denied(reason)
        try:
            return handler.take(request)
        except RefusedRequest as refused:
            return refused.answer
        except JournalBusy:
            return denied(Reason.BUSY)
        except StorageUnavailable:
            return failed(Reason.STORAGE_UNAVAILABLE)

    def _again(self, request: Request, earlier: StoredAnswer) -> Answer | None:
        """Give a repeated request the answer of the first (I2)."""
        if earlier.fingerprint != request.fingerprint:
            return denied(Reason.IDEMPOTENCY_CONFLICT)
        if not self._recorder.awaits_disk(request.client, request.id):
            return earlier.answer
        lost = self._recorder.lost
        if lost and not lost.fatal and self._recorder.never_stored(request.client, request.id):
            # What is not on disk has not happened. After a failed sync only the next start knows what is on disk.
            return failed(Reason.STORAGE_UNAVAILABLE)
        # It is answered when the answer is on disk (I1): at the next commit, or when the disk is well again.
        return None

    def _find(self, request: Request) -> Handler | Answer:
        """Grants come first: a client without any learns nothing of what else is there."""
        granted = self._grants.get(request.client, {})
        verbs = self._handlers.get(request.target)
        if request.verb in granted.get(request.target, ()) and verbs and request.verb in verbs:
            return verbs[request.verb]
        if request.target not in granted:
            if verbs is None:
                return denied(Reason.UNKNOWN_TARGET, _unknown("target", request.target, granted))
            return denied(Reason.NOT_GRANTED, f"{request.client} has no grant for {request.target}. {_ASK}")
        if verbs is None:
            return denied(Reason.UNKNOWN_TARGET, _unknown("target", request.target, granted))
        if request.verb not in verbs:
            return denied(Reason.UNKNOWN_VERB, _unknown("verb", request.verb, granted[request.target]))
        return denied(Reason.NOT_GRANTED, f"{request.client} may not {request.verb} at {request.target}. {_ASK}")

    def _untimely(self, request: Request, handler: Handler) -> Reason | None:
        if request.expires_at_ms is None:
            return Reason.EXPIRY_REQUIRED if handler.moves_metal else None
        now_ms = self._recorder.now_ms()
        if request.expires_at_ms <= now_ms:
            return Reason.REQUEST_EXPIRED
        if handler.moves_metal and request.expires_at_ms > now_ms + self._expiry_max_ms:
            return Reason.EXPIRY_TOO_FAR
        return None


Data = TypeVar("Data")


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
"""One for each type of `data`: making one takes longer than using it."""


def read_data(request: Request, data_type: type[Data]) -> Data:
    """Return the request's `data` as `data_type`; raises RefusedRequest that names the field which is wrong."""
    if type(request.asked) is data_type:
        return request.asked
    decoder = _decoders.get(data_type)
    if decoder is None:
        decoder = _decoders[data_type] = msgspec.json.Decoder(data_type)
    try:
        decoded: Data = decoder.decode(request.data)
    except msgspec.DecodeError as error:
        raise RefusedRequest(
            denied(Reason.MALFORMED, f"{_wrong(error)}. See the contract for {request.verb}.")
        ) from None
    except UnicodeDecodeError:
        raise RefusedRequest(denied(Reason.MALFORMED, "`data` is not UTF-8.")) from None
    except RecursionError:
        raise RefusedRequest(denied(Reason.MALFORMED, "`data` is nested too deep.")) from None
    return decoded


_repeats_nothing = re.compile(
    r"(?:Expected|Object missing required field) `|Object contains unknown field `[A-Za-z_]{1,32}`"
).match
"""Of msgspec's messages the ones that repeat nothing of what was sent, but for a key that cannot be a number."""


def _wrong(error: msgspec.DecodeError) -> str:
    """Say where something is wrong and what belongs there; what stands there may be a card number (I12)."""
    text = str(error)
    what, at, path = text.rpartition(" - at ")
    where = path.replace("$", "data", 1) if at else "`data`"
    if not isinstance(error, msgspec.ValidationError):
        return "`data` is not JSON"
    if not _repeats_nothing(text):
        return f"Something stands at {where} that does not belong there"
    return f"{what or text} - at {where}"


_ASK = "A technician grants it in the YAML under clients."


def _unknown(noun: str, name: str, known: object) -> str:
    names = sorted(str(one) for one in known) if isinstance(known, (Mapping, frozenset, set)) else []
    close = get_close_matches(name, names, 1)
    hint = f" Did you mean {close[0]}?" if close else f" Granted here: {', '.join(names) or 'nothing'}."
    return f"There is no {noun} {name[:64]!r}.{hint}"
