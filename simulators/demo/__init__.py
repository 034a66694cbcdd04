"""The demonstration: a private venue of simulated devices, a real broker, the real gateway, and a story told with them.

`python -m simulators.demo [--exit]`, which is what `venue-gateway demo` starts. It knows the gateway only from outside:
by its command line, its MQTT topics and its files.
"""
