"""The offline page about a run."""
