"""The rows of versions and of their tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from modelkeep.digest import Digest
from modelkeep.errors import NotFound, VersionNotFound
from modelkeep.names import CollectionName, VersionName
from sqlalchemy import and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import ALL, Query
from modelkeep_server.filtering.keys import values_of
from modelkeep_server.metadata.domain.draft import NewVersion
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.version import Twin, Version, VersionState, Words
from modelkeep_server.metadata.store.ids import collection_id, version_id
from modelkeep_server.metadata.store.locate import collection_not_found
from modelkeep_server.metadata.store.project import etag_mismatch, revision_of
from modelkeep_server.metadata.store.tables import ManifestRow, TagRow, VersionAbsenceRow, VersionRow, VersionValueRow
from modelkeep_server.metadata.store.version_listing import judged, list_versions
from modelkeep_server.metadata.store.version_view import place, to_version, view

_LIVE: Final = col(VersionRow.state) == VersionState.COMMITTED.value
_NAMED: Final = 5
"""How many of the newest versions an error names."""
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
            raise await version_not_found(self._session, name)
        if version.tombstone and not show_deleted:
            raise version.tombstone.error(name)
        return (await judged(self._session, self._clock, [version]))[0]

    async def list(
        self, collection: CollectionName, page: Page, *, show_deleted: bool = False, query: Query = ALL
    ) -> Listing[Version]:
        """The versions that `query` asks for, newest first unless it says otherwise; `-` stands for all of a kind.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, InvalidPageToken.
        """
        return await list_versions(self._session, self._clock, collection, query, page, show_deleted=show_deleted)

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
            origin=version.origin.version if version.origin else "",
            origin_uid=version.origin.version_uid if version.origin else "",
        )
        ids = statement.returning(col(VersionRow.id), col(VersionRow.collection_id))
        id_, collection = (await self._session.execute(ids)).one()
        await self._keep_values(id_, collection, commit.metadata_json)
        await self._add_tags(version.name, commit.tags)

    async def update(self, name: VersionName, words: Words, etag: str) -> None:
        """Edit the words of a live version, if its etag is still `etag` or that is empty.

        Raises what `get` raises, and EtagMismatch.
        """
        values = {field: getattr(words, field) for field in words.fields}
        statement = self._edit(name).where(_LIVE).values(values)
        if etag:
            statement = statement.where(col(VersionRow.revision) == revision_of(etag))
        ids = (await self._session.execute(statement)).one_or_none()
        if ids is None:
            version = await self.get(name)
            raise etag_mismatch(name.short, version.etag)
        if words.metadata_json is not None:
            old = delete(VersionValueRow).where(col(VersionValueRow.version_id) == ids.id)
            await self._session.execute(old.execution_options(synchronize_session=False))
            await self._keep_values(ids.id, ids.collection_id, words.metadata_json)

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

    async def _add_tags(self, name: VersionName, tags: Iterable[str]) -> None:
        rows = [{"version_id": version_id(name), "tag": tag} for tag in tags]
        if rows:
            await self._session.execute(upsert(self._session, TagRow).values(rows).on_conflict_do_nothing())

    async def _keep_values(self, id_: int | None, collection: int, metadata_json: str) -> None:
        """Keep what filters, orders and rules read of the metadata of a version."""
        rows = [
            {
                "version_id": id_,
                "entry": value.entry,
                "ordinal": value.ordinal,
                "text": value.text,
                "number_in": collection if value.is_number else None,
            }
            for value in values_of(metadata_json)
        ]
        if rows:
            await self._session.execute(insert(VersionValueRow.__table__), rows)  # type: ignore[attr-defined]

    def _edit(self, name: VersionName) -> Any:
        return (
            update(VersionRow)
            .where(col(VersionRow.id) == version_id(name))
            .values(update_time=self._clock.sql(), revision=col(VersionRow.revision) + 1)
            .returning(col(VersionRow.id), col(VersionRow.collection_id))
            .execution_options(synchronize_session=False)
        )


async def version_not_found(session: AsyncSession, name: VersionName) -> NotFound:
    """The error to raise when a collection has no version of that number; it names the newest that live."""
    statement = select(col(VersionRow.number)).where(col(VersionRow.collection_id) == collection_id(name.parent), _LIVE)
    numbers = (await session.scalars(statement.order_by(col(VersionRow.number).desc()).limit(_NAMED))).all()
    newest = [f"v{number}" for number in numbers]
    verb = "is" if len(newest) == 1 else "are"
    exists = f"the newest {verb} {', '.join(newest)}" if newest else "none was logged yet, or all of them are deleted"
    message = f"there is no {name.version} of {name.collection!r}; {exists}"
    return VersionNotFound(message, version=str(name), newest=newest[0] if newest else "")
