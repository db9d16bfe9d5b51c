"""The submission CSV, its score and its lineage."""
