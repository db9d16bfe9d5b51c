"""From images to probabilities to masks at full resolution."""
