"""Where a submission comes from: its record, the commit that holds it, and whether it can be made again."""
