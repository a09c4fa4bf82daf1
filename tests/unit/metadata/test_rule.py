"""Rules that keep aliases: always true, shown in the history, found by an index."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from modelkeep.errors import (
    AliasNotFound,
    AliasRuled,
    CollectionNotFound,
    InvalidAlias,
    LimitExceeded,
    RuleFitsNothing,
    VersionAliased,
    VersionDeleted,
)
from modelkeep.names import VersionName
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.keys import values_of
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.event import AliasMoved
from modelkeep_server.metadata.domain.rule import MAX_RULES, Goal, Rule, Yardstick
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.tables import VersionRow, VersionValueRow
from sqlalchemy import event, insert, select, text

from tests.servers import postgres_url
from tests.unit.metadata.best import ACC, BEST, LOSS, RULE, delete, edit, logged, pointed, set_rule
from tests.unit.metadata.rig import CALLER, DIGITS, Rig, call

INDEX = "ix_version_value_number_in_entry_version_id"
MANY = 3000


async def test_the_alias_follows_every_change_and_its_history_names_the_rule(rig: Rig) -> None:
    """A commit, an edit, a delete and a restore each move it in their own transaction (SEM-16, 58)."""
    v0, v1 = await logged(rig, {"acc": 0.5}, {"acc": 0.9})
    assert await set_rule(rig) == v1
    (v2,) = await logged(rig, {"acc": 0.95})
    assert await pointed(rig) == v2
    (v3,) = await logged(rig, {"acc": 0.2})
    assert await pointed(rig) == v2
    await edit(rig, v3, acc=0.99)
    assert await pointed(rig) == v3
    await edit(rig, v3, other=1)
    assert await pointed(rig) == v2
    await delete(rig, v2)
    assert await pointed(rig) == v1
    await rig.versions.restore_version(call("RestoreVersion"), v2)
    assert await pointed(rig) == v2
    await delete(rig, v2)
    await delete(rig, v1)
    await edit(rig, v0, acc="high")
    assert await pointed(rig) is None
    changes = (await rig.aliases.list_alias_history(CALLER, DIGITS, "best", Page())).items
    targets = [change.to_version for change in reversed(changes)]
    assert targets == [v1, v2, v3, v2, v1, v2, v1, v0, None]
    assert {change.reason for change in changes} == {"rule: argmax(metadata.acc)"}
    assert {change.actor for change in changes} == {CALLER.actor}
    assert [change.seq for change in reversed(changes)] == list(range(1, 10))
    moved = [one.happening for one in await rig.events() if isinstance(one.happening, AliasMoved)]
    assert [one.to_version for one in moved] == [str(to or "") for to in targets]


async def test_the_answer_to_a_commit_shows_where_the_alias_went(rig: Rig) -> None:
    await logged(rig, {"acc": 0.5})
    await set_rule(rig)
    better = await rig.log(metadata_json='{"acc":0.9}', aliases=("mine",))
    assert better.version.aliases == ("best", "latest", "mine")
    worse = await rig.log(metadata_json='{"acc":0.1}')
    assert worse.version.aliases == ("latest",)
    shown = await rig.versions.get_version(CALLER, better.version.name, show_deleted=False)
    assert shown.aliases == ("best", "mine")


async def test_of_equal_ones_the_holder_stays_else_the_lowest(rig: Rig) -> None:
    v0, v1, v2 = await logged(rig, {"acc": 1}, {"acc": 0.5}, {"acc": 1.0})
    assert await set_rule(rig) == v0
    await edit(rig, v0, acc=0.9)
    assert await pointed(rig) == v2
    await edit(rig, v0, acc=1)
    await edit(rig, v1, acc=1)
    assert await pointed(rig) == v2
    await delete(rig, v2)
    assert await pointed(rig) == v0


async def test_only_numbers_count_of_any_size_and_form(rig: Rig) -> None:
    odd: list[dict[str, Any]] = [
        {"acc": True},
        {"acc": "9"},
        {"acc": [9]},
        {"acc": None},
        {"a": {"acc": 9}},
        {"acc": {"acc": 9}},
    ]
    await logged(rig, *odd)
    assert await set_rule(rig) is None
    with pytest.raises(AliasNotFound):
        await rig.aliases.get_alias(CALLER, BEST)
    (low,) = await logged(rig, {"acc": -1e300})
    assert await pointed(rig) == low
    for number in (-1.5, -0.0, 5e-324, 10**15, 2**53 + 1.0, 2**53 + 2, 10**400):
        (higher,) = await logged(rig, {"acc": number})
        assert await pointed(rig) == higher


async def test_a_way_with_dots_and_unicode_and_the_other_goal(rig: Rig) -> None:
    yardstick = Yardstick('eval."löss.x"', ("eval", "löss.x"), Goal.MIN)
    v0, v1 = await logged(rig, {"eval": {"löss.x": 2}}, {"eval": {"löss.x": 1}})
    assert await set_rule(rig, Rule("best", yardstick)) == v1
    await delete(rig, v1)
    assert await pointed(rig) == v0


async def test_nobody_sets_it_by_hand_until_the_rule_is_gone(rig: Rig) -> None:
    v0, v1 = await logged(rig, {"acc": 0.5}, {"acc": 0.9})
    await set_rule(rig)
    for move in (AliasMove("best", v0), AliasMove("best", None), AliasMove("best", v1)):
        with pytest.raises(AliasRuled, match=r"argmax\(metadata.acc\)") as refused:
            await rig.aliases.move_aliases(call("MoveAliases"), DIGITS, [AliasMove("mine", v0), move], "")
        assert refused.value.metadata == {"alias": str(BEST), "rule": "argmax(metadata.acc)"}
    draft = await rig.draft([rig.file("w", b"new")])
    with pytest.raises(AliasRuled):
        await rig.commit(draft, aliases=("best",))
    assert (await rig.commit(draft, aliases=("mine",))).version.aliases == ("latest", "mine")
    with pytest.raises(AliasRuled):
        await rig.copies.copy_version(call("CopyVersion"), DIGITS, v0, ("best",), ())
    gone = await rig.rules.delete_alias_rule(call("DeleteAliasRule"), BEST)
    assert (gone.expression, gone.version) == ("argmax(metadata.acc)", v1)
    assert await pointed(rig) == v1
    await rig.aliases.move_aliases(call("MoveAliases"), DIGITS, [AliasMove("best", v0)], "")
    await logged(rig, {"acc": 1})
    assert await pointed(rig) == v0
    with pytest.raises(AliasNotFound, match="has no rule"):
        await rig.rules.delete_alias_rule(call("DeleteAliasRule"), BEST)


async def test_a_version_under_a_ruled_alias_goes_only_when_that_is_asked_for(rig: Rig) -> None:
    """SEM-43; then the rule moves the alias on, and an alias of the hand goes."""
    v0, v1 = await logged(rig, {"acc": 0.5}, {"acc": 0.9}, aliases=("mine",))
    await set_rule(rig)
    with pytest.raises(VersionAliased, match="best will be where the rule says"):
        await rig.versions.delete_version(call("DeleteVersion"), v1, "", delete_aliases=False)
    await delete(rig, v1)
    assert (await pointed(rig), await pointed(rig, "mine")) == (v0, None)


async def test_rules_are_replaced_listed_in_pages_and_bounded(rig: Rig) -> None:
    v0, v1 = await logged(rig, {"acc": 0.9, "loss": 2}, {"acc": 0.5, "loss": 1})
    assert await set_rule(rig) == v0
    assert await set_rule(rig, Rule("best", LOSS)) == v1
    for n in range(MAX_RULES - 1):
        await set_rule(rig, Rule(f"r{n:02}", ACC))
    with pytest.raises(LimitExceeded):
        await set_rule(rig, Rule("more", ACC))
    assert await set_rule(rig, RULE) == v0
    first = await rig.rules.list_alias_rules(CALLER, DIGITS, Page(1))
    rest = await rig.rules.list_alias_rules(CALLER, DIGITS, Page(100, first.next_token))
    assert [rule.name.alias for rule in (*first.items, *rest.items)] == ["best", *(f"r{n:02}" for n in range(MAX_RULES - 1))]
    assert (first.items[0].expression, first.items[0].version, first.items[0].creator) == (RULE.expression, v0, CALLER.actor)
    with pytest.raises(InvalidAlias):
        await set_rule(rig, Rule("latest", ACC))
    nowhere = replace(DIGITS, collection="nothing")
    with pytest.raises(CollectionNotFound):
        await set_rule(rig, RULE, nowhere)
    with pytest.raises(CollectionNotFound):
        await rig.rules.list_alias_rules(CALLER, nowhere, Page())


async def test_a_mistyped_key_takes_no_alias_away(rig: Rig) -> None:
    """Neither one that was set by hand, nor one that another rule keeps; nothing of the call stays."""
    v0, v1 = await logged(rig, {"acc": 0.9}, {"acc": 0.5})
    mistyped = Rule("production", Yardstick("acuracy", ("acuracy",), Goal.MAX))
    await rig.aliases.move_aliases(call("MoveAliases"), DIGITS, [AliasMove("production", v1)], "")
    before = len(await rig.events())
    with pytest.raises(
        RuleFitsNothing, match=r"a number at metadata\.acuracy, .* 'production' away from digits:v1;"
    ) as refused:
        await set_rule(rig, mistyped)
    assert refused.value.metadata["key"] == "metadata.acuracy"
    assert (await pointed(rig, "production"), len(await rig.events())) == (v1, before)
    assert (await rig.rules.list_alias_rules(CALLER, DIGITS, Page())).items == ()
    assert await set_rule(rig, replace(mistyped, yardstick=ACC)) == v0
    with pytest.raises(RuleFitsNothing, match=r"or delete its rule argmax\(metadata\.acc\), and then the alias"):
        await set_rule(rig, mistyped)
    assert [rule.expression for rule in (await rig.rules.list_alias_rules(CALLER, DIGITS, Page())).items] == [
        "argmax(metadata.acc)"
    ]
    assert await pointed(rig, "production") == v0
    assert await set_rule(rig, replace(mistyped, alias="hopeful")) is None
    (v2,) = await logged(rig, {"acuracy": 1})
    assert await pointed(rig, "hopeful") == v2


async def test_a_rule_knows_only_its_collection_and_goes_with_it(rig: Rig) -> None:
    await rig.log(collection=replace(DIGITS, collection="other"), metadata_json='{"acc":1}')
    (v0,) = await logged(rig, {"acc": 0.1})
    assert await set_rule(rig) == v0
    new = replace(DIGITS, collection="numbers")
    await rig.collections.rename_collection(call("RenameCollection"), DIGITS, new)
    better = await rig.log(collection=new, metadata_json='{"acc":0.2}')
    assert better.version.aliases == ("best", "latest")


async def test_a_copy_is_compared_too(rig: Rig) -> None:
    source = (await rig.log(collection=replace(DIGITS, collection="other"), metadata_json='{"acc":0.9}')).version.name
    await logged(rig, {"acc": 0.5})
    await set_rule(rig)
    copied = await rig.copies.copy_version(call("CopyVersion"), DIGITS, source, (), ())
    assert copied.version.aliases == ("best", "latest")


async def test_writers_at_once_never_leave_a_rule_wrong(rig: Rig) -> None:
    """R6: commits, edits, deletes, restores and rules at once; then the alias is where a walk over all versions says."""
    await set_rule_of_empty(rig)
    names = await logged(rig, *({"acc": n, "loss": n} for n in range(6)))

    async def write(worker: int) -> None:
        for n in range(5):
            name, value = names[(worker + n) % len(names)], (7 * worker + 3 * n) % 11
            with suppress(VersionDeleted):  # by another one of them
                await step(worker, worker + n, name, value)

    async def step(worker: int, kind: int, name: VersionName, value: int) -> None:
        match kind % 4:
            case 0:
                await logged(rig, {"acc": value, "loss": value})
            case 1:
                await edit(rig, name, acc=value, loss=-value)
            case 2:
                await flip(rig, name)
            case _:
                await set_rule(rig, Rule("best", LOSS if worker % 2 else ACC))

    await asyncio.gather(*(write(worker) for worker in range(6)))
    rules = (await rig.rules.list_alias_rules(CALLER, DIGITS, Page())).items
    assert [rule.name.alias for rule in rules] == ["best", "low"]
    for rule in rules:
        assert await pointed(rig, rule.name.alias) in await brute(rig, ACC if "argmax" in rule.expression else LOSS)


async def set_rule_of_empty(rig: Rig) -> None:
    await rig.collections.create_collection(call("CreateCollection"), DIGITS, "model", "")
    assert await set_rule(rig) is None
    assert await set_rule(rig, Rule("low", LOSS)) is None


async def flip(rig: Rig, name: VersionName) -> None:
    """Delete a version, or bring it back."""
    version = await rig.versions.get_version(CALLER, name, show_deleted=True)
    if version.state is VersionState.DELETED:
        await rig.versions.restore_version(call("RestoreVersion"), name)
    else:
        await delete(rig, name)


async def brute(rig: Rig, yardstick: Yardstick) -> list[VersionName | None]:
    """All versions that are the best, by reading every one."""
    versions = (await rig.versions.list_versions(CALLER, DIGITS, Page(1000), show_deleted=False)).items
    found = [(json.loads(version.metadata_json).get(yardstick.key), version.name) for version in versions]
    numbers = [(value, name) for value, name in found if value is not None]
    if not numbers:
        return [None]
    best = (max if yardstick.goal is Goal.MAX else min)(value for value, _ in numbers)
    return [name for value, name in numbers if value == best]


async def test_what_a_rule_costs_does_not_grow_with_the_versions(rig: Rig) -> None:
    """P13: statements under the lock, and none without a rule."""
    await logged(rig, {"acc": 0.5})

    async def cost(acc: float) -> int:
        draft = await rig.draft([rig.file("w", str(acc).encode())])
        with rig.statements() as statements:
            await rig.commit(draft, metadata_json=json.dumps({"acc": acc}))
        return len(statements)

    plain = await cost(0.1)
    await set_rule(rig)
    await set_rule(rig, Rule("low", Yardstick("acc", ("acc",), Goal.MIN)))
    assert await cost(0.2) == plain + 2
    assert await cost(0.05) == await cost(0.04) == plain + 5


@pytest.fixture
async def large() -> AsyncIterator[Rig]:
    """Two collections of thousands of versions with the same numbers, on PostgreSQL."""
    database = Database(postgres_url())
    rig = await Rig(database).start()
    await logged(rig, {})
    await rig.log(collection=replace(DIGITS, collection="other"))
    async with database.engine.begin() as connection:
        for first in (await connection.execute(select(VersionRow.__table__))).mappings().all():  # type: ignore[attr-defined]
            rows, values = [], []
            for number in range(1, MANY):
                id_ = first["id"] * MANY + number
                rows.append(dict(first) | {"id": id_, "uid": f"u{id_}", "number": number, "is_target": False})
                (value,) = values_of(f'{{"acc":{number % 1000}}}')
                values.append({"version_id": id_, "entry": value.entry, "ordinal": 0, "number_in": first["collection_id"]})
            await connection.execute(insert(VersionRow.__table__), rows)  # type: ignore[attr-defined]
            await connection.execute(insert(VersionValueRow.__table__), values)  # type: ignore[attr-defined]
        await connection.execute(text("ANALYZE"))
    yield rig
    await database.close()


async def test_the_best_is_found_by_an_index(large: Rig) -> None:
    """However many versions and other collections there are: no step of the plan reads more than a few rows."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(large.database.engine.sync_engine, "before_cursor_execute", note)
    wanted = {"best": ACC, "low": replace(ACC, goal=Goal.MIN), "none": LOSS}
    best = await large.transactions.read(lambda work: work.rules.best(DIGITS, wanted))
    event.remove(large.database.engine.sync_engine, "before_cursor_execute", note)
    assert best == {"best": DIGITS.version(999), "low": DIGITS.version(1000)}
    statement, parameters = next(one for one in seen if "version_value" in one[0])
    async with large.database.engine.connect() as connection:
        explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        (plan,) = explained.scalar_one()
    steps = list(walk(plan["Plan"]))
    assert INDEX in {step.get("Index Name") for step in steps}, plan
    assert max(step["Actual Rows"] * step["Actual Loops"] + step.get("Rows Removed by Filter", 0) for step in steps) <= 10, plan


def walk(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield step
    for below in step.get("Plans", ()):
        yield from walk(below)
