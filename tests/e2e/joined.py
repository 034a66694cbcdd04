"""A venue whose clients join as the manual says: TLS, WebSockets inside it, and what `client add` shows."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.e2e.venue import Venue
from tests.ports import free_port

TILL = ["charge", "top_up", "balance", "cancel", "refund"]


def with_till(settings: dict[str, Any]) -> None:
    """The bar's tablet may take money, and the reader of the north gate stands at the till: no gate lists it."""
    settings["clients"]["bar-tablet"]["may"]["wallet"] = TILL
    settings["gates"]["north"]["readers"] = []


async def begin(venue: Venue) -> dict[str, Any]:
    """Apply the broker's files, start broker and daemon, and return the invitation of `bar-tablet`.

    The venue is to be made with `start=("directory",)`.
    """
    websockets = free_port()
    await apply(venue, websockets)
    await venue.broker.start()
    await venue._open.enter_async_context(venue.observer)
    await venue.start_daemon()
    return invitation(venue, "bar-tablet", websockets)


async def apply(venue: Venue, websockets: int, *more: str) -> None:
    """Bring the grants of the configuration into force at the broker, as `broker apply` does."""
    folder = venue.broker.configuration.parent
    listen = ("--tls", f"127.0.0.1:{venue.broker.port}", "--websockets", f"127.0.0.1:{websockets}")
    words = ("broker", "apply", "--folder", folder, *listen, "--name", "127.0.0.1", "--user", "root", *more)
    applied = await venue.command(*words)
    assert applied.status == 0, applied.err


def invitation(venue: Venue, client: str, websockets: int = 0) -> dict[str, Any]:
    """What the QR code of a client holds, put together by hand from the files it tells of."""
    authority = x509.load_pem_x509_certificate((venue.broker.configuration.parent / "ca.crt").read_bytes())
    return {
        "v": 1,
        "venue": venue.settings["venue"]["id"],
        "mqtts": f"127.0.0.1:{venue.broker.port}",
        "wss": f"127.0.0.1:{websockets}",
        "ca_sha256": authority.fingerprint(hashes.SHA256()).hex(),
        "user": client,
        "password": (venue.state_dir / "clients" / f"{client}.password").read_text().strip(),
    }


def text(told: dict[str, Any]) -> str:
    """An invitation as it is scanned."""
    return json.dumps(told, separators=(",", ":"))


def key_pin(folder: Path) -> str:
    """SHA-256 of the broker's public key in base64: how a Chromium is told to believe this one certificate."""
    key = x509.load_pem_x509_certificate((folder / "broker.crt").read_bytes()).public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(*form))
    return base64.b64encode(digest.finalize()).decode()
