"""Copying: a version with the content of another one, in another collection, project or team. No bytes move."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from modelkeep.errors import TooBusy
from modelkeep.names import CollectionName, VersionName

from modelkeep_server.metadata.app.collection import ensure_collection
from modelkeep_server.metadata.app.commit import Making, make, require_few
from modelkeep_server.metadata.app.confirm import adopt, confirm, require_whole
from modelkeep_server.metadata.app.lines import read_manifest
from modelkeep_server.metadata.domain.collection import Locked
from modelkeep_server.metadata.domain.draft import Base, Commit, Committed
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.version import Origin, Version
from modelkeep_server.metadata.ports.chunks import Chunks
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Access
from modelkeep_server.runtime.calls import Call

ATTEMPTS: Final = 8
"""How often a copy begins again because a collection began meanwhile."""


class _Overtaken(Exception):
    """A collection began after the chunks were confirmed."""


class CopyApp:
    """The use case of copying."""

    def __init__(self, transactions: Transactions, chunks: Chunks, limits: Limits) -> None:
        self._transactions = transactions
        self._chunks = chunks
        self._limits = limits

    async def copy_version(
        self, call: Call, collection: CollectionName, source: VersionName, aliases: tuple[str, ...], tags: tuple[str, ...]
    ) -> Committed:
        """Make a version with the content, description and metadata of another one, or find the one that has it (SEM-11).

        Raises VersionNotFound, VersionDeleted, ChunksMissing, CollectionTypeMismatch, AliasRuled, LimitExceeded.
        """
        call.caller.require(collection.team)
        replace(call.caller, access=Access.READ).require(source.team)
        require_few(self._limits, Commit(aliases=aliases, tags=tags))
        for _ in range(ATTEMPTS):
            # The source may be deleted by now: who repeats a call gets its answer all the same.
            if known := await self._transactions.recall(call, Committed):
                return known
            with suppress(_Overtaken):
                return await self._attempt(call, collection, source, Commit(aliases, tags))
        message = f"a collection began {ATTEMPTS} times while {source.short} was copied; try again"
        raise TooBusy(message, version=str(source), retry_after_seconds=1)

    async def _attempt(self, call: Call, collection: CollectionName, source: VersionName, commit: Commit) -> Committed:
        """Copy, unless a collection begins meanwhile. Raises _Overtaken."""
        version = await self._transactions.read(lambda work: work.versions.get(source))
        manifest = await self._transactions.read(lambda work: work.manifests.get(version.layout))
        epoch = await self._transactions.read(lambda work: work.fence.epoch())
        is_verified = await self._confirm(collection.team, epoch, version, manifest)
        words = replace(commit, description=version.description, metadata_json=version.metadata_json)
        origin = Origin(str(version.name), version.uid)

        async def step(work: Work) -> Committed:
            locked = await _lock(work, collection, source, epoch, call.caller.actor)
            return await make(work, Making(locked, manifest, is_verified, words, call.caller.actor, origin))

        return await self._transactions.once(call, Committed, step)

    async def _confirm(self, team: str, epoch: int, version: Version, manifest: Manifest) -> bool:
        """See to it that the team holds the chunks; whether the digests of the files are proven. Raises ChunksMissing."""
        if team == version.name.team:
            lines = read_manifest(self._transactions, manifest.layout)
            proven = await confirm(self._transactions, self._chunks, team, epoch, lines)
            return proven or version.verified_time is not None
        missing = 0
        if manifest.stored_bytes:
            base = Base(version.name, version.layout)
            missing = await adopt(self._transactions, self._chunks, team, epoch, base)
        require_whole(missing, version.name)
        return version.verified_time is not None


async def _lock(work: Work, collection: CollectionName, source: VersionName, epoch: int, actor: str) -> Locked:
    """The collection of a copy, made if it is missing, in the one transaction that makes the version.

    That has a bounded number of statements, however large the version is. Raises _Overtaken.
    """
    if not await work.fence.holds(epoch):
        raise _Overtaken
    version = await work.versions.get(source)
    await ensure_collection(work, collection, version.type, actor)
    return await work.collections.lock(collection)
