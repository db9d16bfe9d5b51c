"""From probabilities to masks by one decision, to counts, to Dice."""
