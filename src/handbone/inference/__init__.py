"""From images to probabilities at the network's resolution."""
