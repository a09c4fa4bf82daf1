"""What the tail does while there is nothing to read, and when a log is to be read again; on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from modelkeep.errors import ServiceUnavailable
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.app.graph_tail import Tail
from modelkeep_server.lineage.domain.graph_delta import Delta
from modelkeep_server.lineage.store import graph_log
from modelkeep_server.lineage.store.graph_log import SqlGraphLog
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from tests.databases import copied
from tests.unit.lineage.graph_rig import PROJECT, UP, GraphRig, names, version
from tests.unit.lineage.rig import made


@pytest.fixture(params=["sqlite", "postgresql"])
async def graph(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphRig]:
    async with copied(request.param, tmp_path, made) as url:
        database = Database(url)
        yield GraphRig(database)
        await database.close()


def writes(said: list[str]) -> list[str]:
    """The statements that change something, or are part of a transaction that might."""
    return [one for one in said if "BEGIN IMMEDIATE" in one or "FOR UPDATE" in one or not one.startswith(("SELECT", "BEGIN"))]


async def test_a_tail_with_nothing_to_read_writes_nothing(graph: GraphRig) -> None:
    """Nor does one that waits for another to let go."""
    graph.made("data:v0", "ingest")
    await graph.read()
    with graph.counted() as said:
        for _ in range(3):
            assert not await graph.tail.round()
        assert await graph.log.own("another") is None
    assert said
    assert writes(said) == []


@pytest.mark.parametrize(("seconds", "is_kept"), [(10, False), (20, True), (40, True)])
async def test_half_of_a_lease_is_renewed(graph: GraphRig, seconds: int, is_kept: bool) -> None:
    epoch = await graph.log.own("me")
    later = SqlGraphLog(graph.database, Clock(timedelta(seconds=seconds)))
    with graph.counted() as said:
        assert await later.own("me") == epoch
    assert bool(writes(said)) == is_kept
    last = SqlGraphLog(graph.database, Clock(timedelta(seconds=seconds + 25)))
    assert (await last.own("another") is None) == is_kept


async def test_a_log_that_ends_before_its_cursor_is_read_again(graph: GraphRig) -> None:
    """Metadata was restored from a backup: what it logs from then on bears numbers that were read before."""
    for i in range(4):
        graph.made(f"data:v{i}", f"old-{i}")
    await graph.read()
    latest = await graph.graph.latest()
    del graph.logs.logs[PROJECT][2:]
    graph.made("data:v9", "new")
    with capture_logs() as said:
        await graph.read()
        assert not await graph.tail.round()
    (line,) = said
    assert (line["log_level"], line["head"], line["read"]) == ("error", 3, 4)
    assert names(await graph.lineage(version("data:v9"), UP)) == ["data:v9", "new"]
    assert await graph.graph.latest() >= latest


async def test_what_is_known_now_stays_while_events_are_read_again(graph: GraphRig) -> None:
    """Questions are asked as of the newest event that was ever read; the first piece of a log is older."""
    graph.made("data:v0", "ingest")
    graph.used("data:v0", "train")
    graph.made("model:v0", "train")
    await graph.read()
    latest = await graph.graph.latest()
    expected = names(await graph.lineage(version("data:v0")))
    await graph.log.forget()
    epoch = await graph.log.own(graph.tail._holder)
    assert epoch is not None
    assert await graph.log.apply(epoch, PROJECT, 0, await graph.logs.events(PROJECT, 0, 1))
    assert await graph.graph.latest() == latest
    assert names(await graph.lineage(version("data:v0"))) == expected


async def test_a_log_that_is_to_be_read_again_is(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when that was said while a piece of it was being written."""
    if graph.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    graph.made("data:v0", "ingest")
    epoch = await graph.log.own("me")
    assert epoch is not None
    await graph.log.apply(epoch, PROJECT, 0, await graph.logs.events(PROJECT, 0, 1))
    graph.used("data:v0", "train")
    forgetting: list[asyncio.Task[None]] = []
    graph_write = graph_log.write

    async def meanwhile(session: AsyncSession, delta: Delta) -> None:
        forgetting.append(asyncio.create_task(graph.log.forget()))
        await asyncio.wait(forgetting, timeout=0.3)  # it waits for this transaction to end
        await graph_write(session, delta)

    monkeypatch.setattr(graph_log, "write", meanwhile)
    assert await graph.log.apply(epoch, PROJECT, 1, await graph.logs.events(PROJECT, 1, 1))
    await forgetting[0]
    assert await graph.log.cursors() == {PROJECT: 0}


class Gone:
    """Metadata, when its listener is closed."""

    def __init__(self) -> None:
        self.asked_twice, self._asked = asyncio.Event(), 0

    async def heads(self, _token: str = "") -> object:
        self._asked += 1
        if self._asked > 1:  # so what came of the first time was told
            self.asked_twice.set()
        raise ServiceUnavailable("Connection refused")


@pytest.mark.parametrize("drains", [False, True])
async def test_that_metadata_is_gone_is_no_news_while_the_process_ends(graph: GraphRig, drains: bool) -> None:
    gone = Gone()
    tail = Tail(gone, SqlGraphLog(graph.database, Clock()), 0.01)  # type: ignore[arg-type]
    if drains:
        tail.drain()
    with capture_logs() as logs:
        tail.start()
        assert tail._task is not None
        again = asyncio.create_task(gone.asked_twice.wait())
        done, _ = await asyncio.wait([tail._task, again], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert done == {tail._task if drains else again}
        again.cancel()
        await tail.close()
    assert {line["event"] for line in logs} == (set() if drains else {"cannot read the events"})
