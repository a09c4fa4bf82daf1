"""What the lineage service needs from others, in its own words: its database, one file per noun, and metadata."""
