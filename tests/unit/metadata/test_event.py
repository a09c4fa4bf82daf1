"""The event log: gapless, in order, whatever happens at once (SEM-58)."""

import asyncio

import pytest
from modelkeep.errors import InvalidPageToken, PermissionDenied, ProjectNotFound
from modelkeep.names import CollectionName, ProjectName, TeamName
from modelkeep_server.database.paging import Page, token
from modelkeep_server.metadata.app.event import EventApp
from modelkeep_server.metadata.domain.event import EventHead, ProjectCreated, VersionUpdated
from modelkeep_server.metadata.ports.transactions import Work
from modelkeep_server.runtime.callers import Access, Caller

from tests.unit.metadata.rig import CALLER, PROJECT, Rig

SERVICE = Caller("services/lineage", is_service=True, access=Access.READ)
KEEPER = Caller("services/lineage", is_service=True, access=Access.SERVICE)


async def emit(rig: Rig, *projects: ProjectName, times: int = 1, fail: bool = False) -> None:
    """One transaction with some events."""

    async def step(work: Work) -> None:
        for _ in range(times):
            for project in projects:
                work.emit(project, "me", VersionUpdated("v", ("notes",)))
        if fail:
            raise RuntimeError("rolled back")

    await rig.transactions.write(step)


async def start(rig: Rig, *names: str) -> list[ProjectName]:
    projects = [ProjectName(PROJECT.team, name) for name in names]
    for project in projects:
        await rig.transactions.write(lambda work, project=project: work.projects.ensure(project))
    return projects


async def test_numbers_have_no_gap_however_many_write_at_once(rig: Rig) -> None:
    """I10, SEM-58: also when some of them fail, and when two transactions touch the same projects in another order."""
    one, two = await start(rig, "one", "two")
    work = [emit(rig, one, two, times=2) for _ in range(20)] + [emit(rig, two, one) for _ in range(20)]
    work += [emit(rig, one, fail=True) for _ in range(10)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(result, RuntimeError) for result in results) == 10
    assert all(result is None or isinstance(result, RuntimeError) for result in results)
    for project in (one, two):
        events = await rig.events(project)
        assert [event.sequence for event in events] == list(range(1, 61))
        assert len({event.uid for event in events}) == 60
        assert [event.event_time for event in events] == sorted(event.event_time for event in events)


async def test_a_reader_by_cursor_never_skips_while_others_write(rig: Rig) -> None:
    (project,) = await start(rig, "one")
    app, seen = EventApp(rig.transactions), []
    writers = asyncio.gather(*(emit(rig, project, times=3) for _ in range(30)))
    while not writers.done() or len(seen) < 90:
        events, head = await app.list_events(CALLER, project, seen[-1] if seen else 0, 7)
        seen += [event.sequence for event in events]
        assert len(seen) <= head
    await writers
    assert seen == list(range(1, 91))


async def test_events_cost_two_statements_per_project_and_come_last(rig: Rig) -> None:
    one, two = await start(rig, "one", "two")
    with rig.statements() as seen:
        await emit(rig, one, two, times=50)
    assert [statement.split()[0] for statement in seen if not statement.startswith("BEGIN")] == ["UPDATE", "INSERT"] * 2


async def test_a_page_begins_after_a_sequence_and_tells_the_head(rig: Rig) -> None:
    await rig.log(aliases=("best",))
    app = EventApp(rig.transactions)
    events, head = await app.list_events(SERVICE, PROJECT, 1, 2)
    assert ([event.sequence for event in events], head) == ([2, 3], 4)
    assert await app.list_events(CALLER, PROJECT, 4, 50) == ((), 4)
    assert (await app.list_events(CALLER, PROJECT, 0, 1))[0][0].happening == ProjectCreated()
    with pytest.raises(ProjectNotFound, match="vision"):
        await app.list_events(CALLER, ProjectName(PROJECT.team, "vison"), 0, 1)


async def test_heads_of_all_projects_by_pages(rig: Rig) -> None:
    await rig.transactions.write(lambda work: work.teams.ensure(TeamName("zeta")))
    one, two = await start(rig, "a", "b")
    three = ProjectName("zeta", "a")
    await rig.transactions.write(lambda work: work.projects.ensure(three))
    await emit(rig, two, times=4)
    app, heads, page = EventApp(rig.transactions), [], Page(2)
    while True:
        listing = await app.list_event_heads(KEEPER, page)
        heads += listing.items
        if not listing.next_token:
            break
        page = Page(2, listing.next_token)
    assert heads == [EventHead(one, 0), EventHead(two, 4), EventHead(three, 0)]


@pytest.mark.peer("M-AUTHZ-1")
async def test_heads_are_for_services_only(rig: Rig) -> None:
    """M-AUTHZ-1."""
    with pytest.raises(PermissionDenied):
        await EventApp(rig.transactions).list_event_heads(Caller("x", "acme", CALLER.role, access=Access.SERVICE), Page())


@pytest.mark.parametrize("position", [[], ["a"], [1, 2], ["a", 1], ["a", "\0"], ["a", "\ud800"], ["a", ["b"]], [None, "a"]])
async def test_a_forged_page_token_is_refused(rig: Rig, position: list[object]) -> None:
    with pytest.raises(InvalidPageToken):
        await EventApp(rig.transactions).list_event_heads(KEEPER, Page(2, token(position, "event heads")))


async def test_a_commit_of_another_collection_goes_to_the_same_log(rig: Rig) -> None:
    await rig.log()
    await rig.log(collection=CollectionName(PROJECT.team, PROJECT.project, "other"))
    assert [event.sequence for event in await rig.events()] == [1, 2, 3, 4, 5]
