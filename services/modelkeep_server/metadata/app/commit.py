"""Committing: a draft becomes a version (RELIABILITY §2.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from modelkeep.errors import DraftNotOpen, LimitExceeded, TooBusy
from modelkeep.names import DraftName, VersionName

from modelkeep_server.metadata.app.alias import apply_moves
from modelkeep_server.metadata.app.confirm import confirm
from modelkeep_server.metadata.app.draft import sweep
from modelkeep_server.metadata.app.seal import seal
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.draft import Commit, Committed, Draft, NewVersion, Outcome
from modelkeep_server.metadata.domain.event import VersionCommitted
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.version import Version
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
        """Make a draft a version, or find the version that has its content (SEM-11). The same body again, the same answer.

        Raises DraftNotFound, DraftNotOpen, DraftCommitted, ChunksMissing, InvalidPath, InvalidEntry, DigestMismatch,
        LimitExceeded.
        """
        caller.require(name.team)
        if commit.run is not None:
            caller.require(commit.run.team)
        self._check(commit)
        for _ in range(ATTEMPTS):
            committed = await self._attempt(caller.actor, name, commit)
            if committed is not None:
                await sweep(self._transactions, name)
                return committed
        message = f"the draft {name.draft} changed, or a collection began, {ATTEMPTS} times while it was committed; try again"
        raise TooBusy(message, draft=str(name), retry_after_seconds=1)

    def _check(self, commit: Commit) -> None:
        counts = {
            "aliases": (len(commit.aliases), self._limits.max_aliases),
            "tags": (len(commit.tags), self._limits.max_tags),
        }
        for field, (count, limit) in counts.items():
            if count > limit:
                raise LimitExceeded(f"the commit has {count} {field}; at most {limit} are allowed", field=field, limit=limit)

    async def _attempt(self, actor: str, name: DraftName, commit: Commit) -> Committed | None:
        """Commit, unless something came between: then None, and all is to be done again."""
        draft = await self._transactions.read(lambda work: work.drafts.get(name))
        if outcome := draft.answer_to(commit):
            return await self._transactions.read(lambda work: _recall(work, outcome))
        draft.require_open()
        try:
            manifest = await seal(self._transactions, draft, self._limits.draft_lifetime)
        except DraftNotOpen:
            return None  # it ended meanwhile, perhaps by a commit like this one: looking again tells
        if manifest is None:
            return None
        epoch = await self._transactions.read(lambda work: work.fence.epoch())
        is_verified = await confirm(self._transactions, self._chunks, name.team, epoch, manifest)
        attempt = _Attempt(name, commit, actor, manifest, epoch, is_verified)
        return await self._transactions.write(lambda work: _commit(work, attempt))


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
    twins = await work.versions.twins(draft.collection, attempt.manifest)
    found = next((twin.name for twin in twins if twin.counts), None)
    is_target = not any(twin.is_target for twin in twins)
    name = found or await _add(work, draft, attempt, is_target=is_target)
    outcome = Outcome(name, attempt.commit.fingerprint, found is not None, attempt.commit.words if found else ())
    return await _conclude(work, attempt, outcome)


async def _add(work: Work, draft: Draft, attempt: _Attempt, *, is_target: bool) -> VersionName:
    name = draft.collection.version(await work.collections.next_number(draft.collection))
    version = NewVersion(
        name=name,
        uid=str(uuid4()),
        manifest=attempt.manifest,
        is_target=is_target,
        is_verified=attempt.is_verified,
        commit=attempt.commit,
        creator=attempt.actor,
    )
    await work.versions.add(version)
    return name


async def _conclude(work: Work, attempt: _Attempt, outcome: Outcome) -> Committed:
    """Say what happened, move the aliases, and remember the answer."""
    name, commit, actor = outcome.version, attempt.commit, attempt.actor
    version = await work.versions.get(name)
    work.emit(name.parent.parent, actor, _event(version, outcome, commit))
    moves = [AliasMove(alias, name) for alias in commit.aliases]
    await apply_moves(work, name.parent, moves, actor, "")
    await work.drafts.commit(attempt.draft, outcome)
    aliases = tuple(sorted({*version.aliases, *commit.aliases}))
    return Committed(replace(version, aliases=aliases), outcome.deduplicated, outcome.ignored_fields)


def _event(version: Version, outcome: Outcome, commit: Commit) -> VersionCommitted:
    return VersionCommitted(
        version=str(version.name),
        version_uid=version.uid,
        digest=str(version.digest),
        type=version.type,
        deduplicated=outcome.deduplicated,
        run=str(commit.run or ""),
        run_display_name=commit.run_display_name,
    )


async def _recall(work: Work, outcome: Outcome) -> Committed:
    version = await work.versions.get(outcome.version, show_deleted=True)
    return Committed(version, outcome.deduplicated, outcome.ignored_fields)
