"""Training of one fold; it knows nothing of inference."""
