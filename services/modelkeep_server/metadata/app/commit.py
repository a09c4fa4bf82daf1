"""Committing: a draft becomes a version (RELIABILITY §2.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from modelkeep.errors import (
    ChunksMissing,
    DigestMismatch,
    DraftNotOpen,
    InvalidEntry,
    InvalidPath,
    LimitExceeded,
    TooBusy,
)
from modelkeep.names import DraftName, VersionName

from modelkeep_server.metadata.app.alias import apply_moves
from modelkeep_server.metadata.app.comparison import compare, require_number
from modelkeep_server.metadata.app.confirm import adopt, confirm
from modelkeep_server.metadata.app.draft import require_base, sweep
from modelkeep_server.metadata.app.rule import keep_rules
from modelkeep_server.metadata.app.seal import Sealing
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.collection import Locked
from modelkeep_server.metadata.domain.draft import Commit, Committed, Draft, NewVersion, Outcome
from modelkeep_server.metadata.domain.event import VersionCommitted
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.version import Origin, Version
from modelkeep_server.metadata.ports.chunks import Chunks
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller

ATTEMPTS: Final = 8
"""How often a commit begins again because a collection began, or entries came, meanwhile."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit whose manifest is sealed and whose chunks are confirmed."""

    draft: DraftName
    commit: Commit
    actor: str
    manifest: Manifest
    epoch: int
    is_verified: bool


class CommitApp:
    """The use case of committing."""

    def __init__(self, transactions: Transactions, chunks: Chunks, limits: Limits) -> None:
        self._transactions = transactions
        self._chunks = chunks
        self._limits = limits

    async def commit_draft(self, caller: Caller, name: DraftName, commit: Commit) -> Committed:
        """Make a draft a version, or find the version that has its content (SEM-11), or the best one if it is to be better
        than that and is not. The same body again, the same answer.

        Raises DraftNotFound, DraftNotOpen, DraftCommitted, ChunksMissing, InvalidPath, InvalidEntry, InvalidMetadata,
        DigestMismatch, AliasRuled, LimitExceeded.
        """
        caller.require(name.team)
        if commit.run is not None:
            caller.require(commit.run.team)
        require_few(self._limits, commit)
        require_number(commit)
        for _ in range(ATTEMPTS):
            committed = await self._attempt(caller, name, commit)
            if committed is not None:
                await sweep(self._transactions, name)
                return committed
        message = f"the draft {name.draft} changed, or a collection began, {ATTEMPTS} times while it was committed; try again"
        raise TooBusy(message, draft=str(name), retry_after_seconds=1)

    async def _attempt(self, caller: Caller, name: DraftName, commit: Commit) -> Committed | None:
        """Commit, unless something came between: then None, and all is to be done again."""
        draft = await self._transactions.read(lambda work: work.drafts.get(name))
        if outcome := draft.answer_to(commit):
            return await self._transactions.read(lambda work: _recall(work, outcome))
        draft.require_open()
        epoch = await self._transactions.read(lambda work: work.fence.epoch())
        await self._adopt(caller, draft, epoch)
        sealing = Sealing(self._transactions, draft, self._limits.draft_lifetime)
        try:
            is_verified = await confirm(self._transactions, self._chunks, name.team, epoch, sealing.lines())
        except DraftNotOpen:
            return None  # it ended meanwhile, perhaps by a commit like this one: looking again tells
        except (InvalidPath, InvalidEntry, DigestMismatch, ChunksMissing):
            now = await self._transactions.read(lambda work: work.drafts.get(name))
            if now.revision != draft.revision:
                return None  # what is wrong was perhaps never there at once
            raise
        if (manifest := sealing.manifest) is None:
            return None
        attempt = _Attempt(draft.name, commit, caller.actor, manifest, epoch, is_verified)
        return await self._transactions.write(lambda work: _commit(work, attempt))

    async def _adopt(self, caller: Caller, draft: Draft, epoch: int) -> None:
        """Give the team holdings of what a base of another team has, if the caller may read that (SEM-22).

        What is missing there may not be needed, or was uploaded; confirming tells.
        """
        base, team = draft.base, draft.name.team
        if base is None or base.version.team == team:
            return
        require_base(caller, team, base.version)
        await adopt(self._transactions, self._chunks, team, epoch, base)


async def _commit(work: Work, attempt: _Attempt) -> Committed | None:
    """The one transaction of a commit: a bounded number of statements, however large the version is."""
    if not await work.fence.holds(attempt.epoch):
        return None
    draft = await work.drafts.lock(attempt.draft)
    if outcome := draft.answer_to(attempt.commit):
        return await _recall(work, outcome)
    draft.require_open()
    if draft.layout != attempt.manifest.layout:
        return None
    committed = await _better(work, draft, attempt)
    fingerprint, ignored = attempt.commit.fingerprint, committed.ignored_fields
    name, compared = committed.version.name, committed.comparison
    await work.drafts.commit(attempt.draft, Outcome(name, fingerprint, committed.deduplicated, ignored, compared))
    return committed


async def _better(work: Work, draft: Draft, attempt: _Attempt) -> Committed:
    """Make the version, unless it is to be better than the best one and is not: then that one, and nothing is written of it."""
    comparison = await compare(work, draft.collection, attempt.commit)
    if comparison and comparison.best_version and not comparison.is_better:
        return Committed(await work.versions.get(comparison.best_version), False, (), comparison)
    locked = await work.collections.locked(draft.collection)
    made = await make(work, Making(locked, attempt.manifest, attempt.is_verified, attempt.commit, attempt.actor))
    return replace(made, comparison=comparison)


async def _recall(work: Work, outcome: Outcome) -> Committed:
    version = await work.versions.get(outcome.version, show_deleted=True)
    return Committed(version, outcome.deduplicated, outcome.ignored_fields, outcome.comparison)


def require_few(limits: Limits, commit: Commit) -> None:
    """Raise LimitExceeded when a version is to get more aliases or tags at once than GetCapabilities allows."""
    counts = {"aliases": (len(commit.aliases), limits.max_aliases), "tags": (len(commit.tags), limits.max_tags)}
    for field, (count, limit) in counts.items():
        if count > limit:
            raise LimitExceeded(f"the call has {count} {field}; at most {limit} are allowed", field=field, limit=limit)


@dataclass(frozen=True, slots=True)
class Making:
    """A version that is about to be made."""

    locked: Locked
    """Its collection."""
    manifest: Manifest
    is_verified: bool
    """Whether the digests of its files are proven (SEM-24)."""
    commit: Commit
    actor: str
    origin: Origin | None = None


async def make(work: Work, making: Making) -> Committed:
    """Make a version, or find the live one that has its content (SEM-11), and move the aliases to it; say what happened."""
    commit, actor, locked = making.commit, making.actor, making.locked
    twins = await work.versions.twins(locked.name, making.manifest)
    found = next((twin.name for twin in twins if twin.counts), None)
    is_target = not any(twin.is_target for twin in twins)
    name = found or await _add(work, making, is_target=is_target)
    version = await work.versions.get(name)
    work.emit(name.parent.parent, actor, _event(version, making, deduplicated=found is not None))
    moves = [AliasMove(alias, name) for alias in commit.aliases]
    await apply_moves(work, locked, moves, actor, "")
    ruled = await keep_rules(work, locked, actor)
    gained = {*commit.aliases, *(change.alias.alias for change in ruled if change.to_version == name)}
    lost = {change.alias.alias for change in ruled if change.from_version == name}
    aliases = tuple(sorted({*version.aliases, *gained} - lost))
    return Committed(replace(version, aliases=aliases), found is not None, commit.words if found else ())


async def _add(work: Work, making: Making, *, is_target: bool) -> VersionName:
    collection = making.locked.name
    name = collection.version(await work.collections.next_number(collection))
    version = NewVersion(
        name=name,
        uid=str(uuid4()),
        manifest=making.manifest,
        is_target=is_target,
        is_verified=making.is_verified,
        commit=making.commit,
        creator=making.actor,
        origin=making.origin,
    )
    await work.versions.add(version)
    return name


def _event(version: Version, making: Making, *, deduplicated: bool) -> VersionCommitted:
    return VersionCommitted(
        version=str(version.name),
        version_uid=version.uid,
        digest=str(version.digest),
        type=version.type,
        deduplicated=deduplicated,
        run=str(making.commit.run or ""),
        run_display_name=making.commit.run_display_name,
        origin_uid=making.origin.version_uid if making.origin else "",
        collection_uid=making.locked.uid,
    )
