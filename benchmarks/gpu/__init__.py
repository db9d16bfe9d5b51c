"""Measurements and checks of the GPU path: `python -m benchmarks.gpu`."""
