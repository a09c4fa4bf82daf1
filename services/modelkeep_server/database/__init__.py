"""How a service talks to its database: one SQLite file or one PostgreSQL database, the same code."""
