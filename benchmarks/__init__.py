"""What is measured, against which floor, in one interleaved run: `python -m benchmarks`."""
