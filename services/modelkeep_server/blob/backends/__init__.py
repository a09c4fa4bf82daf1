"""Bytes at rest: in memory, in a folder, in an S3 store, and what can be put around each of them."""
