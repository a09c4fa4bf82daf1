"""The rules of aliases, and which version is the best by them: found by an index, however many versions there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelkeep.errors import AliasNotFound
from modelkeep.names import AliasName, CollectionName, VersionName
from sqlalchemy import ColumnElement, Row, Select, Text, and_, delete, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.filtering.keys import numbers_of
from modelkeep_server.metadata.domain.rule import AliasRule, Goal, Rule, Yardstick
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.ids import collection_id
from modelkeep_server.metadata.store.locate import in_collection, require_collection
from modelkeep_server.metadata.store.tables import (
    AliasRow,
    AliasRuleRow,
    CollectionRow,
    ProjectRow,
    VersionRow,
    VersionValueRow,
)


class RuleRepository:
    """The rules of all collections."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def best(self, collection: CollectionName, wanted: Mapping[str, Yardstick]) -> Mapping[str, VersionName]:
        """The best live version of a locked collection by each yardstick; none for one by which no version has a number.

        Of several that are equal the one that the alias of that name points to, else the lowest. One statement.
        """
        parts = [_best(collection, alias, yardstick) for alias, yardstick in wanted.items()]
        rows = await self._session.execute(union_all(*parts))
        return {alias: collection.version(number) for alias, number in rows}

    async def put(self, collection: CollectionName, rule: Rule, actor: str) -> None:
        """Add a rule to a locked collection, or replace the one of its alias."""
        yardstick = rule.yardstick
        row = {"goal": yardstick.goal.value, "key": yardstick.key, "keys": json.dumps(yardstick.keys), "creator": actor}
        fresh = row | {"create_time": self._clock.sql()}
        statement = upsert(self._session, AliasRuleRow).values(
            collection_id=collection_id(collection), alias=rule.alias, **fresh
        )
        await self._session.execute(statement.on_conflict_do_update(index_elements=["collection_id", "alias"], set_=fresh))

    async def drop(self, name: AliasName) -> None:
        """Take a rule away from a locked collection."""
        its = and_(col(AliasRuleRow.collection_id) == collection_id(name.parent), col(AliasRuleRow.alias) == name.alias)
        await self._session.execute(delete(AliasRuleRow).where(its).execution_options(synchronize_session=False))

    async def get(self, name: AliasName) -> AliasRule:
        """A rule. Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound (it has no rule)."""
        statement = _rules(name.parent).where(col(AliasRuleRow.alias) == name.alias)
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            await require_collection(self._session, name.parent)
            message = f"the alias {name.alias!r} of {name.collection} has no rule; list the rules to see which there are"
            raise AliasNotFound(message, alias=str(name))
        return _rule(name.parent, row)

    async def list(self, collection: CollectionName, page: Page) -> Listing[AliasRule]:
        """The rules of a collection by alias. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        statement = _rules(collection).order_by(col(AliasRuleRow.alias))
        if position := page.position("alias rules", collection):
            statement = statement.where(col(AliasRuleRow.alias) > position[0])
        rows = (await self._session.execute(statement.limit(page.size + 1))).all()
        if not rows:
            await require_collection(self._session, collection)
        items = tuple(_rule(collection, row) for row in rows[: page.size])
        return Listing(items, token([items[-1].name.alias], "alias rules", collection) if len(rows) > page.size else "")


def to_rule(row: Any) -> Rule:
    """The rule of a row."""
    return Rule(row.alias, Yardstick(row.key, tuple(json.loads(row.keys)), Goal(row.goal)))


def _best(collection: CollectionName, alias: str, yardstick: Yardstick) -> Select[Any]:
    """The alias and the number of the version that it belongs to; no row when no version has a number.

    Three walks over an index, which end at the first live version: to the best number, to whether the version that has the
    alias has that number too, and to the first version that has it.
    """
    first, behind = numbers_of(yardstick.keys)
    value, version = aliased(VersionValueRow), aliased(VersionRow)
    entry = col(value.entry)
    numbers = (
        select(entry)
        .join(version, col(version.id) == col(value.version_id))
        .where(
            col(value.number_in) == collection_id(collection),
            entry >= literal(first, Text()),
            entry < literal(behind, Text()),
            col(version.state) == VersionState.COMMITTED.value,
        )
    )
    top = numbers.order_by(entry.desc() if yardstick.goal is Goal.MAX else entry).limit(1).scalar_subquery()
    held = (
        _having(collection, top)
        .join(AliasRow, col(AliasRow.version_id) == col(VersionRow.id))
        .where(col(AliasRow.collection_id) == collection_id(collection), col(AliasRow.alias) == alias)
    )
    lowest = _having(collection, top).order_by(col(VersionValueRow.version_id)).limit(1)
    chosen = aliased(VersionRow)
    statement: Any = select(literal(alias), col(chosen.number))
    found: Select[Any] = statement.where(col(chosen.id) == func.coalesce(held.scalar_subquery(), lowest.scalar_subquery()))
    return found


def _having(collection: CollectionName, entry: ColumnElement[Any]) -> Select[Any]:
    """The ids of the live versions that have a value."""
    return (
        select(col(VersionRow.id))
        .join(VersionValueRow, col(VersionValueRow.version_id) == col(VersionRow.id))
        .where(
            col(VersionValueRow.number_in) == collection_id(collection),
            col(VersionValueRow.entry) == entry,
            col(VersionRow.state) == VersionState.COMMITTED.value,
        )
    )


def _rules(collection: CollectionName) -> Select[Any]:
    statement: Any = (
        select(AliasRuleRow.__table__, col(VersionRow.number))  # type: ignore[attr-defined]
        .join(CollectionRow, col(CollectionRow.id) == col(AliasRuleRow.collection_id))
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
        .outerjoin(
            AliasRow,
            and_(
                col(AliasRow.collection_id) == col(AliasRuleRow.collection_id), col(AliasRow.alias) == col(AliasRuleRow.alias)
            ),
        )
        .outerjoin(VersionRow, col(VersionRow.id) == col(AliasRow.version_id))
        .where(in_collection(collection))
    )
    found: Select[Any] = statement
    return found


def _rule(collection: CollectionName, row: Row[Any]) -> AliasRule:
    version = None if row.number is None else collection.version(row.number)
    name = collection.alias(row.alias)
    return AliasRule(name, to_rule(row).expression, version, row.create_time, row.creator)
