"""What a training will take before it runs: sizes and batches that fit a GPU, hours, and the best Dice that a size allows."""
