"""What the metadata service talks about: frozen values and the rules that need nothing else."""
