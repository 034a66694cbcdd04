"""What `venue-gateway client add` shows as a QR code, and how the broker proves to be the one it tells of."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from typing import Annotated

import msgspec

from gateway.client.errors import NotConnected, WrongInvitation

VERSION = 1
CONNECT_S = 10.0
PORT_MAX = 65535
_ADDRESS = "^.+:[0-9]{1,5}$"


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Venue, addresses (`host:port`), the authority's SHA-256 (hex), and the login."""

    v: int
    venue: str
    mqtts: Annotated[str, msgspec.Meta(pattern=_ADDRESS)]
    ca_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
    user: str
    password: str
    wss: str = ""

    @classmethod
    def parse(cls, text: str) -> Invitation:
        """Return what was scanned. Raises WrongInvitation."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeError):
            # Not quoted: it may hold a password.
            raise WrongInvitation("this is no invitation of a venue; scan the code of `client add` again") from None
        if found.v != VERSION:
            raise WrongInvitation(f"invitations of version {found.v} are not known here; use a newer client")
        if not 0 < found.address[1] <= PORT_MAX:
            raise WrongInvitation(f"{found.mqtts} is no address of a venue; scan the code of `client add` again")
        return found

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of MQTT inside TLS."""
        host, _, port = self.mqtts.rpartition(":")
        return host.strip("[]"), int(port)

    def __repr__(self) -> str:
        return f"Invitation(venue={self.venue!r}, mqtts={self.mqtts!r}, user={self.user!r}, password=<hidden>)"


def trust(invitation: Invitation) -> ssl.SSLContext:
    """Return a context that trusts the venue's own authority and no other. Blocks: call it in a thread.

    The broker shows its whole chain; the authority in it is the one whose fingerprint was scanned, or nothing is
    trusted. The password is sent afterwards, over a connection that was checked against it.
    Raises WrongInvitation, NotConnected.
    """
    try:
        chain = _chain(*invitation.address)
    except OSError as error:
        raise NotConnected(f"{invitation.mqtts} cannot be reached: {error}") from error
    for certificate in chain:
        if hmac.compare_digest(hashlib.sha256(certificate).hexdigest(), invitation.ca_sha256.lower()):
            return ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(certificate))
    raise WrongInvitation(f"the broker at {invitation.mqtts} is not the one of the invitation; scan the code again")


def _chain(host: str, port: int) -> list[bytes]:
    """Return the certificates that the broker shows, in DER. Nothing is believed of them yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=CONNECT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as stream,
    ):
        if hasattr(stream, "get_unverified_chain"):
            return list(stream.get_unverified_chain())
        # Before Python 3.13 the same method is there one object deeper.
        shown = stream._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001
        return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in shown]
