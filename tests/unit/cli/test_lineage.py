"""What the command line says of what is told as one."""

from __future__ import annotations

import pytest
from modelkeep._node import Group
from modelkeep.cli.lineage import alias_words, group_words, no_way_words, nothing_words

NET = "teams/t/projects/p/collections/net"


@pytest.mark.parametrize(
    ("group", "elsewhere", "said"),
    [
        (("run", "", "t", 1, False), "", "1 run  (t)"),
        (("version", NET, "t", 1200, False), "", "1,200 versions of net  (t)"),
        (("run", "", "t", 2, False), "p/", "2 runs of p  (t)"),
        (("version", NET, "t", 2, False), "t/p/", "2 versions of t/p/net  (t)"),
        (("run", "", "", 3, True), "", "3 runs of a team that you may not read"),
        (("version", "", "", 1, True), "", "1 version of a team that you may not read"),
        (("", "", "", 2, True), "", "2 nodes of a team that you may not read"),
    ],
)
def test_an_impact_tells_runs_from_versions_also_where_nothing_else_may_be_told(
    group: tuple[str, str, str, int, bool], elsewhere: str, said: str
) -> None:
    kind, collection, type_, count, hidden = group
    assert group_words(Group("", 1, "down", kind, collection, type_, count, 0, hidden, ""), elsewhere) == said


def test_an_alias_of_another_team_is_told_with_it() -> None:
    assert alias_words(f"{NET}/aliases/best", "t") == "p/net:best"
    assert alias_words(f"{NET}/aliases/best", "other") == "t/p/net:best"


def test_that_there_is_no_way_is_said_only_when_all_was_looked_at() -> None:
    """SEM-53."""
    assert no_way_words("a:v0", "b:v0", "") == "no way leads from a:v0 to b:v0; b:v0 may lie before it"
    assert "there may be one: the walk met 9 nodes" in no_way_words("a:v0", "b:v0", "the walk met 9 nodes")


def test_that_nothing_is_there_says_where_and_of_what() -> None:
    assert nothing_words("a:v0", "both", "") == "nothing is beside a:v0"
    assert nothing_words("a:v0", "up", " of type model") == "nothing of type model is directly above a:v0"
    assert nothing_words("a:v0", "down", "") == "nothing is directly below a:v0"
