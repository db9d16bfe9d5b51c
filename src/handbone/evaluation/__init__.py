"""From probabilities to masks by one decision, then to counts and Dice."""
