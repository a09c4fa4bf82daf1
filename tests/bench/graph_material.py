"""A graph of any size on PostgreSQL, made by the database itself: runs that use some versions and make one each.

Half of all runs are of one project, the others of 49; a run uses up to five versions of its project, mostly of late, so that
the ancestry of the last version is nearly all of its project. One version is used by a fifth of all runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

PROJECTS = 50
BIG = 0
COLLECTIONS = 40
JOB_TYPES = 8
USES = 5
WINDOW = 400
"""A run uses versions that are at most so many older in its project."""


@dataclass(frozen=True)
class Named:
    """A node."""

    id: int
    name: str


class Material:
    """Run j has the id 2j, and makes the version 2j + 1; the version 1 is made by nobody, and used by many."""

    def __init__(self, nodes: int) -> None:
        self.runs = nodes // 2
        self.hub = Named(1, "teams/default/projects/shared/collections/hub/versions/v0")
        self.users = 0

    def _version(self, run: int) -> Named:
        project, number = self._project(run), self._number(run)
        collection = number % COLLECTIONS
        name = f"teams/default/projects/p{project}/collections/c{collection}/versions/v{number // COLLECTIONS}"
        return Named(2 * run + 1, name)

    def _project(self, run: int) -> int:
        return BIG if run % 2 == 0 else 1 + (run // 2) % (PROJECTS - 1)

    def _number(self, run: int) -> int:
        """Which one of its project a run is."""
        return run // 2 if run % 2 == 0 else (run // 2) // (PROJECTS - 1)

    def last_of(self, project: int) -> Named:
        """The version that a project made last."""
        return self._version(next(run for run in range(self.runs, 0, -1) if self._project(run) == project))

    def middle_of(self, project: int) -> Named:
        """One that it made half way."""
        return self._version(next(run for run in range(self.runs // 2, 0, -1) if self._project(run) == project))

    async def load(self, connection: asyncpg.Connection) -> None:
        """Fill the empty tables of lineage, and those of the peer; indexes are made at the end, as after any restore."""
        secondary = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'graph_edge' AND indexname LIKE 'ix_%'"
        indexes = await connection.fetch(secondary)
        before = ["SELECT setseed(0.42)", "SET session_replication_role = replica", "SET work_mem = '256MB'"]
        after = ["RESET session_replication_role", "RESET work_mem", *(index["indexdef"] for index in indexes)]
        drops = [f"DROP INDEX {index['indexname']}" for index in indexes]
        for statement in (*before, *drops, *_statements(self.runs), *after, *_ANALYZE):
            await connection.execute(statement, timeout=3600)
        self.users = await connection.fetchval("SELECT count(*) FROM graph_edge WHERE source_id = 1")


_ANALYZE = [f"VACUUM ANALYZE {table}" for table in ("graph_label", "graph_node", "graph_edge", "graph_fan", "bench_edge")]
_STEP = f"CASE WHEN r % 2 = 0 THEN 2 ELSE {2 * (PROJECTS - 1)} END"
_PROJECT = f"CASE WHEN r % 2 = 0 THEN 0 ELSE 1 + (r / 2) % {PROJECTS - 1} END"
_NUMBER = f"CASE WHEN r % 2 = 0 THEN r / 2 ELSE (r / 2) / {PROJECTS - 1} END"
_HUB_LABEL = PROJECTS * (COLLECTIONS + JOB_TYPES) + 1
_VERSION_LABEL = f"1 + ({_PROJECT}) * {COLLECTIONS} + ({_NUMBER}) % {COLLECTIONS}"
_RUN_LABEL = f"1 + {PROJECTS * COLLECTIONS} + ({_PROJECT}) * {JOB_TYPES} + r % {JOB_TYPES}"


def _statements(runs: int) -> list[str]:
    big_labels, rare = PROJECTS * COLLECTIONS, COLLECTIONS - 1
    return [
        f"""INSERT INTO graph_label (id, key, kind, team, project, collection, type, name_time, type_time)
            SELECT 1 + p * {COLLECTIONS} + c, 'uid:' || p || '/' || c, 2, 'default', 'p' || p, 'c' || c,
                   CASE WHEN c = 0 THEN 'dataset' WHEN c = {rare} THEN 'rare' ELSE 'model' END, 0, 0
            FROM generate_series(0, {PROJECTS - 1}) p, generate_series(0, {COLLECTIONS - 1}) c""",
        f"""INSERT INTO graph_label (id, key, kind, team, project, collection, type, name_time, type_time)
            SELECT 1 + {big_labels} + p * {JOB_TYPES} + t, 'run:' || p || '/' || t, 1, 'default', 'p' || p, '',
                   'train-' || t, 0, 0
            FROM generate_series(0, {PROJECTS - 1}) p, generate_series(0, {JOB_TYPES - 1}) t""",
        f"""INSERT INTO graph_label (id, key, kind, team, project, collection, type, name_time, type_time)
            VALUES ({_HUB_LABEL}, 'uid:hub', 2, 'default', 'shared', 'hub', 'dataset', 0, 0)""",
        _nodes(f"SELECT 1, 'v1', {_HUB_LABEL}, 0, '', '', 'sha256:00', 0"),
        _nodes(
            f"""SELECT 2 * r, 'teams/default/projects/p' || ({_PROJECT}) || '/runs/r' || r, {_RUN_LABEL}, 0, 'r' || r,
                'run ' || r, '', r FROM generate_series(1, {runs}) r"""
        ),
        _nodes(
            f"""SELECT 2 * r + 1, 'v' || (2 * r + 1), {_VERSION_LABEL}, ({_NUMBER}) / {COLLECTIONS}, '', '', 'sha256:00', r
                FROM generate_series(1, {runs}) r"""
        ),
        # A use is of the version of an earlier run of the same project: so many steps before, most of them few.
        f"""CREATE UNLOGGED TABLE bench_use AS SELECT DISTINCT 2 * v + 1 AS source, 2 * r AS target, r AS time FROM (
              SELECT r, r - ({_STEP}) * (1 + floor(random() * random() * {WINDOW}))::bigint AS v
              FROM generate_series(1, {runs}) r, generate_series(1, {USES}) k) uses WHERE v > 0
            UNION ALL SELECT 1, 2 * r, r FROM generate_series(5, {runs}, 5) r
            UNION ALL SELECT 2 * r, 2 * r + 1, r FROM generate_series(1, {runs}) r""",
        """INSERT INTO graph_edge SELECT u.source, u.target, s.label_id, t.label_id,
             row_number() OVER (PARTITION BY u.source, t.label_id ORDER BY u.time, u.target),
             row_number() OVER (PARTITION BY u.target, s.label_id ORDER BY u.time, u.source),
             CASE WHEN u.source % 2 = 0 THEN 2 ELSE 1 END, u.time, '', false
           FROM bench_use u JOIN graph_node s ON s.id = u.source JOIN graph_node t ON t.id = u.target""",
        "INSERT INTO graph_fan SELECT source_id, true, target_label_id, count(*) FROM graph_edge GROUP BY 1, 3",
        "INSERT INTO graph_fan SELECT target_id, false, source_label_id, count(*) FROM graph_edge GROUP BY 1, 3",
        f"INSERT INTO graph_cursor VALUES ('default', 'shared', 1, {runs})",
        "CREATE TABLE bench_edge AS SELECT source, target FROM bench_use",
        "ALTER TABLE bench_edge ADD PRIMARY KEY (source, target)",
        "CREATE INDEX ON bench_edge (target, source)",
        "DROP TABLE bench_use",
    ]


def _nodes(rows: str) -> str:
    columns = "id, key, label_id, number, run_id, display_name, digest, create_time"
    return f"INSERT INTO graph_node ({columns}, is_external) SELECT *, false FROM ({rows}) rows"
