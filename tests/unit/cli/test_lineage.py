"""What the command line says of what is told as one."""

from __future__ import annotations

import pytest
from modelkeep._node import Group
from modelkeep.cli.lineage import group_words


@pytest.mark.parametrize(
    ("kind", "collection", "count", "hidden", "said"),
    [
        ("run", "", 1, False, "1 run  (t)"),
        ("version", "teams/t/projects/p/collections/net", 1200, False, "1,200 versions of net  (t)"),
        ("run", "", 3, True, "3 runs of a team that you may not read"),
        ("version", "", 1, True, "1 version of a team that you may not read"),
        ("", "", 2, True, "2 nodes of a team that you may not read"),
    ],
)
def test_an_impact_tells_runs_from_versions_also_where_nothing_else_may_be_told(
    kind: str, collection: str, count: int, hidden: bool, said: str
) -> None:
    assert group_words(Group("", 1, "down", kind, collection, "" if hidden else "t", count, 0, hidden, "")) == said
