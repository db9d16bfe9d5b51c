"""Faults of a data set's labels, found by comparing each image's polygons with the anatomy of all others."""
