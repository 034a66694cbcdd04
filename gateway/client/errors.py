"""What can go wrong, by what the caller does next."""

from __future__ import annotations

from gateway.client.messages import Answer


class VenueError(Exception):
    """Anything that goes wrong between this program and the venue."""


class WrongInvitation(VenueError):
    """What was scanned is no invitation of a venue, or the broker there is not the one it tells of."""


class NotConnected(VenueError):
    """The broker cannot be reached, refuses the login, or was left while an answer was awaited.

    Before that nothing was asked; out of a request under way it means what `NoAnswer` does.
    """


class NoAnswer(VenueError):
    """No last word came in time. It may have happened, or may still: ask again with `request_id`, which is safe."""

    def __init__(self, request_id: str) -> None:
        """Name the request that was not answered."""
        super().__init__(f"no answer to {request_id} in time; ask again with the same id")
        self.request_id = request_id


class Refusal(VenueError):
    """The gateway's last word, when it is not `done`. `str()` of it is a sentence for the person at the counter."""

    def __init__(self, answer: Answer) -> None:
        """Carry the whole answer."""
        super().__init__(answer.message or answer.reason or answer.status)
        self.answer = answer

    @property
    def reason(self) -> str:
        """The one word for machines, such as `insufficient_funds`; empty where there is none."""
        return self.answer.reason or ""


class Denied(Refusal):
    """It was not allowed, and nothing happened."""


class Failed(Refusal):
    """It was allowed and did not happen."""


class OutcomeUnknown(Refusal):
    """The gateway cannot say whether it happened. Look, then ask with a new id."""
