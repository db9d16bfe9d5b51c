"""Times of the hot paths against the code that competitors usually write: `python -m benchmarks`."""
