"""Receipts that the gateway itself makes: print jobs that no client's request stands behind."""

from __future__ import annotations

from hashlib import sha256

from gateway.config.schema import Limits
from gateway.domain import events as e
from gateway.flows.recorder import Recorder

MS_PER_S = 1000


def receipt(recorder: Recorder, limits: Limits, printer: str, job: str, client: str, content: bytes) -> e.PrintQueued:
    """Return the fact that a document of the gateway's own waits for a printer.

    Record it with `content`, the document as JSON, as the attachment `job`, and wake the printer's queue afterwards.
    """
    return e.PrintQueued(
        job=job,
        printer=printer,
        client=client,
        content="document",
        size_bytes=len(content),
        digest=sha256(content).hexdigest(),
        expires_at_ms=recorder.now_ms() + int(limits.print_hold_s * MS_PER_S),
    )
