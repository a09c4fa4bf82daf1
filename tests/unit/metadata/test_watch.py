"""WatchAlias: state, not events; one tail for everybody who watches."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from modelkeep.errors import CollectionNotFound, PermissionDenied, ServiceUnavailable, TooBusy
from modelkeep.names import AliasName, CollectionName, ProjectName
from modelkeep_server.metadata.app.watch import WatchApp
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.watch import AliasState, Heartbeat, Pace
from modelkeep_server.runtime.callers import Access

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, Rig, call

READER = replace(CALLER, access=Access.READ)
PRODUCTION = DIGITS.alias("production")
LATEST = DIGITS.alias("latest")
QUICK = Pace(tick_seconds=0.05)
SECONDS = 30
Stream = AsyncGenerator[AliasState | Heartbeat]


class Watching:
    """A watcher's view of one alias."""

    def __init__(self, app: WatchApp, name: AliasName = PRODUCTION) -> None:
        self.stream: Stream = app.watch_alias(READER, name)

    async def said(self) -> AliasState | Heartbeat:
        async with asyncio.timeout(SECONDS):
            return await anext(self.stream)

    async def state(self) -> AliasState:
        while not isinstance(said := await self.said(), AliasState):
            pass
        return said

    async def version(self) -> str:
        state = await self.state()
        return state.version.name.version if state.version else ""


def watch_app(rig: Rig, pace: Pace = QUICK) -> WatchApp:
    return WatchApp(rig.transactions, pace)


async def test_the_present_state_comes_first_then_only_the_newest(rig: Rig) -> None:
    one, two, three = [(await rig.log()).version for _ in range(3)]
    await rig.move("production", one.name)
    app = watch_app(rig)
    watching = Watching(app)
    first = await watching.state()
    assert (first.version, first.seq, first.actor) == (
        await rig.versions.get_version(READER, one.name, show_deleted=False),
        1,
        CALLER.actor,
    )
    await rig.move("production", two.name)
    await rig.move("production", three.name)
    newer = await watching.state()
    while newer.seq < 3:  # the state between may be seen, and never after the newest
        newer = await watching.state()
    assert (newer.version and newer.version.name, newer.seq) == (three.name, 3)
    await watching.stream.aclose()
    await app.close()


async def test_an_alias_that_does_not_exist_yet_appears_and_goes_again(rig: Rig) -> None:
    """SEM-16: its number goes on over a delete."""
    version = (await rig.log()).version.name
    app = watch_app(rig)
    watching = Watching(app)
    seen = []
    for target in (None, version, None, version):
        if seen:
            await rig.move("production", target)
        state = await watching.state()
        seen.append((state.version and state.version.name, state.seq))
    assert seen == [(None, 0), (version, 1), (None, 2), (version, 3)]
    await watching.stream.aclose()
    await app.close()


async def test_latest_moves_with_logs_deletes_and_restores(rig: Rig) -> None:
    """SEM-18: its number is that of the project's last event, so it rises with every move."""
    await rig.log()
    app = watch_app(rig)
    watching = Watching(app, LATEST)
    states = [await watching.state()]
    second = (await rig.log()).version.name
    states.append(await watching.state())
    await rig.versions.delete_version(call("DeleteVersion"), second, "bad", delete_aliases=True)
    states.append(await watching.state())
    await rig.versions.restore_version(call("RestoreVersion"), second)
    states.append(await watching.state())
    assert [state.version.name.version if state.version else "" for state in states] == ["v0", "v1", "v0", "v1"]
    assert [state.seq for state in states] == [3, 4, 5, 6]
    await watching.stream.aclose()
    await app.close()


async def test_what_does_not_move_the_alias_is_not_told(rig: Rig) -> None:
    version = (await rig.log()).version.name
    await rig.move("production", version)
    app = watch_app(rig)
    watching = Watching(app)
    assert await watching.version() == "v0"
    other = CollectionName(DIGITS.team, DIGITS.project, "other")
    await rig.log()
    await rig.log(collection=other)
    await rig.move("staging", version)
    waiting = asyncio.create_task(watching.state())
    await until_read(app)
    assert not waiting.done()
    await rig.move("production", None)
    assert (await waiting).version is None
    await watching.stream.aclose()
    await app.close()


async def until_read(app: WatchApp) -> None:
    """Wait until the tail has looked at everything that is committed by now."""
    tail, read = app._tail, app._tail.read_time
    async with asyncio.timeout(SECONDS):
        while tail.read_time == read:
            await asyncio.sleep(0.01)
        for _ in range(3):
            round_ = tail.round
            while tail.round == round_:
                await asyncio.sleep(0.01)


async def test_a_missing_collection_is_an_error_and_so_is_one_that_is_renamed_away(rig: Rig) -> None:
    app = watch_app(rig)
    await rig.log()
    with pytest.raises(CollectionNotFound, match="digist"):
        await Watching(app, CollectionName(DIGITS.team, DIGITS.project, "digist").alias("production")).said()
    watching = Watching(app)
    assert await watching.version() == ""
    await rig.collections.rename_collection(
        call("RenameCollection"), DIGITS, CollectionName(DIGITS.team, DIGITS.project, "numbers")
    )
    with pytest.raises(CollectionNotFound, match="numbers"):
        await watching.said()
    await app.close()


async def test_who_comes_while_news_are_read_is_told_the_state_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the round reads that was under way may be older than the call; the next one reads for it."""
    await rig.log()
    app = watch_app(rig)
    first = Watching(app, LATEST)
    await first.state()
    read, reading, go_on = rig.transactions.read, asyncio.Event(), asyncio.Event()

    async def held(step: Any) -> Any:
        found = await read(step)
        reading.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(rig.transactions, "read", held)
    await reading.wait()
    second = Watching(app)
    told = asyncio.create_task(second.said())
    while app.watching() < 2:
        await asyncio.sleep(0)
    go_on.set()
    assert isinstance(await told, AliasState), "or it was left to the next move"
    for watching in (first, second):
        await watching.stream.aclose()
    await app.close()


async def test_a_thousand_streams_cost_what_one_costs(rig: Rig) -> None:
    """DESIGN §4: one tail for all who watch, whatever their number; none when nobody does."""
    app = watch_app(rig, Pace(tick_seconds=3600))
    rig.transactions.on_events = app.poke
    version = (await rig.log()).version.name
    await rig.move("production", version)
    watchers = [Watching(app, name) for name in (PRODUCTION, LATEST) for _ in range(500)]
    with rig.statements() as seen:
        assert await asyncio.gather(*(watcher.version() for watcher in watchers)) == ["v0"] * 1000
    assert len(reads(seen)) <= 4, "the state of each alias, and once more for those who came during the first round"
    newer = (await rig.log()).version.name
    with rig.statements() as seen:
        await rig.move("production", newer)
        told = await asyncio.gather(*(watcher.version() for watcher in watchers))
    assert told == ["v1"] * 1000
    of_watch = [statement for statement in reads(seen) if "event_sequence" in statement or "event.payload" in statement]
    assert 0 < len(of_watch) <= 8, of_watch
    for watcher in watchers:
        await watcher.stream.aclose()
    assert app.watching() == 0
    assert not app._tail.topics
    assert app._tail._task is not None
    await asyncio.wait_for(app._tail._task, SECONDS)  # nothing is left that could ask
    await app.close()


async def test_a_tick_is_one_query_for_all(rig: Rig) -> None:
    await rig.log()
    await rig.log(collection=CollectionName(DIGITS.team, "audio", "digits"))
    app = watch_app(rig)
    names = (PRODUCTION, LATEST, CollectionName(DIGITS.team, "audio", "digits").alias("latest"))
    watchers = [Watching(app, name) for name in names for _ in range(100)]
    await asyncio.gather(*(watcher.state() for watcher in watchers))
    rounds = app._tail.round
    with rig.statements() as seen:
        await until_read(app)
    assert 1 <= len(reads(seen)) <= app._tail.round - rounds + 1
    for watcher in watchers:
        await watcher.stream.aclose()
    await app.close()


def reads(statements: list[str]) -> list[str]:
    return [statement for statement in statements if statement.lstrip().upper().startswith("SELECT")]


async def test_a_write_of_this_process_is_told_without_a_tick(rig: Rig) -> None:
    version = (await rig.log()).version.name
    app = watch_app(rig, Pace(tick_seconds=3600))
    rig.transactions.on_events = app.poke
    watching = Watching(app)
    assert await watching.version() == ""
    await rig.move("production", version)
    assert await watching.version() == "v0"
    await watching.stream.aclose()
    await app.close()


async def test_a_crowd_of_events_hides_no_move(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep_server.metadata.store.watch.EVENTS_READ", 1)
    version = (await rig.log()).version.name
    app = watch_app(rig, Pace(tick_seconds=0.2))
    watching = Watching(app)
    assert await watching.version() == ""
    await asyncio.gather(*(rig.log() for _ in range(3)), rig.move("production", version))
    assert await watching.version() == "v0"
    await watching.stream.aclose()
    await app.close()


async def test_what_people_write_ends_no_stream(rig: Rig) -> None:
    """A reason or the name of a run that looks like the beginning of a name, but is none."""
    version = (await rig.log()).version.name
    app = watch_app(rig)
    watching = Watching(app)
    assert await watching.version() == ""
    for alias, reason in (("other", f"{DIGITS} was too good"), ("production", "teams/-/projects/?/collections/...")):
        await rig.aliases.move_aliases(call("MoveAliases"), DIGITS, [AliasMove(alias, version)], reason)
    assert await watching.version() == "v0"
    await watching.stream.aclose()
    await app.close()


async def test_projects_are_told_apart(rig: Rig) -> None:
    elsewhere = CollectionName(DIGITS.team, "audio", "digits")
    await rig.log()
    version = (await rig.log(collection=elsewhere)).version.name
    app = watch_app(rig)
    here, there = Watching(app, PRODUCTION), Watching(app, elsewhere.alias("latest"))
    assert (await here.version(), await there.version()) == ("", "v0")
    assert version.parent.parent == ProjectName(DIGITS.team, "audio")
    await rig.log(collection=elsewhere)
    assert await there.version() == "v1"
    await rig.log()
    await rig.move("production", DIGITS.version(1))
    assert await here.version() == "v1"
    for watching in (here, there):
        await watching.stream.aclose()
    await app.close()


async def test_heartbeats_say_that_somebody_looked(rig: Rig) -> None:
    await rig.log()
    app = watch_app(rig, Pace(tick_seconds=0.05, heartbeat_seconds=0.1))
    watching = Watching(app)
    state = await watching.state()
    beats = [await watching.said() for _ in range(3)]
    assert all(isinstance(beat, Heartbeat) and beat.read_time and beat.read_time >= state.read_time for beat in beats)
    await watching.stream.aclose()
    await app.close()


async def test_a_stream_ends_by_itself(rig: Rig) -> None:
    await rig.log()
    app = watch_app(rig, Pace(tick_seconds=0.05, stream_seconds=0.5))
    async with asyncio.timeout(SECONDS):
        said = [message async for message in app.watch_alias(READER, PRODUCTION)]
    assert len(said) <= 1
    assert app.watching() == 0
    await app.close()


async def test_a_stop_ends_all_streams_and_lets_none_begin(rig: Rig) -> None:
    await rig.log()
    app = watch_app(rig)
    watching = Watching(app)
    await watching.state()
    app.hush()
    with pytest.raises(ServiceUnavailable, match="stops"):
        await watching.said()
    with pytest.raises(ServiceUnavailable, match="stops"):
        await Watching(app).said()
    await app.close()


async def test_a_database_that_is_gone_ends_the_streams(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """R17: a heartbeat says that the state was looked at, so there is none while nobody can look."""
    await rig.log()
    app = watch_app(rig)
    watching = Watching(app)
    await watching.state()

    async def gone(step: object) -> None:
        raise ServiceUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(rig.transactions, "read", gone)
        with pytest.raises(ServiceUnavailable, match="database"):
            await watching.said()
    assert await Watching(app).version() == ""
    await app.close()


async def test_there_are_only_so_many(rig: Rig) -> None:
    await rig.log()
    app = watch_app(rig, replace(QUICK, max_watches=1))
    watching = Watching(app)
    await watching.state()
    with pytest.raises(TooBusy, match="1 streams"):
        await Watching(app).said()
    await watching.stream.aclose()
    async with aclosing(Watching(app).stream) as stream:
        assert isinstance(await anext(stream), AliasState)
    await app.close()


@pytest.mark.peer("M-AUTHZ-1")
async def test_only_readers_of_the_team_watch(rig: Rig) -> None:
    with pytest.raises(PermissionDenied):
        await anext(watch_app(rig).watch_alias(replace(OTHER, access=Access.READ), PRODUCTION))
