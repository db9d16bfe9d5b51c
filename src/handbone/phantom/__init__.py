"""The synthetic data set, in the competition's layout."""
