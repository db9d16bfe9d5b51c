"""What training and inference read: one npz per image."""
