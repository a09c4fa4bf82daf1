"""Uses: once per run and version (SEM-20, 39, 58)."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from modelkeep.errors import InvalidArgument, PermissionDenied, VersionDeleted, VersionNotFound
from modelkeep.names import RunName, VersionName
from modelkeep_server.metadata.app.use import UseApp
from modelkeep_server.metadata.domain.event import VersionUsed
from modelkeep_server.metadata.domain.use import Recorded, Use
from modelkeep_server.metadata.domain.version import UseSummary
from modelkeep_server.runtime.callers import Access, Caller, Role

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, Rig, call

RUN = RunName("acme", "vision", "r1")


async def record(rig: Rig, version: VersionName, use: Use, caller: Caller = CALLER) -> Recorded:
    return await UseApp(rig.transactions).record_use(call("RecordUse", caller), version, use)


async def summary(rig: Rig, version: VersionName) -> UseSummary:
    return (await rig.versions.get_version(CALLER, version, show_deleted=True)).uses


async def test_the_first_use_is_an_event_and_the_next_is_not(rig: Rig) -> None:
    """SEM-39, SEM-20: the edge points to the version and remembers the words it was asked for by."""
    version = (await rig.log()).version
    before = await rig.events()
    assert await record(rig, version.name, Use(RUN, "fox", "digits:best")) == Recorded(version.uid, is_first=True)
    first = await summary(rig, version.name)
    assert await record(rig, version.name, Use(RUN, "fox", "digits:latest")) == Recorded(version.uid, is_first=False)
    second = await summary(rig, version.name)
    assert (first.run_count, first.first_use_time) == (1, first.last_use_time)
    assert (second.run_count, second.first_use_time) == (1, first.first_use_time)
    assert first.last_use_time is not None
    assert second.last_use_time is not None
    assert second.last_use_time > first.last_use_time
    happened = [event.happening for event in (await rig.events())[len(before) :]]
    assert happened == [VersionUsed(str(version.name), version.uid, str(RUN), "fox", "digits:best")]


async def test_many_runs_at_once_are_all_counted(rig: Rig) -> None:
    version = (await rig.log()).version
    uses = [Use(RunName("acme", "vision", f"r{i % 20}")) for i in range(60)]
    recorded = await asyncio.gather(*(record(rig, version.name, use) for use in uses))
    assert sum(one.is_first for one in recorded) == 20
    assert (await summary(rig, version.name)).run_count == 20
    assert (await rig.happenings()).count("VersionUsed") == 20


async def test_a_use_leaves_the_version_as_it_is(rig: Rig) -> None:
    """SEM-15: no new etag, so no edit of somebody else fails because a run began."""
    version = (await rig.log()).version
    await record(rig, version.name, Use(RUN))
    used = await rig.versions.get_version(CALLER, version.name, show_deleted=False)
    assert replace(used, uses=version.uses) == version


async def test_a_run_of_one_team_may_use_what_its_key_may_read_of_another(rig: Rig) -> None:
    """Needs write on the team of the run, read on the team of the version."""
    version = (await rig.log()).version
    theirs = Use(RunName("rivals", "p", "r"))
    with pytest.raises(PermissionDenied):
        await record(rig, version.name, theirs, OTHER)
    reader = replace(OTHER, readable_teams=frozenset({"acme"}))
    assert (await record(rig, version.name, theirs, reader)).is_first
    with pytest.raises(PermissionDenied):
        await record(rig, version.name, Use(RUN), reader)
    with pytest.raises(PermissionDenied):
        await record(rig, version.name, Use(RUN), Caller("x", "acme", Role.READ, access=Access.WRITE))
    with pytest.raises(PermissionDenied):
        await record(rig, DIGITS.version(7), theirs, OTHER)  # whether it exists or not


async def test_what_cannot_be_used(rig: Rig) -> None:
    """SEM-40."""
    version = (await rig.log()).version.name
    with pytest.raises(VersionNotFound, match="the newest is v0"):
        await record(rig, DIGITS.version(3), Use(RUN))
    for use in (Use(RUN, "x" * 1025), Use(RUN, "", "nul\0")):
        with pytest.raises(InvalidArgument):
            await record(rig, version, use)
    await rig.versions.delete_version(call("DeleteVersion"), version, "old", delete_aliases=False)
    with pytest.raises(VersionDeleted, match="old"):
        await record(rig, version, Use(RUN))
    assert (await summary(rig, version)).run_count == 0


async def test_a_use_and_a_delete_at_once_never_both_win(rig: Rig) -> None:
    """A version that was deleted first is not used; one that was used first shows the use in its tombstone's version."""
    for _ in range(5):
        version = (await rig.log()).version.name
        used, _ = await asyncio.gather(
            record(rig, version, Use(RUN)),
            rig.versions.delete_version(call("DeleteVersion"), version, "", delete_aliases=False),
            return_exceptions=True,
        )
        assert (await summary(rig, version)).run_count == (0 if isinstance(used, VersionDeleted) else 1)


async def test_last_use_is_by_the_clock_of_the_database(rig: Rig) -> None:
    version = (await rig.log()).version.name
    await record(rig, version, Use(RUN))
    rig.clock.offset = timedelta(days=400)
    await record(rig, version, Use(RUN))
    uses = await summary(rig, version)
    assert uses.first_use_time is not None
    assert uses.last_use_time is not None
    assert uses.last_use_time - uses.first_use_time > timedelta(days=399)
