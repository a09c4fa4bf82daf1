"""fsck of runs: what it finds, and that all is well otherwise."""

from modelkeep_server.lineage.app.check import problems
from modelkeep_server.lineage.domain.problem import Problem, ProblemKind
from sqlalchemy import text

from tests.unit.lineage.rig import PROJECT, Rig, call, series


async def found(rig: Rig) -> list[Problem]:
    return [problem async for problem in problems(rig.transactions)]


async def test_what_was_logged_edited_and_deleted_holds_together(rig: Rig) -> None:
    for n in range(40):
        run = await rig.begin(config_json='{"lr":[1,1,2],"deep":{"a":"Infinity"}}')
        await rig.log(run, series("a", 1.0, float("inf")), series("b", float("nan")), note="NaN")
        await rig.log(run, series("a", 2.0), note=None)
        if n % 10 == 0:
            await rig.runs.delete_run(call("DeleteRun"), run, "")
    assert await found(rig) == []


async def test_what_is_broken_is_named(rig: Rig) -> None:
    lost, unfound, left = [await rig.begin(id_, config_json='{"lr":1}') for id_ in ("lost", "unfound", "left")]
    for run in (lost, left):
        await rig.log(run, series("acc", 1.0, 2.0))
    for statement in (
        "DELETE FROM metric_point WHERE ordinal = 1",
        "DELETE FROM config_value WHERE run_id = (SELECT id FROM run WHERE run = 'unfound')",
        "UPDATE run SET delete_time = 1 WHERE run = 'left'",
    ):
        await rig.database.write(lambda session, statement=statement: session.execute(text(statement)))
    told = {(problem.kind, problem.what, problem.breaks_invariant) for problem in await found(rig)}
    assert told == {
        (ProblemKind.POINTS_WRONG, f"{lost} 'acc'", True),
        (ProblemKind.VALUES_WRONG, str(unfound), True),
        (ProblemKind.POINTS_LEFT, f"{PROJECT}/runs/left", False),
    }
