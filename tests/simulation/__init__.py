"""The whole gateway on a virtual clock: seeded people, devices, broker and disk, and observers who trust none of them.

`python -m tests.simulation --seed 7` plays one run; the same seed is the same run, to the last byte on the wire.
"""
