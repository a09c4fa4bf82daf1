"""Metrics: what is kept, and what the summary says, on both databases."""

import asyncio
import json
import math

import pytest
from modelkeep.errors import InvalidArgument, LimitExceeded, MetricNotFound, RunNotFound
from modelkeep.names import RunName
from modelkeep_server.database.paging import Page
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.metric import Measured, Metric, MetricSummary, Series
from modelkeep_server.lineage.store.tables import PointRow

from tests.unit.lineage.rig import CALLER, PROJECT, Rig, call, series

NAN, INF = math.nan, math.inf


async def metrics(rig: Rig, run: RunName) -> dict[str, Metric]:
    return {metric.key: metric for metric in (await rig.metrics.list_metrics(CALLER, run, Page())).items}


async def values(rig: Rig, run: RunName, key: str, size: int = 1000) -> list[float]:
    """The values of all pages."""
    found: list[float] = []
    token = ""
    while True:
        listing = await rig.metrics.list_metric_points(CALLER, run, key, Page(size, token))
        found += [point.value for point in listing.items]
        if not (token := listing.next_token):
            return found


async def summary(rig: Rig, run: RunName) -> dict[str, object]:
    found: dict[str, object] = json.loads((await rig.get(run)).summary_json)
    return found


async def test_points_are_kept_as_they_came(rig: Rig) -> None:
    run = await rig.begin()
    await rig.log(run, series("loss", 3.0, 2.0), series("größe/ä.b", 1e300))
    await rig.log(run, series("loss", 1.5, first=2))
    listing = await rig.metrics.list_metric_points(CALLER, run, "loss", Page())
    assert [(point.step, point.value, point.time_micros) for point in listing.items] == [
        (0, 3.0, 0),
        (1, 2.0, 1_000_000),
        (2, 1.5, 2_000_000),
    ]
    assert await values(rig, run, "loss", 1) == [3.0, 2.0, 1.5]
    assert list(await metrics(rig, run)) == ["größe/ä.b", "loss"]
    loss = (await metrics(rig, run))["loss"]
    assert (loss.point_count, loss.last_value, loss.last_step, loss.min_value, loss.max_value) == (3, 1.5, 2, 1.5, 3.0)
    assert not loss.steps_went_back
    assert await summary(rig, run) == {"loss": 1.5, "größe/ä.b": 1e300}


async def test_nan_and_the_infinities_are_values(rig: Rig) -> None:
    run = await rig.begin()
    await rig.log(run, series("a", NAN, INF, -INF, 1.0), series("b", NAN), series("c", 1.0, NAN), series("d", -INF))
    a, b, c, d = await values(rig, run, "a"), *[(await metrics(rig, run))[key] for key in "bcd"]
    assert math.isnan(a[0])
    assert a[1:] == [INF, -INF, 1.0]
    assert all(map(math.isnan, (b.last_value, b.min_value, b.max_value, c.last_value)))
    assert (c.min_value, c.max_value, d.last_value) == (1.0, 1.0, -INF)
    assert await summary(rig, run) == {"a": 1.0, "b": "NaN", "c": "NaN", "d": "-Infinity"}


async def test_steps_that_go_back_are_kept_and_flagged(rig: Rig) -> None:
    run = await rig.begin()
    await rig.log(run, series("within", 1.0, 2.0, steps=(5, 4)), series("across", 1.0, steps=(5,)), series("same", 1.0))
    assert [metric.steps_went_back for metric in (await metrics(rig, run)).values()] == [False, False, True]
    await rig.log(run, series("across", 2.0, steps=(4,)), series("same", 2.0), series("within", 3.0, steps=(9,)))
    found = await metrics(rig, run)
    assert [metric.steps_went_back for metric in found.values()] == [True, False, True]
    assert (found["across"].last_step, found["across"].last_value, found["within"].last_step) == (4, 2.0, 9)
    extreme = (-(2**63), 2**63 - 1)
    await rig.log(run, series("far", 1.0, 2.0, steps=extreme))
    listing = await rig.metrics.list_metric_points(CALLER, run, "far", Page())
    assert tuple(point.step for point in listing.items) == extreme


async def test_the_summary_keeps_what_was_declared_or_set_last(rig: Rig) -> None:
    run = await rig.begin()
    rules = {"lo": MetricSummary.MIN, "hi": MetricSummary.MAX, "off": MetricSummary.NONE}
    await rig.log(run, *(series(key, 2.0, 1.0, 3.0, 2.5) for key in ("lo", "hi", "off", "last")), defined=rules)
    assert await summary(rig, run) == {"lo": 1.0, "hi": 3.0, "last": 2.5}
    await rig.log(run, series("lo", 5.0), series("hi", 5.0), hi="set", text={"a": [1]}, off=7, null_inside={"x": None})
    assert await summary(rig, run) == {
        "lo": 1.0, "hi": "set", "last": 2.5, "text": {"a": [1]}, "off": 7, "null_inside": {"x": None}
    }  # fmt: skip
    await rig.log(run, series("hi", 1.0), series("off", 1.0), text=None, missing=None)
    assert await summary(rig, run) == {"lo": 1.0, "hi": 5.0, "last": 2.5, "off": 7, "null_inside": {"x": None}}
    await rig.log(run, defined={"last": MetricSummary.MIN, "lo": MetricSummary.NONE, "hi": MetricSummary.MAX})
    assert await summary(rig, run) == {"hi": 5.0, "last": 1.0, "off": 7, "null_inside": {"x": None}}


async def test_a_call_is_kept_once_and_whole_or_not_at_all(rig: Rig) -> None:
    """SEM-14."""
    run = await rig.begin()
    again = call("LogMetrics")
    for _ in range(3):
        await rig.metrics.log_metrics(again, run, Measured((series("a", 1.0),), {}, {}))
    assert (await metrics(rig, run))["a"].point_count == 1
    rig.use(Limits(max_json_bytes=64, max_metrics=2, max_points=5))
    for refused, match in (
        (rig.log(run, series("a", 2.0), text="x" * 64), "summary has"),
        (rig.log(run, series("a", 2.0), series("b", 1.0), series("c", 1.0)), "3 metrics; at most 2"),
        (rig.log(run, series("a", *[1.0] * 6)), "6 points; at most 5"),
    ):
        with pytest.raises(LimitExceeded, match=match):
            await refused
    assert (await metrics(rig, run))["a"].point_count == 1
    assert await summary(rig, run) == {"a": 1.0}
    with pytest.raises(InvalidArgument, match="2 steps, 1 values"):
        Series("a", (1, 2), (1.0,), (1, 2))


async def test_two_processes_write_to_one_run(rig: Rig) -> None:
    run = await rig.begin()
    await asyncio.gather(*(rig.log(run, series("a", float(n)), series(f"own{n}", 1.0)) for n in range(8)))
    found = await metrics(rig, run)
    assert (found["a"].point_count, found["a"].min_value, found["a"].max_value) == (8, 0.0, 7.0)
    assert sorted(await values(rig, run, "a")) == [float(n) for n in range(8)]
    assert sorted(metric.number for metric in found.values()) == list(range(9))
    assert await summary(rig, run) == {"a": found["a"].last_value} | {f"own{n}": 1.0 for n in range(8)}


async def test_logging_takes_a_few_statements_whatever_it_logs(rig: Rig) -> None:
    """No point that is there already is read."""
    run = await rig.begin()
    await rig.log(run, *(series(f"m{n}", 0.0) for n in range(300)))
    for count in (1, 1000):
        with rig.statements() as seen:
            await rig.log(run, *(series(f"m{n}", *map(float, range(count))) for n in range(30)))
        work = [one for one in seen if not one.startswith(("BEGIN", "COMMIT", "ROLLBACK"))]
        assert len(work) <= 9, work
        assert not [one for one in work if "metric_point" in one and not one.startswith("INSERT")]
    assert await rig.count(PointRow) == 300 + 30 * 1001
    with rig.statements() as seen:
        await rig.runs.heartbeat(CALLER, run)
    assert len([one for one in seen if not one.startswith(("BEGIN", "COMMIT", "ROLLBACK"))]) == 1


async def test_a_metric_that_is_not_there_names_the_nearest(rig: Rig) -> None:
    run = await rig.begin()
    with pytest.raises(MetricNotFound, match="none yet"):
        await values(rig, run, "loss")
    await rig.log(run, series("train/loss", 1.0), defined={"empty": MetricSummary.MAX})
    with pytest.raises(MetricNotFound, match="did you mean") as raised:
        await values(rig, run, "train/los")
    assert raised.value.metadata["nearest"] == "train/loss"
    assert await values(rig, run, "empty") == []
    for missing in (rig.metrics.list_metrics, lambda *args: rig.metrics.list_metric_points(args[0], args[1], "a", args[2])):
        with pytest.raises(RunNotFound):
            await missing(CALLER, RunName(PROJECT.team, PROJECT.project, "nowhere"), Page())


async def test_metrics_are_listed_in_pages_by_key(rig: Rig) -> None:
    """SEM-53."""
    run = await rig.begin()
    await rig.log(run, *(series(key, 1.0) for key in ("b", "a.c", "ä", "Z")))
    token, keys = "", []
    for _ in range(4):
        listing = await rig.metrics.list_metrics(CALLER, run, Page(1, token))
        keys += [metric.key for metric in listing.items]
        token = listing.next_token
    assert keys == ["Z", "a.c", "b", "ä"]
    assert not token


@pytest.mark.soak
async def test_a_million_points(rig: Rig) -> None:
    """Each call costs as much as the one before; the points come back in pages, and go in bites."""
    run = await rig.begin()
    for call_ in range(20):
        await rig.log(run, series("loss", *map(float, range(50_000)), first=call_ * 50_000))
    (loss,) = (await metrics(rig, run)).values()
    assert (loss.point_count, loss.last_step, loss.max_value) == (1_000_000, 999_999, 49_999.0)
    assert len(await values(rig, run, "loss", 10_000)) == 1_000_000
    await rig.runs.delete_run(call("DeleteRun"), run, "")
    assert await rig.count(PointRow) == 0
