"""Faults of a submission CSV that the competition's server would refuse or score wrong, all in one list, and repairs without guesses."""
