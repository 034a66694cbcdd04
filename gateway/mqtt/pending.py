"""Where the answers to open requests go: a bounded memory of what each asker wanted."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

PENDING_MAX = 4096


class ReplyTo(msgspec.Struct, frozen=True):
    """Topic and properties of the answers to one request."""

    topic: str
    target: str = ""
    verb: str = ""
    correlation_data: bytes | None = None
    note: str = ""


class Pending:
    """(client, request id) → ReplyTo for requests without a final answer. Over its bound it forgets the oldest.

    A forgotten one still gets its answer, on the client's own responses topic and without correlation data.
    """

    def __init__(self, limit: int = PENDING_MAX) -> None:
        self._limit = limit
        self._open: OrderedDict[tuple[str, str], ReplyTo] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def remember(self, client: str, request_id: str, reply_to: ReplyTo) -> None:
        """Keep where to answer; a repeated request replaces what its first sending wanted."""
        self._open[client, request_id] = reply_to
        self._open.move_to_end((client, request_id))
        if len(self._open) > self._limit:
            self._open.popitem(last=False)

    def look_up(self, client: str, request_id: str, *, final: bool) -> ReplyTo | None:
        """Return where to answer, and forget it when the answer is the final one."""
        if final:
            return self._open.pop((client, request_id), None)
        return self._open.get((client, request_id))
