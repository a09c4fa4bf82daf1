"""The index of chunks: rows and queries, the same on SQLite and PostgreSQL."""
