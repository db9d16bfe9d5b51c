"""What a training will take before it runs: sizes and batches that fit a GPU, hours, and the ceiling that a size sets to the Dice."""
