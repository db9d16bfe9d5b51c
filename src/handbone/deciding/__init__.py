"""Searches on out-of-fold scores: which decision is better, by how much, and whether that is more than noise."""
