"""Sparse multi-label masks and maps, and every conversion between them; NumPy, numba and OpenCV only."""
