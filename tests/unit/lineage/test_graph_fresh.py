"""How fresh answers are: what is waited for, how long, and for which logs nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from modelkeep.errors import TeamNotFound
from modelkeep.names import ProjectName
from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.app import graph_fresh
from modelkeep_server.lineage.domain.graph_delta import Delta
from modelkeep_server.lineage.domain.graph_event import GraphEvent
from structlog.testing import capture_logs

from tests.databases import copied
from tests.unit.lineage.graph_rig import PROJECT, TEAM, GraphRig, MemoryLogs, names, version
from tests.unit.lineage.rig import made

OTHER = ProjectName(TEAM, "other")


@pytest.fixture
async def graph(tmp_path: Path) -> AsyncIterator[GraphRig]:
    """With a tail that looks often, and is not begun."""
    async with copied("sqlite", tmp_path, made) as url:
        database = Database(url)
        rig = GraphRig(database, fresh_seconds=3)
        rig.tail._tick_seconds = 0.01
        yield rig
        await rig.tail.close()
        await database.close()


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, project: ProjectName) -> Iterator[list[str]]:
    """Events of a project cannot be turned into the graph; how often that was tried."""
    add = Delta.add
    tried: list[str] = []

    def failing(self: Delta, time: object, fact: object) -> None:
        if getattr(fact, "name", None) is not None and fact.name.project == project.project:  # type: ignore[attr-defined]
            tried.append(str(fact))
            raise ZeroDivisionError
        add(self, time, fact)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Delta, "add", failing)
        yield tried


async def seconds_of(graph: GraphRig, name: str = "data:v0") -> tuple[float, bool]:
    """How long a question takes, and whether its answer lags."""
    clock = asyncio.get_running_loop().time
    begin = clock()
    told = await graph.lineage(version(name))
    return clock() - begin, told.is_lagging


async def test_a_metadata_that_hangs_is_not_waited_for_long(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.made("data:v0", "ingest")
    await graph.read()
    monkeypatch.setattr(graph_fresh, "LEAST_SECONDS", 0.1)

    async def hang(_token: str = "") -> tuple[Mapping[ProjectName, int], str]:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(graph.logs, "heads", hang)
    first, is_lagging = await seconds_of(graph)
    assert is_lagging
    assert 3 <= first < 30
    second, is_lagging = await seconds_of(graph)
    assert is_lagging
    assert second < 60
    monkeypatch.undo()
    assert not (await seconds_of(graph))[1]


async def test_a_log_that_is_stuck_holds_up_no_question(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers lag at once, and what else is logged is waited for as before."""
    graph.made("data:v0", "ingest")
    graph.made("report:v0", "eval", project=OTHER)
    graph.app._questions._freshness._wait_seconds = 60  # a disk that is busy for seconds is no news here
    with broken(monkeypatch, OTHER):
        graph.tail.start()
        await seconds_of(graph)  # the tail may not have come to it yet
        seconds, is_lagging = await seconds_of(graph)
        assert is_lagging
        assert seconds < 30
        graph.made("data:v1", "ingest")
        assert names(await graph.lineage(version("data:v1"))) == ["data:v1", "ingest"]
    async with asyncio.timeout(60):
        while (await graph.lineage(version("data:v0"))).is_lagging:
            await asyncio.sleep(0.05)


async def test_a_log_that_is_not_read_in_time_is_waited_for_once(graph: GraphRig) -> None:
    """Here nobody reads: another process has the duty, and its backlog is long."""
    graph.made("data:v0", "ingest")
    await graph.read()
    graph.made("data:v1", "ingest")
    first, is_lagging = await seconds_of(graph)
    assert first >= 3
    assert is_lagging
    graph.app._questions._freshness._wait_seconds = 600
    second, is_lagging = await seconds_of(graph)
    assert second < 60
    assert is_lagging
    await graph.read()
    assert not (await graph.lineage(version("data:v1"))).is_lagging
    graph.made("data:v2", "ingest")
    graph.app._questions._freshness._wait_seconds = 2
    third, _ = await seconds_of(graph)
    assert third >= 1.5, "it was read up to where it was late, so it is waited for again"


async def test_a_stuck_log_is_tried_less_often_and_told_once(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One traceback, then a line each time that it is tried again; the others are read meanwhile."""
    graph.made("report:v0", "eval", project=OTHER)
    graph.made("data:v0", "ingest")
    graph.tail._tick_seconds = 60
    clock = asyncio.get_running_loop().time
    with broken(monkeypatch, OTHER) as tried, capture_logs() as said:
        assert await graph.tail.round()
        assert graph.tail.stuck == {OTHER}
        for _ in range(3):
            await graph.tail.round()
        assert len(tried) == 1
        stuck = graph.tail._stuck[OTHER]
        assert 100 < stuck.again_at - clock() <= 120
        graph.tail._stuck[OTHER] = type(stuck)(stuck.failures, 0, stuck.fault)
        await graph.tail.round()
        assert len(tried) == 2
        assert 200 < graph.tail._stuck[OTHER].again_at - clock() <= 240
    assert [line["log_level"] for line in said] == ["error", "warning"]
    graph.tail._stuck[OTHER] = type(stuck)(2, 0, "")
    await graph.read()
    assert graph.tail.stuck == set()


async def test_a_log_that_cannot_be_asked_for_holds_up_only_itself(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its team may be gone since the heads were told."""
    graph.made("report:v0", "eval", project=OTHER)
    graph.made("data:v0", "ingest")

    async def events(self: MemoryLogs, project: ProjectName, after: int, size: int) -> list[GraphEvent]:
        if project == OTHER:
            raise TeamNotFound("gone", team=TEAM)
        return self.logs[project][after : after + size]

    monkeypatch.setattr(MemoryLogs, "events", events)
    assert await graph.tail.round()
    assert await graph.log.cursors() == {PROJECT: 1}


async def test_what_was_seen_of_a_cursor_is_not_believed_for_long(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was set back behind the head, which did not change."""
    graph.made("data:v0", "ingest")
    await graph.read()
    assert not (await graph.lineage(version("data:v0"))).is_lagging
    await graph.log.forget()
    monkeypatch.setattr(graph_fresh, "BELIEF_SECONDS", 0)
    graph.app._questions._freshness._doubt_at = 0
    assert (await graph.lineage(version("data:v0"))).is_lagging
    await graph.read()
    assert not (await graph.lineage(version("data:v0"))).is_lagging


async def test_a_log_that_ends_before_its_cursor_is_not_fresh(graph: GraphRig) -> None:
    """Metadata was restored from a backup; until the cursor is set back, events may be logged that count as read."""
    for i in range(3):
        graph.made(f"data:v{i}", "ingest")
    await graph.read()
    assert not (await graph.lineage(version("data:v0"))).is_lagging
    graph.logs.logs[PROJECT].pop()
    assert (await graph.lineage(version("data:v0"))).is_lagging
    await graph.log.forget()
    assert (await graph.lineage(version("data:v0"))).is_lagging
    await graph.read()
    assert not (await graph.lineage(version("data:v0"))).is_lagging
