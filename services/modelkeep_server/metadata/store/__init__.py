"""Rows and queries of the metadata service."""
