"""Simulated venue hardware: separate processes that speak the real bytes over ptys and TCP.

Each device is `python -m simulators.NAME --control SOCK …`; `simulators.venue` starts a whole venue of them and
`simulators.control` is the client that holds tags, empties paper rolls and pulls plugs. Frames are written here from
the devices' manuals, not shared with the drivers, so that the two sides check each other.
"""
