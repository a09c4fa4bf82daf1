"""What the lineage service talks about: frozen values and the rules that need nothing else."""
