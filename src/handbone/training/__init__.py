"""Training of one fold. It does not import inference or evaluation: the score is passed in."""
