"""Networks by name, behind one contract: (N, C_in, H, W) images in, (N, classes, H, W) logits out."""
