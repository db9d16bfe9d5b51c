"""Dice, from counts to metrics."""
