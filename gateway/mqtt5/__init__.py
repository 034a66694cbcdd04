"""One MQTT 5 connection over asyncio: to the venue's own broker, and to one that is upstream."""
