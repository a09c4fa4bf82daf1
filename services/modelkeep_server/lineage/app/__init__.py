"""What the lineage service does: one file of use cases per noun; the order of steps, and what is one transaction."""
