"""The live side of the page: what happened, at most five times a second, and what has changed, to every screen.

While nobody looks, nothing is worked out: a commit costs a look at its kind. With watchers, each part of the page is
worked out and encoded once for all of them, and sent where it is not what was sent before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
import structlog

from gateway.domain.answers import Answer, failed
from gateway.domain.events import RequestRef
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Committed
from gateway.web.rows import is_shown, row
from gateway.web.venue import Venue

log = structlog.get_logger(__name__)

EVERY_S = 0.2
PARTS_EVERY_S = 0.6
"""A tap is in the stream at once. What stands at all devices and gates takes longer to work out, so less often."""
CHARTS_EVERY_S = 5.0
ROWS_KEPT = 200
ROWS_SENT_MAX = 60
"""More than that in one fifth of a second nobody reads; the newest are sent."""
WATCHERS_MAX = 16
SCREENS_MAX = 4
"""Of one user: whoever opens more lets the oldest of their own go, and shuts nobody else out."""
FRAMES_WAITING_MAX = 20
"""A browser that takes nothing for four seconds is let go; it comes back by itself and gets everything anew."""
CLIENT_PREFIX = "console/"
"""No client at the broker can be called so: its names have no slash."""

_encode = msgspec.json.Encoder().encode


class Watcher:
    """One open screen. `frames` ends with None."""

    def __init__(self, user: str, *, sees_guests: bool) -> None:
        """Show to `user`; `sees_guests` where their role may know who somebody is."""
        self.user = user
        self.sees_guests = sees_guests
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue(FRAMES_WAITING_MAX)
        self.lost = False

    def send(self, frame: bytes) -> None:
        """Send a frame, or mark a browser as lost that takes none."""
        if self.lost:
            return
        if self.frames.full():
            self.lost = True
            self.frames.get_nowait()
            self.frames.put_nowait(None)
        else:
            self.frames.put_nowait(frame)

    def end(self, why: bytes) -> None:
        """Tell why it is over, and end the stream."""
        self.send(_frame(why, b"{}"))
        self.lost = True
        if self.frames.full():
            self.frames.get_nowait()
        self.frames.put_nowait(None)


class Live:
    """Follows the recorder and tells every watcher."""

    def __init__(self, venue: Venue) -> None:
        """Begin with nobody watching."""
        self._venue = venue
        self._kept: deque[Committed] = deque(maxlen=ROWS_KEPT)
        self._fresh: deque[Committed] = deque(maxlen=ROWS_SENT_MAX)
        self._watchers: dict[Watcher, None] = {}
        self._sent: dict[str, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._parts_at_s = 0.0
        self._charts_at_s = 0.0
        self._waiting: dict[tuple[str, str], asyncio.Future[Answer]] = {}

    @property
    def watchers(self) -> int:
        """How many screens look."""
        return len(self._watchers)

    # Following the recorder.

    def committed(self, entries: Sequence[Committed]) -> None:
        """Follow the recorder."""
        shown = [one for one in entries if is_shown(one)]
        self._kept += shown
        if self._watchers:
            self._fresh += shown
        for one in entries:
            if one.request is not None and one.answer is not None and one.request.client.startswith(CLIENT_PREFIX):
                self._answered(one.request, one.answer)

    def storage_failed(self, requests: Sequence[RequestRef], _error: Exception) -> None:
        """Listen to the recorder's failures: whoever asked hears that nothing was done."""
        for request in requests:
            if request.client.startswith(CLIENT_PREFIX):
                self._answered(request, failed(Reason.STORAGE_UNAVAILABLE))

    def await_answer(self, client: str, request_id: str) -> asyncio.Future[Answer]:
        """Return a future of the first answer that the journal gives to a request; `forget` it afterwards."""
        key = (client, request_id)
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        return self._waiting[key]

    def forget(self, client: str, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop((client, request_id), None)

    def _answered(self, request: RequestRef, answer: Answer) -> None:
        waiting = self._waiting.get((request.client, request.id))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
        told = {"id": request.id, "status": answer.status, "reason": answer.reason, "message": answer.message}
        for watcher in self._watchers:
            if CLIENT_PREFIX + watcher.user == request.client:
                watcher.send(_frame(b"answer", _encode(told)))

    # Watching.

    def watch(self, user: str, *, sees_guests: bool) -> Watcher | None:
        """Begin to show everything to one more screen; None when there are too many."""
        mine = [one for one in self._watchers if one.user == user and not one.lost]
        if len(mine) >= SCREENS_MAX:
            mine[0].end(b"crowded")
            self.leave(mine[0])
        if len(self._watchers) >= WATCHERS_MAX:
            return None
        watcher = Watcher(user, sees_guests=sees_guests)
        if not self._watchers:
            self._sent.clear()
            self._fresh.clear()
        # First, so that the newcomer gets the whole once, as it is now.
        self._look()
        self._watchers[watcher] = None
        watcher.send(_frame(b"parts", self._joined(self._sent)))
        watcher.send(self._rows(tuple(islice(reversed(self._kept), ROWS_KEPT))[::-1], watcher))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._round)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """A screen looks no more."""
        self._watchers.pop(watcher, None)
        if not self._watchers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def dismiss(self, is_gone: Callable[[Watcher], bool]) -> None:
        """End the stream of every watcher for whom `is_gone` says so."""
        for watcher in list(self._watchers):
            if is_gone(watcher):
                watcher.end(b"bye")

    def close(self) -> None:
        """Let everybody go."""
        self.dismiss(lambda _: True)
        for watcher in list(self._watchers):
            self.leave(watcher)
        for waiting in self._waiting.values():
            waiting.cancel()

    def snapshot(self) -> dict[str, msgspec.Raw]:
        """Return everything that is shown, encoded, by part."""
        makers = {**self._venue.parts(), "charts": self._venue.charts}
        return {name: msgspec.Raw(_encode(make())) for name, make in makers.items()}

    def _round(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(EVERY_S, self._round)
        try:
            self._tell_rows()
        except Exception:
            # A mistake in what is shown must not end the page, still less anything else.
            log.exception("console_failed", what="live")
        if loop.time() < self._parts_at_s:
            return
        self._parts_at_s = loop.time() + PARTS_EVERY_S - EVERY_S / 2
        # A part a turn: a tap that comes meanwhile waits for one of them and not for all.
        self._next_part(iter(self._makers().items()), [])

    def _next_part(self, makers: Iterator[tuple[str, Callable[[], Any]]], changed: list[str]) -> None:
        try:
            if (one := next(makers, None)) is None:
                self._tell_parts(changed)
                return
            changed += self._compare(*one)
        except Exception:
            log.exception("console_failed", what="live")
        else:
            asyncio.get_running_loop().call_soon(self._next_part, makers, changed)

    def _look(self) -> None:
        """Look at every part at once, and tell what has changed."""
        self._tell_rows()
        self._tell_parts([name for maker in self._makers().items() for name in self._compare(*maker)])

    def _makers(self) -> dict[str, Callable[[], Any]]:
        makers = dict(self._venue.parts())
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._charts_at_s or "charts" not in self._sent:
            self._charts_at_s = now_s + CHARTS_EVERY_S
            makers["charts"] = self._venue.charts
        return makers

    def _compare(self, name: str, make: Callable[[], Any]) -> list[str]:
        body = _encode(make())
        if self._sent.get(name) == body:
            return []
        self._sent[name] = body
        return [name]

    def _tell_parts(self, changed: list[str]) -> None:
        if changed:
            # As it was sent last: a newcomer may have been shown something newer meanwhile.
            frame = _frame(b"parts", self._joined(dict.fromkeys(changed)))
            for watcher in self._watchers:
                watcher.send(frame)

    def _tell_rows(self) -> None:
        fresh = tuple(self._fresh)
        self._fresh.clear()
        if fresh:
            frames: dict[bool, bytes] = {}
            for watcher in self._watchers:
                if watcher.sees_guests not in frames:
                    frames[watcher.sees_guests] = self._rows(fresh, watcher)
                watcher.send(frames[watcher.sees_guests])

    def _joined(self, names: Iterable[str]) -> bytes:
        return b"{" + b",".join(b'"%s":%s' % (name.encode(), self._sent[name]) for name in names) + b"}"

    def _rows(self, entries: Sequence[Committed], watcher: Watcher) -> bytes:
        return _frame(b"rows", _encode([row(one, sees_guests=watcher.sees_guests) for one in entries]))


def _frame(event: bytes, data: bytes) -> bytes:
    """A server-sent event; JSON has no line breaks of its own."""
    return b"event: " + event + b"\ndata: " + data + b"\n\n"
