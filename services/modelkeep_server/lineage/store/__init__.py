"""Rows and queries of the lineage service."""
