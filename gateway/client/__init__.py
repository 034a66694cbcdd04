"""A small client for whoever writes a tablet, a kiosk or a report in Python: asyncio, typed, over the venue's broker.

It knows nothing of the gateway but its contract (docs/asyncapi.yaml), so it can be copied out of this project. See
docs/clients.md for an example.
"""

from gateway.client.errors import Denied, Failed, NoAnswer, NotConnected, OutcomeUnknown, VenueError, WrongInvitation
from gateway.client.invitation import Invitation
from gateway.client.messages import Admission, Answer, Balance, Entry, Opened, Printed, Transfer
from gateway.client.venue import VenueClient, Waiting

__all__ = [
    "Admission",
    "Answer",
    "Balance",
    "Denied",
    "Entry",
    "Failed",
    "Invitation",
    "NoAnswer",
    "NotConnected",
    "Opened",
    "OutcomeUnknown",
    "Printed",
    "Transfer",
    "VenueClient",
    "VenueError",
    "Waiting",
    "WrongInvitation",
]
