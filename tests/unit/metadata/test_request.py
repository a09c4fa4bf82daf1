"""The memory of successful calls (SEM-14, R13)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from modelkeep.errors import AlreadyExists, ProjectExists, RequestIdReused
from modelkeep.names import ProjectName
from modelkeep_server.database import requests
from modelkeep_server.database.clock import Clock
from modelkeep_server.metadata.domain.alias import Alias, AliasMove
from modelkeep_server.metadata.domain.project import Project
from modelkeep_server.metadata.store import unit_of_work
from modelkeep_server.metadata.store.tables import AliasChangeRow, ProjectRow, RequestRow
from modelkeep_server.metadata.store.unit_of_work import SqlTransactions
from sqlalchemy import text

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, PROJECT, Rig, call


async def test_a_hundred_calls_at_once_have_one_effect_and_one_answer(rig: Rig) -> None:
    """R13: the others wait, and get the answer of the first."""
    same = call("CreateProject")
    answers = await asyncio.gather(*(rig.projects.create_project(same, PROJECT, "d") for _ in range(100)))
    assert len(set(answers)) == 1
    assert await rig.happenings() == ["ProjectCreated"]


async def test_a_hundred_moves_at_once_have_one_effect_and_one_answer(rig: Rig) -> None:
    version = (await rig.log()).version.name
    same, moves = call("MoveAliases"), [AliasMove("best", version, must_not_exist=True)]
    answers = await asyncio.gather(*(rig.aliases.move_aliases(same, DIGITS, moves, "") for _ in range(100)))
    assert len(set(answers)) == 1
    assert await rig.count(AliasChangeRow) == 1


async def test_a_repeated_call_gets_the_first_answer_although_the_world_changed(rig: Rig) -> None:
    same = call("CreateProject")
    first = await rig.projects.create_project(same, PROJECT, "one")
    await rig.projects.update_project(call("UpdateProject"), PROJECT, "two", "")
    assert await rig.projects.create_project(same, PROJECT, "one") == first
    assert (await rig.projects.get_project(CALLER, PROJECT)).description == "two"


async def test_another_body_under_the_same_id_is_refused(rig: Rig) -> None:
    same = call("CreateProject", body=b"one")
    await rig.projects.create_project(same, PROJECT, "")
    with pytest.raises(RequestIdReused, match=same.request_id) as raised:
        await rig.projects.create_project(replace(same, fingerprint=bytes(32)), PROJECT, "")
    assert isinstance(raised.value, AlreadyExists)
    assert raised.value.metadata == {"request_id": same.request_id, "method": "CreateProject"}


async def test_a_failed_call_is_not_remembered(rig: Rig) -> None:
    await rig.projects.create_project(call("CreateProject"), PROJECT, "")
    same = call("CreateProject")
    for _ in range(2):
        with pytest.raises(ProjectExists):
            await rig.projects.create_project(same, PROJECT, "")
    assert await rig.count(RequestRow) == 1
    await rig.projects.create_project(same, ProjectName(PROJECT.team, "free"), "")
    assert await rig.count(RequestRow) == 2


async def test_one_id_may_stand_for_calls_of_other_methods_and_teams(rig: Rig) -> None:
    request_id = str(uuid4())
    calls = [call(method, caller, request_id) for method in ("A", "B") for caller in (CALLER, OTHER)]
    runs: list[str] = []

    async def step(work: object) -> str:
        runs.append("run")
        return f"{len(runs)}"

    assert [await rig.transactions.once(one, str, step) for one in calls] == ["1", "2", "3", "4"]
    assert [await rig.transactions.once(one, str, step) for one in calls] == ["1", "2", "3", "4"]


async def test_an_answer_is_remembered_for_thirty_days(rig: Rig) -> None:
    same = call("CreateProject")
    await rig.projects.create_project(same, PROJECT, "")
    rig.clock.offset = timedelta(days=29, hours=23)
    await rig.projects.create_project(same, PROJECT, "")
    rig.clock.offset = timedelta(days=30, seconds=1)
    with pytest.raises(ProjectExists):
        await rig.projects.create_project(same, PROJECT, "")


async def test_the_forgotten_is_taken_away_in_bites(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_of_work, "CLEAN_EVERY", 5)
    monkeypatch.setattr(requests, "FORGOTTEN_AT_ONCE", 3)

    async def nothing(work: object) -> int:
        return 7

    for _ in range(4):
        await rig.transactions.once(call(), int, nothing)
    rig.clock.offset = timedelta(days=31)
    assert await rig.transactions.once(call(), int, nothing) == 7
    assert await rig.count(RequestRow) == 2  # one of the four, and the one that cleaned


async def test_every_kind_of_answer_survives_its_memory(rig: Rig) -> None:
    """What comes back from the memory equals what went in: digests, moments, names, nothing at all."""
    await rig.log(tags=("x",), aliases=("best",), metadata_json='{"a":"é"}')
    version = await rig.versions.get_version(CALLER, DIGITS.version(0), show_deleted=False)
    edits = call("EditTags")
    first = await rig.versions.edit_tags(edits, version.name, ["y"], [])
    assert await rig.versions.edit_tags(edits, version.name, ["y"], []) == first
    deletes = call("DeleteVersion")
    gone = await rig.versions.delete_version(deletes, version.name, "old", delete_aliases=True)
    assert gone.tombstone is not None
    assert await rig.versions.delete_version(deletes, version.name, "old", delete_aliases=True) == gone
    again = await rig.log()
    moves = call("MoveAliases")
    moved = await rig.aliases.move_aliases(moves, DIGITS, [AliasMove("best", again.version.name)], "")
    assert isinstance(moved[0], Alias)
    assert await rig.aliases.move_aliases(moves, DIGITS, [AliasMove("best", again.version.name)], "") == moved


async def test_memory_costs_two_statements(rig: Rig) -> None:
    async def nothing(work: object) -> int:
        return 7

    with rig.statements() as seen:
        await rig.transactions.once(call(), int, nothing)
    assert len([one for one in seen if "request" in one]) == 2


async def test_a_crash_before_the_commit_leaves_nothing(rig: Rig) -> None:
    """I3: the claim, the effect and the answer are one transaction."""

    async def fails(work: object) -> Project:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await SqlTransactions(rig.database, Clock()).once(call(), Project, fails)
    assert await rig.count(RequestRow) == 0
    assert await rig.count(ProjectRow) == 0
    assert await rig.database.read(lambda session: session.scalar(text("SELECT 1"))) == 1
