"""The rows of versions and of their tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from modelkeep.digest import Digest
from modelkeep.errors import NotFound, VersionNotFound
from modelkeep.names import CollectionName, VersionName
from sqlalchemy import Select, and_, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.draft import NewVersion
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.version import Twin, Version, VersionState, Words
from modelkeep_server.metadata.store.dialect import upsert
from modelkeep_server.metadata.store.ids import collection_id, version_id
from modelkeep_server.metadata.store.listing import fitting
from modelkeep_server.metadata.store.locate import collection_not_found
from modelkeep_server.metadata.store.project import etag_mismatch, revision_of
from modelkeep_server.metadata.store.tables import AliasRow, ManifestRow, TagRow, VersionAbsenceRow, VersionRow
from modelkeep_server.metadata.store.version_view import place, to_version, view

_LIVE: Final = col(VersionRow.state) == VersionState.COMMITTED.value
_WORDS: Final = (
    VersionRow.description,
    VersionRow.notes,
    VersionRow.metadata_json,
    VersionRow.creator,
    VersionRow.run,
    VersionRow.run_display_name,
    VersionRow.delete_actor,
    VersionRow.delete_reason,
)
_FIXED_CHARACTERS: Final = 256
"""Of a version, beside its words, tags and aliases: four bytes each, so room for 1 KiB of names, digest, times and numbers."""
_BY_NUMBER: Final = view(col(VersionRow.number) == bindparam("number"))


class VersionRepository:
    """All versions of all collections."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def get(self, name: VersionName, *, show_deleted: bool = False) -> Version:
        """A version. Raises TeamNotFound, ProjectNotFound, CollectionNotFound, VersionNotFound, VersionDeleted (SEM-40)."""
        values = place(name.parent) | {"number": name.number}
        row = (await self._session.execute(_BY_NUMBER, values)).one_or_none()
        if row is None:
            raise await collection_not_found(self._session, name.parent)
        version = to_version(row)
        if version is None:
            raise version_not_found(name, row.latest_number)
        if version.tombstone and not show_deleted:
            raise version.tombstone.error(name)
        return (await self._judged([version]))[0]

    async def list(self, collection: CollectionName, page: Page, *, show_deleted: bool = False) -> Listing[Version]:
        """The versions of a collection, newest first. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        query = ("versions", collection, show_deleted)
        statement = _lengths(collection, show_deleted=show_deleted).limit(page.size + 1)
        if position := page.position(*query, of=(int,)):
            statement = statement.where(col(VersionRow.number) < position[0])
        found: Sequence[Any] = (await self._session.execute(statement)).all()
        count = fitting([length for _, length in found], page.size)
        rows = await self._rows(collection, [number for number, _ in found[:count]])
        versions = await self._judged([version for row in rows if (version := to_version(row)) is not None])
        following = token([versions[-1].name.number], *query) if count < len(found) else ""
        return Listing(tuple(versions), following)

    async def twins(self, collection: CollectionName, manifest: Manifest) -> Sequence[Twin]:
        """The target of dedup for the digest of a manifest, if there is one, then a live version that reads the same."""
        same = col(ManifestRow.segments_digest) == manifest.segments_digest.sha256
        is_target = col(VersionRow.is_target)
        statement = (
            select(col(VersionRow.number), is_target, col(VersionRow.verified_time), same)
            .join(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
            .where(
                col(VersionRow.collection_id) == collection_id(collection),
                col(VersionRow.digest) == manifest.digest.sha256,
                _LIVE,
                or_(is_target, same),
            )
            .order_by(is_target.desc(), col(VersionRow.number))
            .limit(2)
        )
        rows = await self._session.execute(statement)
        return [
            Twin(collection.version(number), target, verified is not None, equal) for number, target, verified, equal in rows
        ]

    async def target(self, collection: CollectionName, digest: Digest) -> VersionName | None:
        """The live version that commits of a digest are answered with (SEM-13)."""
        statement = select(col(VersionRow.number)).where(
            col(VersionRow.collection_id) == collection_id(collection),
            col(VersionRow.digest) == digest.sha256,
            col(VersionRow.is_target),
        )
        number = await self._session.scalar(statement)
        return None if number is None else collection.version(number)

    async def add(self, version: NewVersion) -> None:
        """Write a new version with its tags, in a locked collection."""
        now = await self._clock.now(self._session)
        commit = version.commit
        statement = insert(VersionRow).values(
            uid=version.uid,
            collection_id=collection_id(version.name.parent),
            number=version.name.number,
            state=VersionState.COMMITTED.value,
            digest=version.manifest.digest.sha256,
            manifest=version.manifest.layout.sha256,
            is_target=version.is_target,
            description=commit.description,
            notes=commit.notes,
            metadata_json=commit.metadata_json,
            creator=version.creator,
            run=str(commit.run or ""),
            run_display_name=commit.run_display_name,
            create_time=now,
            update_time=now,
            verified_time=now if version.is_verified else None,
        )
        await self._session.execute(statement)
        await self._add_tags(version.name, commit.tags)

    async def update(self, name: VersionName, words: Words, etag: str) -> None:
        """Edit the words of a live version, if its etag is still `etag` or that is empty.

        Raises what `get` raises, and EtagMismatch.
        """
        values = {field: getattr(words, field) for field in words.fields}
        statement = self._edit(name).where(_LIVE).values(values)
        if etag:
            statement = statement.where(col(VersionRow.revision) == revision_of(etag))
        if (await self._session.execute(statement)).scalar_one_or_none() is None:
            version = await self.get(name)
            raise etag_mismatch(name.short, version.etag)

    async def edit_tags(self, name: VersionName, add: Collection[str], remove: Collection[str]) -> None:
        """Put tags on a version of a locked collection and take others off it."""
        await self._add_tags(name, add)
        if remove:
            theirs = and_(col(TagRow.version_id) == version_id(name), col(TagRow.tag).in_(sorted(remove)))
            await self._session.execute(delete(TagRow).where(theirs).execution_options(synchronize_session=False))
        await self._session.execute(self._edit(name))

    async def delete(self, name: VersionName, actor: str, reason: str, restorable: timedelta) -> None:
        """Delete a live version of a locked collection, restorably for a time (SEM-44)."""
        now = await self._clock.now(self._session)
        statement = self._edit(name).values(
            state=VersionState.DELETED.value,
            is_target=False,
            delete_actor=actor,
            delete_reason=reason,
            delete_time=now,
            purge_time=now + restorable,
        )
        id_ = (await self._session.execute(statement)).scalar_one()
        await self._session.execute(insert(VersionAbsenceRow).values(version_id=id_, from_time=now))

    async def restore(self, name: VersionName) -> None:
        """Bring a deleted version of a locked collection back; it is the target of dedup from now on."""
        gone = {"delete_actor": "", "delete_reason": "", "delete_time": None, "purge_time": None}
        statement = self._edit(name).values(state=VersionState.COMMITTED.value, is_target=True, **gone)
        id_ = (await self._session.execute(statement)).scalar_one()
        absence = update(VersionAbsenceRow).where(
            col(VersionAbsenceRow.version_id) == id_, col(VersionAbsenceRow.to_time).is_(None)
        )
        closed = absence.values(to_time=self._clock.sql()).execution_options(synchronize_session=False)
        await self._session.execute(closed)

    async def _rows(self, collection: CollectionName, numbers: Sequence[int]) -> Sequence[Any]:
        """The rows of some versions, newest first; of none, if the collection has none. Raises CollectionNotFound and so on."""
        statement = view(col(VersionRow.number).in_(numbers)).order_by(col(VersionRow.number).desc())
        rows: Sequence[Any] = (await self._session.execute(statement, place(collection))).all()
        if not rows:
            raise await collection_not_found(self._session, collection)
        return rows

    async def _add_tags(self, name: VersionName, tags: Iterable[str]) -> None:
        rows = [{"version_id": version_id(name), "tag": tag} for tag in tags]
        if rows:
            await self._session.execute(upsert(self._session, TagRow).values(rows).on_conflict_do_nothing())

    async def _judged(self, versions: Sequence[Version]) -> Sequence[Version]:
        """The versions, purged where their time to be restored ran out."""
        if not any(version.tombstone for version in versions):
            return versions
        now = await self._clock.now(self._session)
        return [
            replace(version, state=VersionState.PURGED)
            if version.tombstone and version.tombstone.purge_time <= now
            else version
            for version in versions
        ]

    def _edit(self, name: VersionName) -> Any:
        return (
            update(VersionRow)
            .where(col(VersionRow.id) == version_id(name))
            .values(update_time=self._clock.sql(), revision=col(VersionRow.revision) + 1)
            .returning(col(VersionRow.id))
            .execution_options(synchronize_session=False)
        )


def version_not_found(name: VersionName, latest: int | None) -> NotFound:
    """The error to raise when a collection, whose highest live version is `latest`, has no version of that number."""
    exists = "it has none yet" if latest is None else f"the newest is v{latest}"
    message = f"there is no {name.version} of {name.collection!r}; {exists}"
    return VersionNotFound(message, version=str(name), newest="" if latest is None else f"v{latest}")


def _lengths(collection: CollectionName, *, show_deleted: bool) -> Select[Any]:
    """The numbers of the versions of a collection, newest first, and how many characters they have on the wire, at most."""
    total: Any = literal(_FIXED_CHARACTERS)
    for word in _WORDS:
        total = total + func.length(col(word))
    for label, owner in ((col(TagRow.tag), col(TagRow.version_id)), (col(AliasRow.alias), col(AliasRow.version_id))):
        lengths = select(func.coalesce(func.sum(func.length(label) + 1), 0)).where(owner == col(VersionRow.id))
        total = total + lengths.correlate(VersionRow).scalar_subquery()
    statement = select(col(VersionRow.number), total).where(col(VersionRow.collection_id) == collection_id(collection))
    statement = statement if show_deleted else statement.where(_LIVE)
    return statement.order_by(col(VersionRow.number).desc())
