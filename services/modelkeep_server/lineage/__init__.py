"""lineage: runs, what they measured, and the graph of what came from what.

Owns runs with their tags, config, summary and metrics, and the graph of runs and versions, all in one database. Runs come from
whoever begins them; the graph comes from the events of metadata alone, which this service reads. Nobody calls it but clients.
"""
