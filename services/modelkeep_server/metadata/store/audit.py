"""The statements of a check of the whole database (RELIABILITY §1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from modelkeep.digest import Digest
from modelkeep.names import TeamName
from sqlalchemy import ColumnElement, Select, String, and_, cast, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.filtering.keys import values_of
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.problem import Problem, ProblemKind
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.manifest import to_manifest
from modelkeep_server.metadata.store.tables import (
    AliasChangeRow,
    AliasRow,
    CollectionRow,
    DraftRow,
    EventRow,
    ManifestRow,
    ProjectRow,
    UseRow,
    VersionAbsenceRow,
    VersionRow,
    VersionValueRow,
)

SHOWN: Final = 1000
"""How many rows of each kind are told."""

_NAME: Final = (col(ProjectRow.team), col(ProjectRow.name), col(CollectionRow.name))
_IS_LIVE: Final = col(VersionRow.state) == VersionState.COMMITTED.value


class AuditRepository:
    """Everything in the database, a bounded amount at a time."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def contradictions(self) -> Sequence[Problem]:
        """Rows that contradict each other; of each kind at most the first 1,000."""
        problems = []
        for kind, detail, statement in _contradictions():
            rows = await self._session.scalars(statement.limit(SHOWN))
            problems += [Problem(kind, what, detail) for what in rows]
        return problems

    async def values(self, after: str, limit: int) -> tuple[Sequence[Problem], str]:
        """Which of the next versions, by uid, are not found by their metadata; and the last uid, empty at the end."""
        uid = col(VersionRow.uid)
        key = (col(VersionRow.id), col(VersionRow.collection_id), uid)
        some = _of_versions(*key, col(VersionRow.metadata_json), _version()).where(uid > after)
        versions = (await self._session.execute(some.order_by(uid).limit(limit))).all()
        kept: dict[int, set[tuple[str, int, str | None, int | None]]] = {id_: set() for id_, *_ in versions}
        rows = select(VersionValueRow).where(col(VersionValueRow.version_id).in_(kept))
        for row in await self._session.scalars(rows):
            kept[row.version_id].add((row.entry, row.ordinal, row.text, row.number_in))
        detail = "filters and rules do not find it by its metadata; edit that, and they will"
        wrong = [
            Problem(ProblemKind.VALUES_WRONG, name, detail)
            for id_, collection, _, metadata_json, name in versions
            if kept[id_]
            != {
                (value.entry, value.ordinal, value.text, collection if value.is_number else None)
                for value in values_of(metadata_json)
            }
        ]
        return wrong, versions[-1].uid if versions else ""

    async def manifests(self, after: Digest | None, limit: int) -> Sequence[Manifest]:
        """The next manifests, by layout, that a version or a draft points to."""
        layout = col(ManifestRow.layout)
        by_version = select(col(VersionRow.id)).where(col(VersionRow.manifest) == layout).exists()
        drafts = or_(col(DraftRow.manifest) == layout, col(DraftRow.base_manifest) == layout)
        by_draft = select(col(DraftRow.id)).where(drafts).exists()
        statement = select(ManifestRow).where(or_(by_version, by_draft)).order_by(layout).limit(limit)
        if after is not None:
            statement = statement.where(layout > after.sha256)
        return [to_manifest(row) for row in await self._session.scalars(statement)]

    async def contents(self, after: tuple[str, Digest] | None, limit: int) -> Sequence[tuple[TeamName, Digest]]:
        """The next pairs of a team and a layout that a live or restorable version of that team has."""
        key = (col(ProjectRow.team), col(VersionRow.manifest))
        statement = (
            _of_versions(*key)
            .where(or_(_IS_LIVE, col(VersionRow.purge_time) > self._clock.sql()))
            .distinct()
            .order_by(*key)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(tuple_(*key) > tuple_(literal(after[0]), literal(after[1].sha256)))
        return [(TeamName(team), Digest(layout)) for team, layout in await self._session.execute(statement)]


def _contradictions() -> Iterator[tuple[ProblemKind, str, Select[Any]]]:
    yield from _of_numbers()
    yield from _of_targets()
    yield from _of_aliases()
    last = select(func.max(col(EventRow.sequence))).where(col(EventRow.project_id) == col(ProjectRow.id)).scalar_subquery()
    count = select(func.count()).where(col(EventRow.project_id) == col(ProjectRow.id)).scalar_subquery()
    expected = col(ProjectRow.event_sequence)
    gaps = select(_project()).where(or_(count != expected, func.coalesce(last, 0) != expected))
    yield ProblemKind.EVENTS_WRONG, "its events are not numbered from 1 to the last without a gap", gaps
    uses = select(func.count()).where(col(UseRow.version_id) == col(VersionRow.id)).scalar_subquery()
    miscounted = _of_versions(_version()).where(uses != col(VersionRow.use_count))
    yield ProblemKind.USES_WRONG, "the number of its uses is not that of their rows", miscounted


def _of_numbers() -> Iterator[tuple[ProblemKind, str, Select[Any]]]:
    high = _of_versions(_version()).where(col(VersionRow.number) >= col(CollectionRow.next_index))
    yield ProblemKind.NUMBER_WRONG, "its number would be given again", high
    twice = _of_versions(_version()).group_by(*_NAME, col(VersionRow.number)).having(func.count() > 1)
    yield ProblemKind.NUMBER_WRONG, "its number was given twice", twice
    other = _of_versions(_version()).join(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
    yield (
        ProblemKind.MANIFEST_WRONG,
        "its digest is not that of its manifest",
        other.where(col(ManifestRow.digest) != col(VersionRow.digest)),
    )
    is_open = and_(col(VersionAbsenceRow.version_id) == col(VersionRow.id), col(VersionAbsenceRow.to_time).is_(None))
    absent = select(col(VersionAbsenceRow.version_id)).where(is_open).exists()
    present = _of_versions(_version()).where(or_(and_(_IS_LIVE, absent), and_(~_IS_LIVE, ~absent)))
    yield ProblemKind.ABSENCE_WRONG, "its state and the times of its absence disagree", present


def _of_targets() -> Iterator[tuple[ProblemKind, str, Select[Any]]]:
    targets = _of_versions(_collection()).where(col(VersionRow.is_target))
    double = targets.group_by(*_NAME, col(VersionRow.digest)).having(func.count() > 1)
    yield ProblemKind.TARGET_WRONG, "several of its versions are the target for one digest", double
    yield (
        ProblemKind.TARGET_WRONG,
        "it is a target, but not live",
        _of_versions(_version()).where(col(VersionRow.is_target), ~_IS_LIVE),
    )


def _of_aliases() -> Iterator[tuple[ProblemKind, str, Select[Any]]]:
    aliases = (
        select(_alias())
        .select_from(AliasRow)
        .join(CollectionRow, col(CollectionRow.id) == col(AliasRow.collection_id))
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
    )
    points = aliases.join(VersionRow, col(VersionRow.id) == col(AliasRow.version_id))
    stray = points.where(or_(~_IS_LIVE, col(VersionRow.collection_id) != col(AliasRow.collection_id)))
    yield ProblemKind.ALIAS_WRONG, "it does not point to a live version of its collection", stray
    its = and_(
        col(AliasChangeRow.collection_id) == col(AliasRow.collection_id),
        col(AliasChangeRow.alias) == col(AliasRow.alias),
    )
    last = select(func.max(col(AliasChangeRow.seq))).where(its).scalar_subquery()
    behind = aliases.where(func.coalesce(last, 0) != col(AliasRow.seq))
    yield ProblemKind.ALIAS_WRONG, "its seq is not that of its last change", behind
    target = func.coalesce(col(AliasChangeRow.to_version_id), 0)
    moved = aliases.join(AliasChangeRow, and_(its, col(AliasChangeRow.seq) == col(AliasRow.seq)))
    elsewhere = moved.where(target != func.coalesce(col(AliasRow.version_id), 0))
    yield ProblemKind.ALIAS_WRONG, "it does not point where its last change says", elsewhere


def _of_versions(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(VersionRow)
        .join(CollectionRow, col(CollectionRow.id) == col(VersionRow.collection_id))
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
    )


def _project() -> ColumnElement[str]:
    return literal("teams/") + col(ProjectRow.team) + "/projects/" + col(ProjectRow.name)


def _collection() -> ColumnElement[str]:
    return _project() + "/collections/" + col(CollectionRow.name)


def _version() -> ColumnElement[str]:
    return _collection() + "/versions/v" + cast(col(VersionRow.number), String)


def _alias() -> ColumnElement[str]:
    return _collection() + "/aliases/" + col(AliasRow.alias)
