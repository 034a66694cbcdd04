"""Which sink an entry of the YAML is."""

from __future__ import annotations

from gateway.config.upstream import SinkEntry
from gateway.upstream.http import Client, HeardDate
from gateway.upstream.https import HttpsSink
from gateway.upstream.mqtt import MqttSink
from gateway.upstream.sinks import Sink


def make_sink(entry: SinkEntry, venue: str, name: str, heard_date: HeardDate | None = None) -> Sink:
    """Return the sink called `name`; nothing is opened yet. Only HTTPS says what time it is."""
    if entry.kind == "mqtt":
        return MqttSink(entry, venue, name)
    if entry.kind == "nats":
        # NATS alone takes some megabytes, and most venues have none.
        from gateway.upstream.bus import Bus  # noqa: PLC0415
        from gateway.upstream.jetstream import JetStreamSink  # noqa: PLC0415

        return JetStreamSink(Bus(entry, f"venue-gateway.{venue}.{name}"), entry.subject.format(venue=venue))
    return HttpsSink(Client(entry, venue, heard_date))
