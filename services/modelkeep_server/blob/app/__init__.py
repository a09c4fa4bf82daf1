"""The use cases of the blob service: the order of steps, and what is one transaction."""
