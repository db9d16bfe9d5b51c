"""The submission CSV, its score and its lineage; the vote of several submissions, and how they differ."""
