"""A synthetic data set in the competition's layout: bone outlines, an X-ray look, and the files."""
