"""The CSV that is handed in, its score and its lineage."""
