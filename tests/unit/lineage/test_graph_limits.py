"""The limits of questions about the graph (M-DOS-1): how many walk at once, and what is told where one stops early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modelkeep.errors import LimitExceeded, TooBusy
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.lineage.app import graph as graph_app
from modelkeep_server.lineage.app import graph_base, graph_lineage, graph_paths
from modelkeep_server.lineage.app.graph_show import Parts
from modelkeep_server.lineage.domain.graph import NodeFilter
from modelkeep_server.lineage.domain.graph_ask import CommonAsk, LineageAsk, PathsAsk
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.store.graph_read import SqlGraph

from tests.databases import copied
from tests.unit.lineage.graph_rig import CALLER, UP, GraphRig, layered, names, run, version
from tests.unit.lineage.rig import made


@pytest.fixture
async def graph(tmp_path: Path) -> AsyncIterator[GraphRig]:
    async with copied("sqlite", tmp_path, made) as url:
        database = Database(url)
        yield GraphRig(database)
        await database.close()


async def test_a_walk_beyond_the_limit_says_so(graph: GraphRig) -> None:
    """M-DOS-1: so many nodes are met at most, and no continuation promises more."""
    layered(graph)
    await graph.read()
    small = GraphRig(graph.database, graph.logs, Limits(max_walked=8))
    told = await small.lineage(version("gen5-0:v0"), UP, filter=NodeFilter(types=frozenset({"none"})))
    assert told.truncation
    assert "8 nodes" in told.truncation.reason
    assert told.truncation.continuation == ""
    impact = await small.app.get_impact(CALLER, version("gen0-0:v0"), None)
    assert impact.truncation
    paths = await small.one_answer(PathsAsk(version("gen0-0:v0"), version("gen5-0:v0")))
    assert paths.truncation


async def test_too_many_walks_at_once_are_refused(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """M-DOS-1: what comes waits a moment for a turn."""
    layered(graph)
    await graph.read()
    small = GraphRig(graph.database, graph.logs, Limits(max_walks=1))
    newest, oldest = version("gen5-0:v0"), version("gen0-0:v0")
    questions = small.app._questions
    monkeypatch.setattr(graph_base, "TURN_SECONDS", 60)
    async with questions.walking():
        waiting = asyncio.create_task(small.app.get_impact(CALLER, oldest, None))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
    assert (await waiting).counts
    monkeypatch.setattr(graph_base, "TURN_SECONDS", 0.05)
    async with questions.walking():
        for ask in (LineageAsk(newest, (UP,)), PathsAsk(oldest, newest)):
            with pytest.raises(TooBusy):
                await small.one_answer(ask)
        with pytest.raises(TooBusy):
            await small.app.get_impact(CALLER, oldest, None)
        with pytest.raises(TooBusy):
            await small.app.list_common_ancestors(CALLER, CommonAsk(newest, version("gen5-1:v0")), Page())


async def test_who_stops_reading_keeps_nobody_from_walking(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    layered(graph)
    await graph.read()
    monkeypatch.setattr(Parts, "FIRST", 2)
    monkeypatch.setattr(Parts, "NODES", 2)
    small = GraphRig(graph.database, graph.logs, Limits(max_walks=1))
    walk = LineageAsk(version("gen5-0:v0"), (UP,), group_from=0)
    ways = PathsAsk(version("gen0-0:v0"), version("gen5-0:v0"))
    streams = [small.app.stream_lineage(CALLER, walk), small.app.stream_paths(CALLER, ways)]
    begun = [await anext(stream) for stream in streams]
    whole = await small.one_answer(walk)
    assert (await small.one_answer(ways)).nodes
    assert (await small.app.get_impact(CALLER, version("gen0-0:v0"), None)).counts
    rest = [part async for part in streams[0]]
    assert len(rest) > 1
    assert names(begun[0]) + [name for part in rest for name in names(part)] == names(whole)
    await streams[1].aclose()  # type: ignore[attr-defined]


async def test_who_waits_for_events_keeps_nobody_from_walking(graph: GraphRig) -> None:
    """Nor does a question that asks for nothing."""
    graph.made("data:v0")
    await graph.read()
    small = GraphRig(graph.database, graph.logs, Limits(max_walks=1), fresh_seconds=30)
    graph.made("data:v1")
    waiting = [
        asyncio.create_task(small.app.get_impact(CALLER, version("data:v0"), None)),
        asyncio.create_task(small.app.list_common_ancestors(CALLER, CommonAsk(version("data:v0"), version("data:v1")), Page())),
        asyncio.create_task(small.one_answer(PathsAsk(version("data:v0"), version("data:v1")))),
        asyncio.create_task(small.one_answer(LineageAsk(version("data:v0")))),
    ]
    await asyncio.wait(waiting, timeout=0.2)
    async with asyncio.timeout(15), small.app._questions.walking():
        assert not any(task.done() for task in waiting)
    await graph.read()
    await asyncio.gather(*waiting)


async def test_ways_with_too_many_edges_are_truncated(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """M-DOS-1, SEM-53: memory has a limit, and the loop is not blocked: others get their turns."""
    layered(graph)
    await graph.read()
    ask = PathsAsk(version("gen0-0:v0"), version("gen5-0:v0"))
    turns = 0
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        nonlocal turns
        turns += 1
        await sleep(seconds)

    monkeypatch.setattr(graph_paths, "STEPS_AT_ONCE", 10)
    monkeypatch.setattr(asyncio, "sleep", counted)
    whole = await graph.one_answer(ask)
    assert whole.truncation is None
    assert turns > 10
    monkeypatch.setattr(graph_paths, "EDGES_PER_NODE", 0)
    told = await graph.one_answer(ask)
    assert told.truncation
    assert "edges" in told.truncation.reason
    assert told.truncation.continuation == ""


async def test_common_ancestors_beyond_the_limit_are_refused(graph: GraphRig) -> None:
    """SEM-53: nobody knows which would be the nearest."""
    layered(graph)
    await graph.read()
    ask = CommonAsk(version("gen5-0:v0"), version("gen1-1:v0"))
    assert (await graph.app.list_common_ancestors(CALLER, ask, Page()))[0].items
    small = GraphRig(graph.database, graph.logs, Limits(max_walked=9))
    with pytest.raises(LimitExceeded, match="first comes from 9 nodes or more"):
        await small.app.list_common_ancestors(CALLER, ask, Page())
    with pytest.raises(LimitExceeded, match="second comes from"):
        await small.app.list_common_ancestors(CALLER, CommonAsk(ask.second, ask.first), Page())


async def test_pages_of_common_ancestors_are_of_one_moment(graph: GraphRig) -> None:
    """What is logged between them is not among them."""
    layered(graph, depth=3)
    await graph.read()
    ask = CommonAsk(version("gen2-0:v0"), version("gen2-1:v0"))
    whole, _ = await graph.app.list_common_ancestors(CALLER, ask, Page(100))
    listing, _ = await graph.app.list_common_ancestors(CALLER, ask, Page(2))
    found = list(listing.items)
    for i in range(5):
        graph.made(f"late:v{i}", "ingest")
        graph.used(f"late:v{i}", "run0-0")
    await graph.read()
    while listing.next_token:
        listing, _ = await graph.app.list_common_ancestors(CALLER, ask, Page(2, listing.next_token))
        found += listing.items
    assert [shown.node.id for shown in found] == [shown.node.id for shown in whole.items]


async def test_a_walk_that_goes_too_far_says_so(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEM-53: one that was asked to go no farther does not."""
    layered(graph)
    await graph.read()
    monkeypatch.setattr(graph_lineage, "FARTHEST", 3)
    told = await graph.lineage(version("gen5-0:v0"), UP)
    assert told.truncation
    assert "3 levels" in told.truncation.reason
    assert max(shown.depth for shown in told.nodes) == 3
    assert (await graph.lineage(version("gen5-0:v0"), UP, max_depth=3)).truncation is None
    assert (await graph.lineage(version("gen0-0:v0"), UP)).truncation is None, "it ended before"


async def test_an_impact_with_too_many_aliases_says_so(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEM-53: the names are the first ones all the same, and the number is a lower bound."""
    graph.made("model:v0", "train")
    for i in range(7):
        graph.pointed(f"alias-{i}", 0, 1)
    await graph.read()
    monkeypatch.setattr(graph_app, "MOST_ALIASES", 3)
    impact = await graph.app.get_impact(CALLER, run("train"), None)
    assert [name.rpartition("/")[2] for name in impact.aliases] == ["alias-0", "alias-1", "alias-2"]
    assert (impact.alias_count, impact.truncation) == (7, None)
    monkeypatch.setattr(graph_app, "ALIASES_READ", 7)
    assert (await graph.app.get_impact(CALLER, run("train"), None)).truncation is None
    monkeypatch.setattr(graph_app, "ALIASES_READ", 5)
    impact = await graph.app.get_impact(CALLER, run("train"), None)
    assert impact.truncation
    assert "aliases" in impact.truncation.reason
    assert (impact.alias_count, impact.truncation.continuation) == (5, "")


async def test_a_group_that_emptied_meanwhile_is_left_out(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs were begun between the step that met it and the count: they have another label now."""
    for i in range(6):
        graph.used(graph.made("data:v0") if not i else "data:v0", f"sweep-{i}")
    await graph.read()
    monkeypatch.setattr(SqlGraph, "degrees", lambda _self, _fans: asyncio.sleep(0, {}))
    told = await graph.lineage(version("data:v0"))
    assert names(told) == ["data:v0"]
    assert told.groups == []
