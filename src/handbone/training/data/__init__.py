"""From cached samples to augmented batches."""
