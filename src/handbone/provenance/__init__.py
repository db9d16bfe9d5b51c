"""Files of other revisions, and where a submission comes from: its record, its commit, and whether it can be made again."""
