"""The stream's speed and memory, side by side with its peers, as `python -m tests.bench.stream`."""
