"""The cache: one npz per image, which training and inference read."""
