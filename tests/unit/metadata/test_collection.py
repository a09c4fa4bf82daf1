"""Teams, projects and collections (SEM-1, 2, 15)."""

from dataclasses import replace

import pytest
from modelkeep.errors import (
    CollectionExists,
    CollectionNotFound,
    CollectionTypeMismatch,
    EtagMismatch,
    PermissionDenied,
    ProjectExists,
    ProjectNotFound,
    TeamNotFound,
)
from modelkeep.names import CollectionName, ProjectName, TeamName
from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain import event

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, PROJECT, TEAM, Rig, call


async def test_a_project_is_made_once(rig: Rig) -> None:
    made = await rig.projects.create_project(call("CreateProject"), PROJECT, "all *vision*")
    assert (made.name, made.description, made.create_time) == (PROJECT, "all *vision*", made.update_time)
    assert await rig.projects.get_project(CALLER, PROJECT) == made
    with pytest.raises(ProjectExists):
        await rig.projects.create_project(call("CreateProject"), PROJECT, "")
    assert await rig.happenings() == ["ProjectCreated"]


async def test_a_project_is_edited(rig: Rig) -> None:
    made = await rig.projects.create_project(call("CreateProject"), PROJECT, "")
    edited = await rig.projects.update_project(call("UpdateProject"), PROJECT, "new", made.etag)
    assert edited == replace(made, description="new", etag=edited.etag, update_time=edited.update_time)
    with pytest.raises(EtagMismatch) as raised:
        await rig.projects.update_project(call("UpdateProject"), PROJECT, "newer", made.etag)
    assert raised.value.metadata["etag"] == edited.etag
    with pytest.raises(ProjectNotFound, match="'vision'"):
        await rig.projects.update_project(call("UpdateProject"), ProjectName(TEAM, "visio"), "", "")


async def test_projects_are_listed_by_name(rig: Rig) -> None:
    for name in ("b", "a", "c"):
        await rig.projects.create_project(call("CreateProject"), ProjectName(TEAM, name), "")
    first = await rig.projects.list_projects(CALLER, TeamName(TEAM), Page(2))
    assert [project.name.project for project in first.items] == ["a", "b"]
    rest = await rig.projects.list_projects(CALLER, TeamName(TEAM), Page(2, first.next_token))
    assert ([project.name.project for project in rest.items], rest.next_token) == (["c"], "")
    for team in ("rivals",):
        with pytest.raises(TeamNotFound):
            await rig.projects.list_projects(OTHER, TeamName(team), Page())


async def test_a_page_of_projects_ends_early_when_their_words_are_many(rig: Rig) -> None:
    """SEM-27."""
    for number in range(12):
        await rig.projects.create_project(call("CreateProject"), ProjectName(TEAM, f"p{number:02}"), "x" * 65_536)
    page = await rig.projects.list_projects(CALLER, TeamName(TEAM), Page())
    assert len(page.items) == 8
    rest = await rig.projects.list_projects(CALLER, TeamName(TEAM), Page(50, page.next_token))
    assert len(rest.items) == 4


async def test_teams(rig: Rig) -> None:
    """SEM-22: nobody sees a team that they may not read."""
    for name in ("zebra", "ants"):
        assert await rig.transactions.write(lambda work, name=name: work.teams.ensure(TeamName(name)))
        assert not await rig.transactions.write(lambda work, name=name: work.teams.ensure(TeamName(name)))
    listing = await rig.transactions.read(lambda work: work.teams.list({TEAM, "ants", "nobody"}, Page(1)))
    assert [team.name.team for team in listing.items] == [TEAM]
    rest = await rig.transactions.read(lambda work: work.teams.list({TEAM, "ants", "nobody"}, Page(1, listing.next_token)))
    assert ([team.name.team for team in rest.items], rest.next_token) == (["ants"], "")
    with pytest.raises(TeamNotFound):
        await rig.transactions.read(lambda work: work.teams.get(TeamName("nobody")))


async def test_a_collection_is_made_with_its_project(rig: Rig) -> None:
    """SEM-1."""
    made = await rig.collections.create_collection(call("CreateCollection"), DIGITS, "model", "d")
    assert (made.name, made.type, made.description, made.latest_version, made.version_count) == (DIGITS, "model", "d", None, 0)
    assert await rig.happenings() == ["ProjectCreated", "CollectionCreated"]
    with pytest.raises(CollectionExists):
        await rig.collections.create_collection(call("CreateCollection"), DIGITS, "model", "")
    with pytest.raises(CollectionTypeMismatch) as raised:
        await rig.collections.create_collection(call("CreateCollection"), DIGITS, "dataset", "")
    assert raised.value.metadata["type"] == "model"


async def test_a_collection_counts_its_live_versions(rig: Rig) -> None:
    for _ in range(3):
        await rig.log()
    await rig.versions.delete_version(call("DeleteVersion"), DIGITS.version(2), "", delete_aliases=False)
    collection = await rig.collections.get_collection(CALLER, DIGITS)
    assert (collection.latest_version, collection.version_count) == (DIGITS.version(1), 2)


async def test_collections_are_listed_by_name_and_type(rig: Rig) -> None:
    for name, type_ in (("b", "model"), ("a", "dataset"), ("c", "model")):
        await rig.log(collection=CollectionName(TEAM, "vision", name), type_=type_)
    everything = await rig.collections.list_collections(CALLER, PROJECT, "", Page())
    assert [one.name.collection for one in everything.items] == ["a", "b", "c"]
    assert all(one.version_count == 1 for one in everything.items)
    first = await rig.collections.list_collections(CALLER, PROJECT, "model", Page(1))
    rest = await rig.collections.list_collections(CALLER, PROJECT, "model", Page(1, first.next_token))
    assert [one.name.collection for one in (*first.items, *rest.items)] == ["b", "c"]
    assert rest.next_token == ""
    assert await rig.collections.list_collections(CALLER, PROJECT, "code", Page()) == Listing(())
    with pytest.raises(ProjectNotFound):
        await rig.collections.list_collections(CALLER, ProjectName(TEAM, "other"), "", Page())


async def test_the_type_changes_only_by_an_explicit_call(rig: Rig) -> None:
    """SEM-2."""
    await rig.log()
    before = await rig.collections.get_collection(CALLER, DIGITS)
    after = await rig.collections.update_collection(call("UpdateCollection"), DIGITS, "dataset", None, before.etag)
    assert after == replace(before, type="dataset", etag=after.etag, update_time=after.update_time)
    assert (await rig.events())[-1].happening == event.CollectionUpdated(str(DIGITS), "dataset", before.uid)
    assert (await rig.versions.get_version(CALLER, DIGITS.version(0), show_deleted=False)).type == "dataset"
    with pytest.raises(EtagMismatch):
        await rig.collections.update_collection(call("UpdateCollection"), DIGITS, None, "d", before.etag)
    described = await rig.collections.update_collection(call("UpdateCollection"), DIGITS, None, "d", "")
    assert (described.type, described.description) == ("dataset", "d")


async def test_a_renamed_collection_keeps_its_versions_and_aliases(rig: Rig) -> None:
    await rig.log(aliases=("best",))
    new = replace(DIGITS, collection="numbers")
    renamed = await rig.collections.rename_collection(call("RenameCollection"), DIGITS, new)
    assert (renamed.name, renamed.latest_version) == (new, new.version(0))
    version = await rig.versions.get_version(CALLER, new.version(0), show_deleted=False)
    assert version.aliases == ("best", "latest")
    assert (await rig.events())[-1].happening == event.CollectionRenamed(str(new), str(DIGITS), renamed.uid)
    with pytest.raises(CollectionNotFound, match="numbers"):
        await rig.collections.get_collection(CALLER, DIGITS)
    assert (await rig.collections.rename_collection(call("RenameCollection"), new, new)).name == new


async def test_every_event_of_a_collection_tells_the_uid_that_outlives_its_names(rig: Rig) -> None:
    """Through a rename and a move, which both projects log (SEM-58)."""
    await rig.log(aliases=("best",))
    uid = (await rig.collections.get_collection(CALLER, DIGITS)).uid
    numbers, there = replace(DIGITS, collection="numbers"), ProjectName(TEAM, "other")
    await rig.collections.rename_collection(call("RenameCollection"), DIGITS, numbers)
    moved = await rig.collections.move_collection(call("MoveCollection"), numbers, there, "")
    await rig.collections.update_collection(call("UpdateCollection"), moved.name, "dataset", None, "")
    await rig.versions.delete_version(call("DeleteVersion"), moved.name.version(0), "", delete_aliases=True)
    logged = [*await rig.events(), *await rig.events(there)]
    told = [fact.collection_uid for fact in (one.happening for one in logged) if hasattr(fact, "collection_uid")]
    assert told == [uid] * 8  # made, committed, best, renamed, moved; moved, edited, best deleted
    assert moved.uid == uid
    await rig.log(collection=DIGITS)
    assert (await rig.collections.get_collection(CALLER, DIGITS)).uid != uid


async def test_a_taken_name_is_refused(rig: Rig) -> None:
    other = replace(DIGITS, collection="other")
    await rig.log()
    await rig.log(collection=other)
    with pytest.raises(CollectionExists):
        await rig.collections.rename_collection(call("RenameCollection"), DIGITS, other)
    with pytest.raises(CollectionNotFound):
        await rig.collections.rename_collection(call("RenameCollection"), replace(DIGITS, collection="x"), other)
    assert (await rig.collections.get_collection(CALLER, DIGITS)).version_count == 1


async def test_who_may_see_and_edit(rig: Rig) -> None:
    for attempt in (
        rig.projects.create_project(call(caller=OTHER), PROJECT, ""),
        rig.projects.get_project(OTHER, PROJECT),
        rig.projects.list_projects(OTHER, TeamName(TEAM), Page()),
        rig.projects.update_project(call(caller=OTHER), PROJECT, "", ""),
        rig.collections.create_collection(call(caller=OTHER), DIGITS, "model", ""),
        rig.collections.get_collection(OTHER, DIGITS),
        rig.collections.list_collections(OTHER, PROJECT, "", Page()),
        rig.collections.update_collection(call(caller=OTHER), DIGITS, "x", None, ""),
        rig.collections.rename_collection(call(caller=OTHER), DIGITS, DIGITS),
    ):
        with pytest.raises(PermissionDenied):
            await attempt
