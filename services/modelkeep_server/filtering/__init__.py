"""The filter language of lists (`docs/filter.md`): its grammar, what an expression means, and how it becomes SQL.

A service says which fields it has (`fields.Field`), gives the text of a request to `parser`, and the query that comes out to
`sql`, with a table of its columns. Only `sql` knows of databases; nothing here knows of any service. `searches` lets only some
lists be searched at once.
"""
