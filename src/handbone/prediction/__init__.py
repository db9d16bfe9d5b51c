"""Trained networks applied to any picture: masks in Python, and files in several formats."""
