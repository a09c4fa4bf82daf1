"""Runs: begin, find, edit, end and delete them, on both databases."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from modelkeep.errors import (
    EtagMismatch,
    InvalidArgument,
    LimitExceeded,
    PermissionDenied,
    ProjectNotFound,
    RequestIdReused,
    RunDeleted,
    RunExists,
    RunNotFound,
    RunNotRunning,
)
from modelkeep.names import ProjectName, RunName
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.expression import ALL
from modelkeep_server.lineage.app import run as runs_module
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.run import Environment, NewRun, RunState, RunWords, Source
from modelkeep_server.lineage.store.tables import ConfigValueRow, MetricRow, PointRow, RunRow, RunTagRow, SummaryValueRow
from modelkeep_server.runtime.callers import Access
from sqlalchemy import select

from tests.unit.lineage.rig import CALLER, OTHER, PROJECT, Rig, call, series

MINUTE = timedelta(minutes=1)
READER = replace(OTHER, access=Access.READ)


def name(id_: str) -> RunName:
    return RunName(PROJECT.team, PROJECT.project, id_)


async def test_a_run_is_what_was_told_of_it(rig: Rig) -> None:
    source = Source(
        "https://git.example/net.git", "c0ffee", "main", is_dirty=True, entry_point="train.py", arguments=("--lr", "ä b")
    )
    environment = Environment("node1", "me", "Linux", "3.12", ("numpy==2.0",))
    began = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    new = NewRun(
        name("r1"),
        "calm-lake",
        CALLER.actor,
        "train",
        "sweep",
        ("b", "a b"),
        "# Notes",
        '{"lr":0.1}',
        source,
        environment,
        began,
    )
    made = await rig.runs.create_run(call("CreateRun"), new)
    assert made == await rig.get(name("r1"))
    assert (made.display_name, made.state, made.job_type, made.group) == ("calm-lake", RunState.RUNNING, "train", "sweep")
    assert (made.tags, made.notes, made.config_json, made.summary_json) == (("a b", "b"), "# Notes", '{"lr":0.1}', "{}")
    assert (made.source, made.environment, made.start_time, made.end_time) == (source, environment, began, None)
    assert (made.creator, made.etag, made.resume_count) == (CALLER.actor, "1", 0)


async def test_a_repeated_call_gets_the_first_answer(rig: Rig) -> None:
    """SEM-14."""
    first = call("CreateRun", request_id=str(uuid4()))
    new = NewRun(name("r1"), "r1")
    made = await rig.runs.create_run(first, new)
    await rig.log(made.name, acc=1)
    assert await rig.runs.create_run(first, new) == made
    with pytest.raises(RequestIdReused):
        await rig.runs.create_run(call("CreateRun", request_id=first.request_id, body=b"other"), new)
    end = call("FinishRun")
    ended = await rig.runs.finish_run(end, made.name, RunState.FINISHED, None)
    await rig.runs.resume_run(call("ResumeRun"), made.name)
    assert await rig.runs.finish_run(end, made.name, RunState.FINISHED, None) == ended
    assert (await rig.get(made.name)).state is RunState.RUNNING


async def test_an_id_is_given_once(rig: Rig) -> None:
    run = await rig.begin("r1")
    with pytest.raises(RunExists, match="resume it"):
        await rig.begin("r1")
    await rig.runs.delete_run(call("DeleteRun"), run, "")
    with pytest.raises(RunDeleted):
        await rig.begin("r1")
    others = await asyncio.gather(*(rig.begin("r2") for _ in range(4)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in others) == ["RunExists"] * 3 + ["RunName"]


async def test_a_run_that_is_not_there_names_the_nearest(rig: Rig) -> None:
    await rig.begin("run-17")
    for wanted, hint in {"run-71": "run-17", "zzz": ""}.items():
        with pytest.raises(RunNotFound) as raised:
            await rig.get(name(wanted))
        assert raised.value.metadata["nearest"] == hint


async def test_words_are_edited_and_a_stale_edit_is_refused(rig: Rig) -> None:
    """SEM-19."""
    run = await rig.begin("r1", config_json='{"lr":1,"old":2}', display_name="first")
    before = await rig.get(run)
    words = RunWords(
        display_name="second", notes="n", config_json='{"lr":2}', code_version="v", environment=Environment("host")
    )
    after = await rig.runs.update_run(call("UpdateRun"), run, words, before.etag)
    assert (after.display_name, after.group, after.notes, after.config_json) == ("second", "", "n", '{"lr":2}')
    assert (after.source.code_version, after.environment.host, after.etag) == ("v", "host", "2")
    assert after.update_time > before.update_time
    with pytest.raises(EtagMismatch, match="read it again"):
        await rig.runs.update_run(call("UpdateRun"), run, RunWords(notes="lost"), before.etag)
    await rig.runs.update_run(call("UpdateRun"), run, RunWords(source=Source(commit="c0ffee")), "")
    assert (await rig.get(run)).source == Source(commit="c0ffee")
    assert await rig.found("config.lr = 2") == ["r1"]
    assert await rig.found("config.old:*") == []


async def test_tags_are_added_and_taken_and_counted(rig: Rig) -> None:
    """SEM-19."""
    rig.use(Limits(max_tags=3))
    run = await rig.begin("r1", tags=("a", "b"))
    edited = await rig.runs.edit_run_tags(call("EditRunTags"), run, ("b", "c"), ("a", "none"))
    assert edited.tags == ("b", "c")
    with pytest.raises(LimitExceeded, match="at most 3"):
        await rig.runs.edit_run_tags(call("EditRunTags"), run, ("d", "e"), ())
    assert (await rig.get(run)).tags == ("b", "c")
    with pytest.raises(LimitExceeded):
        await rig.begin("r2", tags=("a", "b", "c", "d"))


async def test_tags_that_change_nothing_are_no_edit(rig: Rig) -> None:
    """So that nobody's etag becomes stale by them; and however many are to be taken off, that is one small statement."""
    run = await rig.begin("r1", tags=("a", "b"))
    before = await rig.get(run)
    same = await rig.runs.edit_run_tags(call("EditRunTags"), run, ("a",), tuple(f"t{i}" for i in range(40_000)))
    assert (same.etag, same.update_time, same.tags) == (before.etag, before.update_time, ("a", "b"))
    with pytest.raises(InvalidArgument, match="'b' is to be added and to be removed"):
        await rig.runs.edit_run_tags(call("EditRunTags"), run, ("b", "c"), ("b",))
    assert (await rig.runs.edit_run_tags(call("EditRunTags"), run, (), ("b",))).etag != before.etag


async def test_no_run_ends_before_it_begins(rig: Rig) -> None:
    """Whatever the clocks say: it may end on another machine than that which began it."""
    run = await rig.begin("r1", start_time=datetime(2026, 1, 2, tzinfo=UTC))
    ended = await rig.runs.finish_run(call("FinishRun"), run, RunState.FINISHED, datetime(2026, 1, 1, tzinfo=UTC))
    assert ended.end_time == ended.start_time
    later = await rig.begin("r2", start_time=datetime.now(UTC) + timedelta(hours=23))
    ended = await rig.runs.finish_run(call("FinishRun"), later, RunState.FINISHED, None)
    assert ended.end_time == ended.start_time


async def test_a_run_whose_clock_is_far_ahead_is_not_the_newest_for_ever(rig: Rig) -> None:
    """It is kept all the same: it may have been recorded offline, by a clock that nobody mended."""
    far, near = datetime(9999, 12, 31, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=23)
    run = await rig.begin("r1", start_time=far)
    ended = await rig.runs.finish_run(call("FinishRun"), run, RunState.FINISHED, far)
    assert ended.start_time <= ended.end_time < near
    assert (await rig.get(await rig.begin("r2", start_time=near))).start_time == near
    ended = await rig.runs.finish_run(call("FinishRun"), await rig.begin("r3"), RunState.FINISHED, near)
    assert ended.end_time == near
    assert await rig.found() == ["r2", "r3", "r1"]


async def test_a_silent_run_has_crashed_until_it_is_heard_of(rig: Rig) -> None:
    run = await rig.begin("r1")
    heard = (await rig.get(run)).heartbeat_time
    rig.clock.offset = 6 * MINUTE
    crashed = await rig.get(run)
    assert (crashed.state, crashed.end_time) == (RunState.CRASHED, heard)
    assert await rig.found("state = crashed AND end_time > -1d") == ["r1"]
    assert await rig.found("state = running") == []
    await rig.runs.heartbeat(CALLER, run)
    assert (await rig.get(run)).state is RunState.RUNNING
    rig.clock.offset = 12 * MINUTE
    await rig.log(run, series("acc", 1.0))
    assert (await rig.get(run)).state is RunState.RUNNING


async def test_a_run_ends_once_and_may_be_resumed(rig: Rig) -> None:
    run = await rig.begin("r1", start_time=datetime(2026, 1, 1, tzinfo=UTC))
    when = datetime(2026, 1, 2, tzinfo=UTC)
    ended = await rig.runs.finish_run(call("FinishRun"), run, RunState.FAILED, when)
    assert (ended.state, ended.end_time) == (RunState.FAILED, when)
    again = await rig.runs.finish_run(call("FinishRun"), run, RunState.FAILED, None)
    assert again.end_time == when
    with pytest.raises(RunNotRunning) as raised:
        await rig.runs.finish_run(call("FinishRun"), run, RunState.FINISHED, None)
    assert raised.value.metadata["state"] == "failed"
    for forbidden in (rig.runs.heartbeat(CALLER, run), rig.log(run, series("acc", 1.0))):
        with pytest.raises(RunNotRunning, match="resume it first"):
            await forbidden
    resumed = await rig.runs.resume_run(call("ResumeRun"), run)
    assert (resumed.state, resumed.end_time, resumed.resume_count) == (RunState.RUNNING, None, 1)
    assert (await rig.runs.resume_run(call("ResumeRun"), run)).resume_count == 1
    rig.clock.offset = 6 * MINUTE
    assert (await rig.runs.resume_run(call("ResumeRun"), run)).resume_count == 2
    rig.clock.offset = 12 * MINUTE
    assert (await rig.runs.finish_run(call("FinishRun"), run, RunState.FINISHED, None)).state is RunState.FINISHED


async def test_of_a_deleted_run_only_a_tombstone_stays(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEM-51: some points at a time, and whoever deletes it again goes on with what a crash left."""
    monkeypatch.setattr(runs_module, "ERASED_AT_ONCE", 3)
    source, environment = Source("https://host/x", "c0ffee", "main", entry_point="t.py"), Environment("host", "user", "Linux")
    words = {"notes": "n", "group": "g", "source": source, "environment": environment}
    run = await rig.begin("r1", tags=("t",), config_json='{"lr":1}', display_name="Ada's run", **words)
    other = await rig.begin("r2")
    for one in (run, other):
        await rig.log(one, series("a", *map(float, range(5))), series("b", 1.0, 2.0), acc=1)
    with rig.statements() as seen:
        await rig.runs.delete_run(call("DeleteRun"), run, "wrong data")
    assert len([one for one in seen if one.startswith("DELETE FROM metric_point")]) == 3
    with pytest.raises(RunDeleted, match="wrong data") as raised:
        await rig.get(run)
    assert raised.value.metadata["actor"] == CALLER.actor
    for forbidden in (
        rig.log(run, series("a", 1.0)),
        rig.runs.heartbeat(CALLER, run),
        rig.runs.update_run(call("UpdateRun"), run, RunWords(notes="n"), ""),
        rig.metrics.list_metrics(CALLER, run, Page()),
        rig.metrics.list_metric_points(CALLER, run, "a", Page()),
    ):
        with pytest.raises(RunDeleted):
            await forbidden
    assert await rig.found() == ["r2"]
    counts = [await rig.count(table) for table in (RunTagRow, ConfigValueRow, SummaryValueRow, MetricRow, PointRow, RunRow)]
    assert counts == [0, 0, 3, 2, 7, 2]
    async with rig.database.engine.connect() as connection:
        (row,) = (await connection.execute(select(RunRow.__table__).where(RunRow.run == "r1"))).mappings()  # type: ignore[attr-defined,arg-type]
    kept = {column for column, value in row.items() if value and value not in ("{}", "[]")}
    assert not kept & {"display_name", "group_name", "notes", "host", "user_name", "commit_id", "branch", "entry_point"}
    await asyncio.gather(*(rig.runs.delete_run(call("DeleteRun"), other, "by several at once") for _ in range(4)))
    await rig.runs.delete_run(call("DeleteRun"), run, "again")
    with pytest.raises(RunDeleted, match="wrong data"):
        await rig.get(run)
    with pytest.raises(RunNotFound):
        await rig.runs.delete_run(call("DeleteRun"), name("r3"), "")


@pytest.mark.peer("M-AUTHZ-1")
async def test_no_other_team_sees_or_changes_runs(rig: Rig) -> None:
    """M-AUTHZ-1."""
    run = await rig.begin("r1")
    for forbidden in (
        rig.runs.create_run(call("CreateRun", OTHER), NewRun(name("r2"), "")),
        rig.runs.get_run(READER, run),
        rig.runs.list_runs(READER, PROJECT, Page(), ALL),
        rig.best.get_best_run(READER, PROJECT, ("acc",), ALL, largest=True),
        rig.runs.update_run(call("UpdateRun", OTHER), run, RunWords(notes="n"), ""),
        rig.runs.edit_run_tags(call("EditRunTags", OTHER), run, ("a",), ()),
        rig.runs.heartbeat(OTHER, run),
        rig.runs.finish_run(call("FinishRun", OTHER), run, RunState.FINISHED, None),
        rig.runs.resume_run(call("ResumeRun", OTHER), run),
        rig.runs.delete_run(call("DeleteRun", OTHER), run, ""),
        rig.metrics.list_metrics(READER, run, Page()),
        rig.metrics.list_metric_points(READER, run, "acc", Page()),
    ):
        with pytest.raises(PermissionDenied):
            await forbidden
    assert (await rig.get(run)).etag == "1"


async def test_an_empty_project_is_told_from_a_missing_one(rig: Rig) -> None:
    with pytest.raises(ProjectNotFound):
        await rig.found()
    with pytest.raises(ProjectNotFound):
        await rig.best.get_best_run(CALLER, PROJECT, ("acc",), ALL, largest=True)
    rig.projects.known.add(PROJECT)
    assert await rig.found() == []
    for project in (PROJECT, ProjectName(PROJECT.team, "-")):
        with pytest.raises(RunNotFound, match="has a number 'acc'"):
            await rig.best.get_best_run(CALLER, project, ("acc",), ALL, largest=True)
    assert await rig.found(project=ProjectName(PROJECT.team, "-")) == []
