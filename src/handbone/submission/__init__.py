"""The CSV that is handed in: encoding, score, lineage."""
