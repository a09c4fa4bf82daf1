"""Lists of runs: found and sorted by what is in config and summary, bounded in bytes and in statements, entered by index."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from modelkeep.errors import InvalidFilter, InvalidPageToken, RunNotFound
from modelkeep.names import ProjectName
from modelkeep_server.database.engine import Database
from modelkeep_server.database.listing import MAX_CHARACTERS
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.expression import ALL
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.lineage.convert.search import RUN_FIELDS
from modelkeep_server.lineage.domain.run import Environment, Source
from modelkeep_server.lineage.domain.values import json_number
from modelkeep_server.lineage.store.tables import ConfigValueRow, RunRow, SummaryValueRow
from modelkeep_server.lineage.store.values import rows_of
from sqlalchemy import event, insert, text

from tests.servers import postgres_url
from tests.unit.lineage.rig import CALLER, PROJECT, Rig, series

NAN, INF = math.nan, math.inf
MANY = 10_000
OF_CONFIG, OF_SUMMARY = "ix_config_value_entry_run_id", "ix_summary_value_entry_run_id"


async def test_the_newest_run_comes_first_by_the_time_that_it_began(rig: Rig) -> None:
    began = datetime(2026, 1, 2, tzinfo=UTC)
    for id_, days in {"old": 0, "new": 2, "between": 1, "same": 1}.items():
        await rig.begin(id_, start_time=began + timedelta(days=days))
    for size in (1, 3, 50):
        assert await rig.found(size=size) == ["new", "same", "between", "old"]
    assert await rig.found("start_time >= 2026-01-03", "start_time") == ["same", "between", "new"]


async def test_values_in_a_summary_follow_every_change_of_it(rig: Rig) -> None:
    run = await rig.begin("r1")
    await rig.log(run, series("acc", 0.5), tags=["a", "a", "b"], deep={"x": 1})
    assert await rig.found('summary.acc = 0.5 AND summary.tags:b AND summary.deep.x = 1 AND summary.tags:"a"') == ["r1"]
    rig.projects.known.add(PROJECT)
    await rig.log(run, series("acc", 0.7), tags=["a"], deep=None)
    assert await rig.found("summary.acc = 0.7 AND summary.tags:a") == ["r1"]
    for gone in ("summary.acc = 0.5", "summary.tags:b", "summary.deep:*"):
        assert await rig.found(gone) == []
    rows = await rig.database.read(lambda session: session.execute(SummaryValueRow.__table__.select()))  # type: ignore[attr-defined]
    found = {(row.entry, row.ordinal, row.text) for row in rows}
    summary = (await rig.get(run)).summary_json
    assert found == {(value.entry, value.ordinal, value.text) for value in rows_of(summary)}


async def test_what_is_no_number_comes_last_and_infinities_are_numbers(rig: Rig) -> None:
    values = {"r0": 1.0, "nan": NAN, "inf": INF, "r1": -1.0, "low": -INF}
    for id_, value in values.items():
        await rig.log(await rig.begin(id_), series("loss", value))
    await rig.begin("none")
    for size in (1, 2, 50):
        assert await rig.found(order="summary.loss", size=size) == ["low", "r1", "r0", "inf", "none", "nan"]
        assert await rig.found(order="-summary.loss", size=size) == ["inf", "r0", "r1", "low", "none", "nan"]
    for filter_, ids in {
        "summary.loss = nan": ["nan"],
        "summary.loss != NaN": [],
        "summary.loss = Infinity": ["inf"],
        "summary.loss < -1": ["low"],
        "summary.loss >= -inf": ["low", "r1", "inf", "r0"],
        "summary.loss:-Infinity": ["low"],
    }.items():
        rig.projects.known.add(PROJECT)
        assert await rig.found(filter_) == ids, filter_


async def test_a_filter_that_cannot_be_read_is_pointed_at(rig: Rig) -> None:
    for filter_, position in {"state = gone": 8, "config.lr <": 11, "config.lr < 0.1 AND": 19, "sumary.acc = 1": 0}.items():
        with pytest.raises(InvalidFilter) as raised:
            await rig.found(filter_)
        assert raised.value.metadata["position"] == str(position), filter_
    for order in ("tag", "config", "notes", "dirty"):
        with pytest.raises(InvalidFilter):
            await rig.found(order=order)


async def test_a_page_is_bounded_in_bytes_and_in_statements(rig: Rig) -> None:
    """M-DOS-1: no N+1, and no message that is too large."""
    size = MAX_CHARACTERS // 3
    for n in range(7):
        await rig.begin(f"r{n}", config_json=json.dumps({"x": "y" * size}), tags=("a", "b"))
    assert await rig.found() == [f"r{n}" for n in range(6, -1, -1)]
    first = await rig.runs.list_runs(CALLER, PROJECT, Page(50), ALL)
    assert len(first.items) == 2
    for n in range(30):
        await rig.begin(f"s{n}", tags=("a",), project=ProjectName(PROJECT.team, "small"))
    for order in ("", "summary.acc, -config.lr, name"):
        query = parse_query('tag:a AND state = running AND NOT config."a b" = 1', order, RUN_FIELDS)
        with rig.statements() as seen:
            listing = await rig.runs.list_runs(CALLER, ProjectName(PROJECT.team, "small"), Page(25), query)
        assert len(listing.items) == 25
        assert len([one for one in seen if one.startswith("SELECT")]) <= 3
    with pytest.raises(InvalidPageToken):
        await rig.runs.list_runs(CALLER, PROJECT, Page(1, listing.next_token), ALL)


async def test_lists_leave_the_long_ones_out(rig: Rig) -> None:
    run = await rig.begin("r1", source=Source(arguments=("--lr",)), environment=Environment(packages=("numpy",)))
    (listed,) = (await rig.runs.list_runs(CALLER, PROJECT, Page(), ALL)).items
    assert (listed.source, listed.environment) == (Source(), Environment())
    assert (await rig.get(run)).source.arguments == ("--lr",)


async def test_of_equally_good_runs_the_first_is_the_best(rig: Rig) -> None:
    for id_, acc in {"r0": 0.5, "nan": NAN, "r1": 0.9, "r2": 0.9}.items():
        await rig.log(
            await rig.begin(id_),
            series("eval.acc", acc),
            note="high" if id_ == "r0" else json_number(acc),
            deep={"a": json_number(acc)},
        )

    async def best(*path: str, filter_: str = "", largest: bool = True) -> tuple[str, float]:
        query = parse_query(filter_, "", RUN_FIELDS)
        found = await rig.best.get_best_run(CALLER, PROJECT, path, query, largest=largest)
        assert found.produced == ()
        return found.run.name.run, found.value

    assert await best("eval.acc") == await best("deep", "a") == ("r1", 0.9)
    assert await best("eval.acc", largest=False) == ("r0", 0.5)
    assert await best("note", largest=False) == ("r1", 0.9), "text is no number"
    assert await best("eval.acc", filter_="name != r1") == ("r2", 0.9)
    for path, filter_ in ((("eval", "acc"), ""), (("eval.acc",), "name = nan"), (("none",), "")):
        with pytest.raises(RunNotFound, match="log it as a metric"):
            await best(*path, filter_=filter_)
    with rig.statements() as seen:
        await best("eval.acc")
    assert len([one for one in seen if one.startswith("SELECT")]) == 2


@pytest.fixture
async def large() -> AsyncIterator[Rig]:
    """Ten thousand runs, on PostgreSQL."""
    database = Database(postgres_url())
    rig = await Rig(database).start()
    yield await filled(rig)
    await database.close()


async def filled(rig: Rig) -> Rig:
    await rig.begin("r0")
    async with rig.database.engine.begin() as connection:
        first = dict((await connection.execute(RunRow.__table__.select())).mappings().one())  # type: ignore[attr-defined]
        runs: list[dict[str, Any]] = []
        config: list[dict[str, Any]] = []
        summary: list[dict[str, Any]] = []
        for number in range(1, MANY):
            id_, measured = first["id"] + number, json.dumps({"acc": number / MANY, "epoch": number % 7})
            name = {"id": id_, "run": f"r{number}", "display_name": f"r{number}"}
            runs.append(first | name | {"summary_json": measured})
            for rows, values in ((config, json.dumps({"lr": number % 1000, "model": "net"})), (summary, measured)):
                mine = {"run_id": id_}
                rows += [mine | {"entry": v.entry, "ordinal": v.ordinal, "text": v.text} for v in rows_of(values)]
        for table, rows in ((RunRow, runs), (ConfigValueRow, config), (SummaryValueRow, summary)):
            await connection.execute(insert(table.__table__), rows)  # type: ignore[attr-defined]
        await connection.execute(text("ANALYZE"))
    return rig


async def plan(rig: Rig, filter_: str, order: str) -> tuple[str, list[str]]:
    """How PostgreSQL finds a page, and what is on it."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    engine = rig.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    page = await rig.runs.list_runs(CALLER, PROJECT, Page(20), parse_query(filter_, order, RUN_FIELDS))
    event.remove(engine, "before_cursor_execute", note)
    statement, parameters = next(one for one in seen if one[0].startswith("SELECT run.id"))
    async with rig.database.engine.connect() as connection:
        lines = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return "\n".join(line[0] for line in lines), [run.name.run for run in page.items]


async def test_postgresql_finds_and_sorts_ten_thousand_runs_by_an_index(large: Rig) -> None:
    """Filtered on a value of the config, and ordered by a value of the summary."""
    plan_, found = await plan(large, "config.lr = 7", "-summary.acc")
    assert found == [f"r{n}" for n in range(9007, 0, -1000)]
    assert OF_CONFIG in plan_, plan_
    assert not re.search(r"Seq Scan on (run|config_value|summary_value)\b", plan_), plan_
    plan_, found = await plan(large, "config.lr < 500", "-summary.acc")
    assert found == [f"r{n}" for n in range(MANY - 501, MANY - 521, -1)]
    assert OF_SUMMARY in plan_, plan_
    assert "Sort  (" not in plan_.replace("Incremental Sort  (", ""), plan_
    plan_, found = await plan(large, "summary.acc > 0.9995", "")
    assert set(found) == {f"r{n}" for n in range(9996, MANY)}
    assert OF_SUMMARY in plan_, plan_
    best = await large.best.get_best_run(CALLER, PROJECT, ("acc",), parse_query("config.lr = 7", "", RUN_FIELDS), largest=True)
    assert best.run.name.run == "r9007"


async def test_sqlite_answers_the_same_of_ten_thousand_runs(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'lineage.db'}")
    rig = await filled(await Rig(database).start())
    assert await rig.found("config.lr = 7", "-summary.acc") == [f"r{n}" for n in range(9007, 0, -1000)]
    query = parse_query("config.lr < 500", "-summary.acc", RUN_FIELDS)
    listing = await rig.runs.list_runs(CALLER, PROJECT, Page(20), query)
    assert [run.name.run for run in listing.items] == [f"r{n}" for n in range(MANY - 501, MANY - 521, -1)]
    await database.close()
