"""Questions about the graph, on both engines: groups, pages, access, as of a time, and how little is read for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from modelkeep.errors import InvalidPageToken, PermissionDenied, RunNotFound, VersionNotFound
from modelkeep.names import ProjectName
from modelkeep_server.database.engine import Database, Query
from modelkeep_server.database.paging import Page
from modelkeep_server.lineage.domain import graph_walk
from modelkeep_server.lineage.domain.graph import Direction, Group, NodeFilter, NodeKind
from modelkeep_server.lineage.domain.graph_ask import CommonAsk, LineageAsk, NeighborsAsk, PathsAsk
from modelkeep_server.lineage.ports.graph import Beside
from modelkeep_server.lineage.store import graph_step
from modelkeep_server.lineage.store.graph_sql import LAST
from sqlalchemy import text

from tests.databases import copied
from tests.unit.lineage.graph_rig import (
    CALLER,
    DOWN,
    PROJECT,
    RIVAL,
    TEAM,
    UP,
    GraphRig,
    edges,
    layered,
    names,
    run,
    short,
    version,
)
from tests.unit.lineage.rig import made

THEIRS = ProjectName("rivals", "secret")


@pytest.fixture(params=["sqlite", "postgresql"])
async def graph(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphRig]:
    async with copied(request.param, tmp_path, made) as url:
        database = Database(url)
        yield GraphRig(database)
        await database.close()


async def opened(graph: GraphRig, group: Group, size: int) -> list[str]:
    """All nodes of a group, page by page."""
    found, page = [], Page(size)
    while True:
        listing = await graph.app.list_group_nodes(CALLER, group.token, page)
        found += ["?" if link.node.is_hidden else short(link.node.node) for link in listing.items]
        if not listing.next_token:
            return found
        page = Page(size, listing.next_token)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
async def test_continuations_give_the_whole_and_nothing_twice(graph: GraphRig, most: int) -> None:
    """SEM-53: in the same order, whatever was logged between two answers, cycles and both directions included."""
    layered(graph)
    graph.used("gen5-0:v0", "run0-0")  # a circle
    await graph.read()
    root = version("gen2-1:v0")
    for ask in ({"group_from": 0}, {"filter": NodeFilter(kind=NodeKind.VERSION)}, {"max_depth": 2}):
        whole = await graph.lineage(root, **ask)
        ask_now = LineageAsk(root, (UP, DOWN), **ask, max_nodes=most)
        told, count = [], 0
        pairs: list[tuple[int, int]] = []
        while True:
            part = await graph.one_answer(ask_now)
            assert len(part.nodes) + len(part.groups) <= most
            told += names(part)
            pairs += [(edge.source_id, edge.target_id) for edge in part.edges]
            if part.truncation is None:
                break
            graph.used(root, f"meanwhile-{count}")
            graph.made(f"meanwhile-{count}:v0", "run2-1")
            await graph.read()
            count += 1
            ask_now = replace(ask_now, continuation=part.truncation.continuation)
        assert told == names(whole)
        assert pairs == [(edge.source_id, edge.target_id) for edge in whole.edges]
        root = version("gen3-1:v0")  # it has no children of meanwhile yet


async def test_a_continuation_belongs_to_its_question(graph: GraphRig) -> None:
    layered(graph)
    await graph.read()
    part = await graph.one_answer(LineageAsk(version("gen2-1:v0"), (UP,), max_nodes=2))
    assert part.truncation
    for other in (
        LineageAsk(version("gen2-0:v0"), (UP,), continuation=part.truncation.continuation),
        LineageAsk(version("gen2-1:v0"), (DOWN,), continuation=part.truncation.continuation),
        LineageAsk(version("gen2-1:v0"), (UP,), group_from=9, continuation=part.truncation.continuation),
    ):
        with pytest.raises(InvalidPageToken):
            await graph.one_answer(other)


async def test_answers_do_not_depend_on_how_many_edges_a_step_reads(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nodes with many edges several pages are read; a group is never cut in two."""
    data = graph.made("data:v0")
    for i in range(30):
        graph.used(data, f"sweep-{i}")
        graph.made(f"out{i % 7}:v{i}", f"sweep-{i}")
    await graph.read()
    asks: list[dict[str, Any]] = [{"group_from": 0}, {"group_from": 4}, {"group_from": 31}]
    expected = [await graph.lineage(data, DOWN, **ask) for ask in asks]
    for rows in (4, 5, 9):
        monkeypatch.setattr(graph_step, "ROWS_AT_ONCE", max(rows, 4))
        graph.graph._stepping = graph_step.Stepping(graph.database)
        for ask, whole in zip(asks, expected, strict=True):
            if ask["group_from"] > rows:
                continue
            told = await graph.lineage(data, DOWN, **ask)
            assert sorted(names(told)) == sorted(names(whole))
            assert edges(told) == edges(whole)
            assert {(g.fan, g.node_count) for g in told.groups} == {(g.fan, g.node_count) for g in whole.groups}


async def test_groups_as_of_a_time_are_those_of_then(graph: GraphRig) -> None:
    """SEM-55, 56: also where events came in another order than they happened."""
    data = graph.made("data:v0")
    times = []
    for i in range(9):
        graph.used(data, f"sweep-{i}")
        times.append(graph.logs.time)
    # The log of another project is read later, and tells of a use that was the first of all.
    late = graph.logs.logs[PROJECT].pop(1)
    graph.logs.logs[PROJECT] = [replace(event, sequence=n) for n, event in enumerate(graph.logs.logs[PROJECT], 1)]
    await graph.read()
    graph.logs.logs[PROJECT].append(replace(late, sequence=10))
    await graph.read()
    for count, time in enumerate(times, 1):
        told = await graph.lineage(data, as_of=time)
        if count < 5:
            assert sorted(names(told)) == sorted(["data:v0", *(f"sweep-{i}" for i in range(count))])
        else:
            (group,) = told.groups
            assert group.node_count == count
            assert await opened(graph, group, 3) == [f"sweep-{i}" for i in reversed(range(count))]


class TestAccess:
    """SEM-54, M-AUTHZ-1."""

    @pytest.fixture
    async def graph(self, graph: GraphRig) -> GraphRig:
        """Our data, their runs on it, and what we made of their model."""
        data = graph.made("data:v0", type_="dataset")
        for i in range(6):
            graph.used(data, run(f"theirs-{i}", THEIRS), "secret words")
        model = graph.made("model:v0", "theirs-0", project=THEIRS)
        graph.used(model, run("ours"), "rivals/secret/model:best")
        graph.made("result:v0", "ours")
        await graph.read()
        return graph

    async def test_a_way_through_hidden_nodes_does_not_break(self, graph: GraphRig) -> None:
        told = await graph.lineage(version("result:v0"), UP)
        assert names(told) == ["result:v0", "ours", "?", "?", "data:v0"]
        assert {edge.alias_text for edge in told.edges} == {""}
        paths = await graph.one_answer(PathsAsk(version("data:v0"), version("result:v0")))
        assert names(paths) == ["data:v0", "?", "?", "ours", "result:v0"]

    async def test_a_group_of_hidden_nodes_tells_their_number_alone(self, graph: GraphRig) -> None:
        told = await graph.lineage(version("data:v0"), DOWN)
        (group,) = told.groups
        assert (group.is_hidden, group.node_count) == (True, 6)
        assert await opened(graph, group, 4) == ["?"] * 6

    async def test_no_filter_tells_of_hidden_nodes(self, graph: GraphRig) -> None:
        for filter_ in (
            NodeFilter(types=frozenset({"model", ""})),
            NodeFilter(projects=frozenset({THEIRS, PROJECT})),
            NodeFilter(since=graph.logs.time - timedelta(days=1)),
        ):
            told = await graph.lineage(version("result:v0"), UP, filter=filter_)
            assert "?" not in names(told)
        assert await graph.neighbors(run("ours"), UP, types=frozenset({"model"})) == []

    async def test_nothing_begins_at_a_hidden_node(self, graph: GraphRig) -> None:
        theirs = version("model:v0", THEIRS)
        with pytest.raises(PermissionDenied):
            await graph.lineage(theirs)
        with pytest.raises(PermissionDenied):
            await graph.one_answer(PathsAsk(version("data:v0"), theirs))
        with pytest.raises(PermissionDenied):
            await graph.app.list_common_ancestors(CALLER, CommonAsk(version("result:v0"), theirs), Page())
        with pytest.raises(PermissionDenied):
            await graph.app.get_impact(CALLER, theirs, None)
        with pytest.raises(PermissionDenied):
            await graph.app.list_neighbors(CALLER, NeighborsAsk(theirs, UP), Page())

    async def test_a_group_that_one_may_not_have_seen_is_not_opened(self, graph: GraphRig) -> None:
        told = await graph.lineage(version("data:v0"), DOWN)
        nobody = replace(RIVAL, team="third")
        with pytest.raises(PermissionDenied):
            await graph.app.list_group_nodes(nobody, told.groups[0].token, Page())

    async def test_a_group_between_hidden_nodes_is_not_opened_and_tells_of_no_team(self, graph: GraphRig) -> None:
        for i in range(6):
            graph.made("model:v0", f"again-{i}", project=THEIRS, deduplicated=True)
        await graph.read()
        told = await graph.lineage(version("result:v0"), UP)
        (group,) = told.groups
        assert group.is_hidden
        with pytest.raises(PermissionDenied, match="group_from below 0") as caught:
            await graph.app.list_group_nodes(CALLER, group.token, Page())
        assert "rivals" not in f"{caught.value} {caught.value.metadata}"
        told = await graph.lineage(version("result:v0"), UP, group_from=0)
        assert names(told) == ["result:v0", "ours", *["?"] * 8, "data:v0"]
        assert not any(edge.deduplicated for edge in told.edges)

    async def test_an_impact_counts_hidden_nodes_and_aliases(self, graph: GraphRig) -> None:
        impact = await graph.app.get_impact(CALLER, version("data:v0"), None)
        assert impact.counts == {NodeKind.RUN: 7, NodeKind.VERSION: 2}
        hidden = {group.label.kind: group.node_count for group in impact.groups if group.is_hidden}
        assert hidden == {NodeKind.RUN: 6, NodeKind.VERSION: 1}
        assert all(not group.label.team for group in impact.groups if group.is_hidden)


async def test_impact_names_the_aliases_that_point_there_now(graph: GraphRig) -> None:
    graph.used(graph.made("data:v0"), "train")
    graph.made("model:v0", "train")
    graph.made("model:v1", "other")
    graph.pointed("best", 0, 1)
    graph.pointed("production", 1, 1)
    graph.pointed("old", 0, 1)
    graph.pointed("old", None, 2)
    await graph.read()
    impact = await graph.app.get_impact(CALLER, version("data:v0"), None)
    assert impact.aliases == (f"teams/{TEAM}/projects/vision/collections/model/aliases/best",)
    assert (await graph.app.get_impact(CALLER, version("model:v0"), None)).alias_count == 1


async def test_common_ancestors_come_nearest_first_in_pages(graph: GraphRig) -> None:
    layered(graph, depth=4)
    await graph.read()
    ask = CommonAsk(version("gen3-0:v0"), version("gen3-1:v0"), NodeFilter(kind=NodeKind.VERSION))
    found, page = [], Page(2)
    while True:
        listing, _ = await graph.app.list_common_ancestors(CALLER, ask, page)
        found += [(shown.depth, short(shown.node)) for shown in listing.items]
        if not listing.next_token:
            break
        page = Page(2, listing.next_token)
    assert sorted(found) == [(depth, f"gen{level}-{i}:v0") for depth, level in ((4, 2), (8, 1), (12, 0)) for i in range(3)]
    assert found == sorted(found, key=lambda pair: pair[0])


async def test_what_is_not_there(graph: GraphRig) -> None:
    graph.made("data:v0")
    with pytest.raises(VersionNotFound, match="not all events were read yet"):
        await graph.lineage(version("data:v0"))
    await graph.read()
    with pytest.raises(RunNotFound, match="there is no run 'none' in acme/vision"):
        await graph.lineage(run("none"))
    with pytest.raises(VersionNotFound, match="there is no data:v1"):
        await graph.lineage(version("data:v1"))


class TestWhatIsRead:
    """Counts, not seconds."""

    async def fetched(self, graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
        """The statements that go past sqlalchemy, and how many rows each gave."""
        said: list[tuple[str, int]] = []
        fetch = Database.fetch

        async def noted(self: Database, query: Query, values: Any) -> Sequence[Any]:
            rows = await fetch(self, query, values)
            said.append((query.sql, len(rows[0][0]) // 8 if rows and isinstance(rows[0][0], bytes) else len(rows)))
            return rows

        monkeypatch.setattr(Database, "fetch", noted)
        return said

    async def test_a_first_page_takes_less_than_ten_queries(self, graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
        """However deep the graph is."""
        for i in range(150):
            graph.made(f"model:v{i}", f"train-{i}")
            graph.used(f"model:v{i}", f"train-{i + 1}")
        await graph.read()
        said = await self.fetched(graph, monkeypatch)
        with graph.counted() as others:
            stream = graph.app.stream_lineage(CALLER, LineageAsk(version("model:v149"), (UP,), group_from=0))
            part = await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
        assert len(part.nodes) >= 100
        assert len(said) + len(others) < 10

    async def test_a_hub_is_grouped_without_reading_it(self, graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of each fan five edges are read, and its size is known."""
        data = graph.made("data:v0")
        for i in range(300):
            graph.used(data, f"sweep-{i}")
        await graph.read()
        said = await self.fetched(graph, monkeypatch)
        told = await graph.lineage(data)
        assert [group.node_count for group in told.groups] == [300]
        assert sum(rows for _, rows in said) < 30

    async def test_a_page_of_a_hub_reads_its_own_rows(self, graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
        """By an index in the order of the page, on both engines; also of one type, and deep in the list."""
        data = graph.made("data:v0")
        for i in range(400):
            graph.used(data, f"sweep-{i}")
        await graph.read()
        (node,) = [node for node in (await graph.lineage(data)).nodes if node.depth == 0]
        (label,) = {group.label.id for group in (await graph.lineage(data)).groups}
        if not graph.database.is_sqlite:
            async with graph.database.engine.begin() as connection:
                await connection.execute(text("ANALYZE"))
        asked: list[tuple[Query, Any]] = []
        fetch = Database.fetch
        monkeypatch.setattr(
            Database, "fetch", lambda self, query, values: (asked.append((query, values)), fetch(self, query, values))[1]
        )
        for labels in (None, [label], [label, label + 1, label + 2], range(label, label + 100)):
            which = Beside(node.node.id, Direction.DOWNSTREAM, LAST, labels)
            first = await graph.graph.beside(which, Page(10), "x")
            asked.clear()
            with graph.counted() as others:
                second = await graph.graph.beside(which, Page(10, first.next_token), "x")
            last = first.items[-1][1].target_id
            assert [edge.target_id for _, edge in second.items] == [last - i for i in range(1, 11)]
            assert not others
            ((query, values),) = asked
            is_sorted = labels is not None and len(labels) > 64
            assert await self.read_rows(graph, query, values, is_sorted=bool(labels)) < (500 if is_sorted else 50)

    async def read_rows(self, graph: GraphRig, query: Query, values: Any, *, is_sorted: bool) -> int:
        """How many rows of edges the database reads for a page of ten, by its own count or its plan."""
        async with graph.database.engine.connect() as connection:
            if graph.database.is_sqlite:
                plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters(values))).all()
                said = [row[3] for row in plan]
                assert is_sorted or any("SEARCH graph_edge USING COVERING INDEX" in line for line in said), said
                assert not any("SCAN graph_edge" in line for line in said), said
                # What is sorted without need is the page itself, once it is found.
                assert is_sorted or sum("TEMP B-TREE" in line for line in said) == 1, said
                return 11
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {query.sql}"
            (rows,) = await driver.fetchrow(explained, *query.parameters(values))
            return max(int(_actual(limit)) for plan in rows for limit in _limits(plan["Plan"]))


def _limits(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a plan ends early: how the rest of a page is found depends on how small a table is."""
    return [plan] if plan["Node Type"] == "Limit" else [one for below in plan.get("Plans", ()) for one in _limits(below)]


def _actual(plan: dict[str, Any]) -> float:
    """The most rows that any node of a plan gave."""
    below = [_actual(child) for child in plan.get("Plans", ())]
    return max([plan["Actual Rows"] * plan["Actual Loops"], *below])


def test_the_limits_of_a_step_are_bounded() -> None:
    """M-DOS-1: a fan that may be told as one fits in a page."""
    assert graph_walk.ROWS_AT_ONCE > 1000
