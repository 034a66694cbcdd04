"""What each role may ask of the desk. The console is a client like any other, and this is its line in `clients:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from gateway.web.live import CLIENT_PREFIX
from gateway.web.users import Role, Users, UsersError

Kind = Literal["printer", "drawer", "gate", "device", "gateway"]
_STAFF: Mapping[Kind, frozenset[str]] = {
    "printer": frozenset({"reprint", "cancel", "status"}),
    "drawer": frozenset({"open", "status"}),
    "gate": frozenset({"why", "status"}),
    "gateway": frozenset({"status"}),
}
_TECHNICIAN: Mapping[Kind, frozenset[str]] = {
    **_STAFF,
    "printer": _STAFF["printer"] | {"print"},
    "drawer": _STAFF["drawer"] | {"calibrate"},
    "device": frozenset({"beep", "light", "show", "pulse"}),
}
MAY: Mapping[Role, Mapping[Kind, frozenset[str]]] = {"viewer": {}, "staff": _STAFF, "technician": _TECHNICIAN}


class Grants(Mapping[str, Mapping[str, frozenset[str]]]):
    """Grants by client, as the desk looks them up: a user's role at this moment decides, not that of their login."""

    def __init__(self, users: Users, kinds: Mapping[str, Kind]) -> None:
        """Take the users, and what each target is."""
        self._users = users
        self._by_role = {role: _granted(may, kinds) for role, may in MAY.items()}

    def __getitem__(self, client: str) -> Mapping[str, frozenset[str]]:
        """Return target → verbs. Raises KeyError for whoever is no user of the console."""
        if not client.startswith(CLIENT_PREFIX):
            raise KeyError(client)
        try:
            user = self._users.get(client.removeprefix(CLIENT_PREFIX))
        except UsersError:
            user = None
        if user is None:
            raise KeyError(client)
        return self._by_role[user.role]

    def __iter__(self) -> Iterator[str]:
        return (CLIENT_PREFIX + name for name in self._users.all())

    def __len__(self) -> int:
        return len(self._users.all())


def _granted(may: Mapping[Kind, frozenset[str]], kinds: Mapping[str, Kind]) -> dict[str, frozenset[str]]:
    return {target: may[kind] for target, kind in kinds.items() if kind in may}
