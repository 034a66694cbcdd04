"""Which sink an entry of the YAML is."""

from __future__ import annotations

from collections.abc import Callable

from gateway.config.upstream import ChangeStream, SinkEntry
from gateway.upstream.changes import Changes
from gateway.upstream.http import Client
from gateway.upstream.https import HttpsSink
from gateway.upstream.mqtt import MqttSink
from gateway.upstream.sinks import Sink


def make_sink(entry: SinkEntry, venue: str, name: str, client: Callable[[], Client] | None = None) -> Sink:
    """Return the sink called `name`; nothing is opened yet.

    `client` makes what an entry for HTTPS goes through; without it that is one that shows no certificate.
    """
    if entry.kind == "mqtt":
        return MqttSink(entry, venue, name)
    if entry.kind == "nats":
        # NATS alone takes some megabytes, and most venues have none.
        from gateway.upstream.bus import Bus  # noqa: PLC0415
        from gateway.upstream.jetstream import JetStreamSink  # noqa: PLC0415

        bus, subject = Bus(entry, venue, name), entry.subject.format(venue=venue)
        return JetStreamSink(bus, subject, entry.keep_after_ack_s)
    return HttpsSink(client() if client is not None else Client(entry, venue))


def make_changes(stream: ChangeStream, venue: str) -> Changes:
    """Return what brings the directory's changes from a JetStream; nothing is opened yet."""
    from gateway.upstream.bus import Bus  # noqa: PLC0415
    from gateway.upstream.stream import StreamChanges  # noqa: PLC0415

    bus = Bus(stream, venue, "directory")
    return StreamChanges(bus, stream.subject.format(venue=venue), stream.durable.format(venue=venue))
