"""What the command line says of what is told as one."""

from __future__ import annotations

import pytest
from modelkeep._node import Group
from modelkeep.cli.lineage import group_words, no_way_words


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


def test_that_there_is_no_way_is_said_only_when_all_was_looked_at() -> None:
    """SEM-53."""
    assert no_way_words("a:v0", "b:v0", "") == "no way leads from a:v0 to b:v0; b:v0 may lie before it"
    assert "there may be one: the walk met 9 nodes" in no_way_words("a:v0", "b:v0", "the walk met 9 nodes")
