"""Networks by name with one contract: images (N, C_in, H, W) -> logits (N, classes, H, W)."""
