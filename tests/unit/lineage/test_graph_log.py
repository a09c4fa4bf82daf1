"""From events to the graph, on both engines: what counts once, what outlives what, and that order does not matter."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from modelkeep.names import CollectionName, ProjectName
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.domain.graph_delta import Delta
from modelkeep_server.lineage.ports.graph import OwnerChanged
from modelkeep_server.lineage.store import graph_log, graph_write
from modelkeep_server.lineage.store.graph_log import SqlGraphLog
from modelkeep_server.lineage.store.graph_node import delete_node_of_run, node_of_run, unsettle
from sqlalchemy.exc import DBAPIError

from tests.databases import copied
from tests.servers import postgres_url
from tests.unit.lineage.graph_rig import (
    BEGIN,
    CALLER,
    DOWN,
    PROJECT,
    TEAM,
    UP,
    GraphRig,
    MemoryLogs,
    edges,
    names,
    run,
    uid,
    version,
)
from tests.unit.lineage.rig import made

OTHER = ProjectName(TEAM, "other")


def url_of(engine: str, folder: Path) -> str:
    return f"sqlite:///{folder / f'lineage-{random.getrandbits(40)}.db'}" if engine == "sqlite" else postgres_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def graph(engine: str, tmp_path: Path) -> AsyncIterator[GraphRig]:
    async with copied(engine, tmp_path, made) as url:
        database = Database(url)
        yield GraphRig(database)
        await database.close()


def everything(rig: GraphRig) -> None:
    """A history with all kinds of events, in two projects."""
    rig.made("data:v0", "ingest", type_="dataset")
    rig.used("data:v0", "train", "data:latest")
    rig.made("model:v0", "train")
    rig.made("model:v0", "again", deduplicated=True)
    rig.pointed("best", 0, 1)
    rig.pointed("old", 0, 1)
    rig.pointed("old", None, 2)
    rig.used("model:v0", run("eval", OTHER), "model:best")
    rig.made("report:v0", "eval", project=OTHER)
    rig.made("copy:v0", project=OTHER, origin_uid=uid(version("model:v0")))
    rig.renamed("model", CollectionName(TEAM, "other", "moved"))
    rig.used(version("moved:v0", OTHER), run("late", OTHER), uid_=uid(version("model:v0")))
    rig.deleted("data:v0")
    for i in range(12):
        rig.used("data:v0", f"sweep-{i}")


async def test_a_rebuild_from_the_log_gives_the_same_graph(graph: GraphRig, engine: str, tmp_path: Path) -> None:
    """In pieces of any size, with the logs of the projects read in any order."""
    everything(graph)
    await graph.read()
    expected = await graph.dump()
    assert len(expected["edges"]) == 21
    for seed in range(3):
        choice = random.Random(seed)
        again = await GraphRig(Database(url_of(engine, tmp_path)), graph.logs).start()
        epoch = await again.log.own("me")
        assert epoch is not None
        cursors = dict.fromkeys(graph.logs.logs, 0)
        while behind := [project for project, after in cursors.items() if after < len(graph.logs.logs[project])]:
            project = choice.choice(behind)
            events = await graph.logs.events(project, cursors[project], choice.randint(1, 6))
            assert await again.log.apply(epoch, project, cursors[project], events)
            cursors[project] += len(events)
        while await again.log.settle(epoch):
            pass
        assert await again.dump() == expected
        await again.database.close()


async def test_events_count_once(graph: GraphRig) -> None:
    """A piece that was read already is not read again, and one read twice after a reset changes nothing."""
    everything(graph)
    await graph.read()
    expected = await graph.dump()
    epoch = await graph.log.own(graph.tail._holder)
    events = await graph.logs.events(PROJECT, 0, 5)
    assert epoch is not None
    assert not await graph.log.apply(epoch, PROJECT, 0, events)
    await graph.log.forget()
    await graph.read()
    assert await graph.dump() == expected


async def test_a_late_owner_is_fenced(graph: GraphRig) -> None:
    """Its lease ran out while it slept; what it does then changes nothing (M-GC-8's way)."""
    graph.made("data:v0")
    events = await graph.logs.events(PROJECT, 0, 10)
    late = await graph.log.own("first")
    assert late is not None
    assert await graph.log.own("second") is None, "the lease holds"
    tomorrow = SqlGraphLog(graph.database, Clock(timedelta(days=1)))
    epoch = await tomorrow.own("second")
    assert epoch == late + 1
    with pytest.raises(OwnerChanged):
        await graph.log.apply(late, PROJECT, 0, events)
    assert await graph.log.cursors() == {}
    assert await tomorrow.apply(epoch, PROJECT, 0, events)
    await graph.database.write(lambda session: unsettle(session, [1]))
    with pytest.raises(OwnerChanged):
        await graph.log.settle(late)
    with pytest.raises(OwnerChanged):
        await graph.log.set_back(late, PROJECT, 1)
    assert await tomorrow.settle(epoch)
    await tomorrow.release("second")
    with pytest.raises(OwnerChanged):
        await tomorrow.apply(epoch, PROJECT, 1, events)
    assert await graph.log.own("first") == epoch + 1, "who lets go is followed at once"


async def test_who_is_evicted_is_fenced_and_followed_at_once(graph: GraphRig) -> None:
    graph.made("data:v0")
    events = await graph.logs.events(PROJECT, 0, 10)
    killed = await graph.log.own("killed")
    assert killed is not None
    await graph.log.evict()
    with pytest.raises(OwnerChanged):
        await graph.log.apply(killed, PROJECT, 0, events)
    assert await graph.log.own("next") == killed + 1


@pytest.mark.parametrize("fails_at", range(1, 4))
async def test_a_crash_within_a_piece_loses_and_doubles_nothing(
    graph: GraphRig, engine: str, tmp_path: Path, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction breaks after some of its statements; the piece is read again from its start."""
    everything(graph)
    writes = 0

    async def failing(session: object, delta: Delta) -> None:
        nonlocal writes
        await graph_write(session, delta)
        writes += 1
        if writes == fails_at:
            raise DBAPIError.instance("", {}, OSError("the power went"), OSError)  # type: ignore[call-overload]

    graph_write = graph_log.write
    monkeypatch.setattr(graph_log, "write", failing)
    epoch = await graph.log.own("me")
    assert epoch is not None
    for project in list(graph.logs.logs):
        after = 0
        while after < len(graph.logs.logs[project]):
            events = await graph.logs.events(project, after, 7)
            try:
                await graph.log.apply(epoch, project, after, events)
            except Exception:
                assert (await graph.log.cursors()).get(project, 0) == after
                continue
            after += len(events)
    while await graph.log.settle(epoch):
        pass
    whole = await GraphRig(Database(url_of(engine, tmp_path)), graph.logs).start()
    await whole.read()
    assert await graph.dump() == await whole.dump()
    await whole.database.close()


async def test_metadata_may_be_away(graph: GraphRig) -> None:
    """Answers lag then, and say so; the tail goes on where it was."""
    graph.made("data:v0", "ingest")
    await graph.read()
    graph.logs.is_away = True
    graph.used("data:v0", "train")
    told = await graph.lineage(version("data:v0"))
    assert told.is_lagging
    assert names(told) == ["data:v0", "ingest"]
    graph.logs.is_away = False
    assert (await graph.lineage(version("data:v0"))).is_lagging, "nobody reads here meanwhile"
    await graph.read()
    told = await graph.lineage(version("data:v0"))
    assert not told.is_lagging
    assert set(names(told)) == {"data:v0", "ingest", "train"}


async def test_a_running_tail_makes_answers_fresh(engine: str, tmp_path: Path) -> None:
    """A question wakes it, and waits for what was there when it was asked."""
    database = Database(url_of(engine, tmp_path))
    graph = await GraphRig(database, fresh_seconds=60).start()
    graph.tail.start()
    for i in range(3):
        graph.made(f"data:v{i}", f"run-{i}")
        told = await graph.lineage(version(f"data:v{i}"))
        assert (names(told), told.is_lagging) == ([f"data:v{i}", f"run-{i}"], False)
    await graph.tail.close()
    assert await graph.log.own("another") is not None, "a tail that ends lets go"
    await database.close()


async def test_an_event_that_breaks_holds_up_only_its_project(graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.made("data:v0", "ingest")
    graph.made("report:v0", "eval", project=OTHER)
    add = Delta.add

    def failing(self: Delta, time: object, fact: object) -> None:
        if getattr(fact, "uid", "") == uid(version("data:v0")):
            raise ZeroDivisionError
        add(self, time, fact)  # type: ignore[arg-type]

    monkeypatch.setattr(Delta, "add", failing)
    assert await graph.tail.round()
    assert await graph.log.cursors() == {OTHER: 1}
    monkeypatch.setattr(Delta, "add", add)
    graph.tail._stuck.clear()  # it would be tried again in two ticks
    await graph.read()


class TestRuns:
    """Who begins a run joins the node that events told of, and the other way round."""

    async def begin(self, graph: GraphRig, name: str, job_type: str = "train", create_time: datetime = BEGIN) -> int:
        words = {"job_type": job_type, "display_name": "happy-hill-1", "create_time": create_time}
        return await graph.database.write(lambda session: node_of_run(session, run(name), **words))

    async def test_a_run_that_was_external_is_no_longer(self, graph: GraphRig) -> None:
        """The edges it has say its job type from then on (SEM-55)."""
        graph.made("data:v0", type_="dataset")
        for i in range(7):
            graph.used("data:v0", f"run-{i}")
        await graph.read()
        (group,) = (await graph.lineage(version("data:v0"))).groups
        assert (group.label.type, group.node_count) == ("", 7)
        before = (await graph.lineage(run("run-3"))).nodes[0].node
        assert before.external
        assert await self.begin(graph, "run-3") == before.id
        after = (await graph.lineage(run("run-3"))).nodes[0].node
        assert (after.external, after.label.type, after.display_name) == (False, "train", "happy-hill-1")
        await graph.read()
        await graph.dump()
        told = await graph.lineage(version("data:v0"))
        assert [(group.label.type, group.node_count) for group in told.groups] == [("", 6)]
        assert names(told) == ["data:v0", "run-3"]
        assert await graph.neighbors(version("data:v0"), DOWN, types=frozenset({"train"})) == ["run-3"]

    @pytest.mark.parametrize("is_read", [True, False])
    async def test_a_run_that_was_there_before_it_was_begun_was_there(self, is_read: bool, graph: GraphRig) -> None:
        """SEM-56: what is told as of a time can be asked about as of that time, whichever of the two is read first."""
        graph.used(graph.made("data:v0"), "train")
        used = graph.logs.time
        if is_read:
            await graph.read()
        await self.begin(graph, "train", create_time=used + timedelta(hours=1))
        await graph.read()
        assert names(await graph.lineage(version("data:v0"), as_of=used)) == ["data:v0", "train"]
        assert names(await graph.lineage(run("train"), as_of=used)) == ["train", "data:v0"]

    async def test_events_do_not_take_back_what_was_said_at_the_beginning(self, graph: GraphRig) -> None:
        node = await self.begin(graph, "train")
        graph.made("model:v0", "train")
        graph.used("model:v0", "train")
        await graph.read()
        told = (await graph.lineage(run("train"))).nodes[0].node
        assert (told.id, told.label.type, told.display_name, told.external) == (node, "train", "happy-hill-1", False)
        assert told.create_time == BEGIN

    async def test_a_run_that_is_begun_while_events_are_written(self, graph: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
        """They were read before as those of an external run."""
        if graph.database.is_sqlite:
            pytest.skip("SQLite has one writer at a time")
        graph.used(graph.made("data:v0"), "train")
        await graph.read()
        graph.made("model:v0", "train")
        graph.used("data:v0", "train", uid_="u-another")
        update = graph_write._update

        async def meanwhile(*given: Any) -> None:
            await self.begin(graph, "train")
            await update(*given)

        monkeypatch.setattr(graph_write, "_update", meanwhile)
        await graph.read()
        told = (await graph.lineage(run("train"))).nodes[0].node
        assert (told.label.type, told.display_name, told.external) == ("train", "happy-hill-1", False)
        assert told.create_time == BEGIN
        await graph.dump()

    async def test_a_deleted_run_stays_as_a_tombstone(self, graph: GraphRig) -> None:
        """SEM-47, 51."""
        await self.begin(graph, "train")
        graph.made("model:v0", "train")
        await graph.read()
        await graph.database.write(lambda session: delete_node_of_run(session, run("train"), BEGIN))
        told = await graph.lineage(version("model:v0"), UP)
        assert [shown.node.delete_time for shown in told.nodes] == [None, BEGIN]

    async def test_many_edges_are_put_right_in_several_transactions(self, graph: GraphRig) -> None:
        for i in range(250):
            graph.used(graph.made(f"data:v{i}"), "train")
        await graph.read()
        await self.begin(graph, "train")
        assert await graph.tail.round()
        await graph.read()
        await graph.dump()


class TestNames:
    async def test_a_name_may_go_to_another_collection(self, graph: GraphRig) -> None:
        graph.made("model:v0", "old")
        graph.renamed("model", CollectionName(TEAM, PROJECT.project, "legacy"))
        graph.made("model:v0", "new", uid="u-other", collection_uid="c-other")
        await graph.read()
        assert names(await graph.lineage(version("model:v0"), UP)) == ["model:v0", "new"]
        assert names(await graph.lineage(version("legacy:v0"), UP)) == ["legacy:v0", "old"]

    async def test_logs_of_old_releases_tell_no_uid(self, graph: GraphRig) -> None:
        """A collection is known by its name then; a later event that tells its uid finds it."""
        graph.made("model:v0", "one", collection_uid="")
        graph.renamed("model", CollectionName(TEAM, PROJECT.project, "legacy"), "")
        graph.made("model:v0", "two", uid="u-other", collection_uid="")
        graph.made("legacy:v1", "three", collection_uid="c-vision-model")
        await graph.read()
        assert names(await graph.lineage(version("legacy:v0"), UP)) == ["legacy:v0", "one"]
        assert names(await graph.lineage(version("legacy:v1"), UP)) == ["legacy:v1", "three"]
        assert names(await graph.lineage(version("model:v0"), UP)) == ["model:v0", "two"]
        labels = [label for label in (await graph.dump())["labels"] if "'kind': 2" in label]
        assert len(labels) == 2

    async def test_what_is_copied_onto_itself_does_not_come_from_itself(self, graph: GraphRig) -> None:
        """SEM-11: a copy into its own collection finds the version, and makes nothing."""
        graph.made("model:v0", "train")
        graph.made("model:v0", origin_uid=uid(version("model:v0")), deduplicated=True)
        await graph.read()
        assert names(await graph.lineage(version("model:v0"))) == ["model:v0", "train"]

    async def test_a_copy_may_be_read_before_its_origin(self, graph: GraphRig) -> None:
        """Until then nothing is known of the origin, and it is shown as an opaque node."""
        graph.made("model:v0", "train")
        graph.made("copy:v0", project=OTHER, origin_uid=uid(version("model:v0")))
        logs, graph.logs.logs = graph.logs.logs, MemoryLogs().logs
        graph.logs.logs[OTHER] = logs[OTHER]
        await graph.read()
        assert names(await graph.lineage(version("copy:v0", OTHER), UP)) == ["copy:v0", "copy", "?"]
        graph.logs.logs[PROJECT] = logs[PROJECT]
        await graph.read()
        told = await graph.lineage(version("copy:v0", OTHER), UP)
        assert names(told) == ["copy:v0", "copy", "model:v0", "train"]
        assert edges(told) == {("train", "model:v0"), ("model:v0", "copy"), ("copy", "copy:v0")}
        await graph.dump()


async def test_states_of_versions(graph: GraphRig) -> None:
    """SEM-47: the later word holds, in whatever order it comes."""
    graph.made("model:v0", "train")
    when = graph.deleted("model:v0")
    await graph.read()
    assert (await graph.lineage(version("model:v0"))).nodes[0].node.delete_time == when
    past = await graph.lineage(version("model:v0"), as_of=when - timedelta(seconds=1))
    assert past.nodes[0].node.delete_time is None
    graph.deleted("model:v0", is_deleted=False)
    await graph.read()
    assert (await graph.lineage(version("model:v0"))).nodes[0].node.delete_time is None


async def test_a_batch_takes_few_statements(graph: GraphRig) -> None:
    """However many events it has."""
    for i in range(200):
        graph.used(graph.made(f"data:v{i}", f"ingest-{i}"), f"train-{i}")
    with graph.counted() as said:
        await graph.read()
    applied = [statement for statement in said if "graph_edge" in statement or "graph_node" in statement]
    assert len(applied) < 30
    impact = await graph.app.get_impact(CALLER, run("ingest-7"), None)
    assert sum(impact.counts.values()) == 2
