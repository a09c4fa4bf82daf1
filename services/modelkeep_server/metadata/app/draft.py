"""Drafts: open them, fill them, give them up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

from modelkeep.errors import InvalidArgument, LimitExceeded, ModelkeepError
from modelkeep.names import CollectionName, DraftName, ProjectName, VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.app.collection import ensure_collection
from modelkeep_server.metadata.app.fill import BATCH_BYTES, BATCH_LINES, Filler
from modelkeep_server.metadata.domain.draft import Base, Draft, DraftState, NewDraft
from modelkeep_server.metadata.domain.entry import Assembler, Piece, segment_count
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Access, Caller
from modelkeep_server.runtime.calls import Call

PIECES_AT_ONCE: Final = 1000
"""How many entries are taken before it is seen whether there are enough to write."""

SWEPT_DRAFTS: Final = 4
SWEPT_BATCHES: Final = 10
SWEPT_LINES: Final = 1000
"""What one call drops of drafts that ended: so many of them, and of each so many batches of so many entries."""


class DraftApp:
    """The use cases of drafts that are not committed yet."""

    def __init__(self, transactions: Transactions, limits: Limits) -> None:
        self._transactions = transactions
        self._limits = limits

    async def create_draft(
        self,
        call: Call,
        project: ProjectName,
        collection: CollectionName,
        type_: str,
        *,
        base: VersionName | None = None,
        distributed_id: str = "",
    ) -> Draft:
        """Open a draft, empty or with the entries of a base; make its project and collection if they are missing (SEM-1).

        With a `distributed_id` that the collection knows: the draft of that id, whatever became of it (SEM-42). Raises
        TeamNotFound, CollectionTypeMismatch (SEM-2), InvalidArgument, VersionNotFound, VersionDeleted, DraftNotOpen.
        """
        call.caller.require(project.team)
        require_base(call.caller, project.team, base)
        if collection.parent != project:
            message = f"the collection {collection} is not in the project {project}, where the draft is to be"
            raise InvalidArgument(message, field="draft.collection", value=str(collection))

        async def step(work: Work) -> Draft:
            await ensure_collection(work, collection, type_, call.caller.actor)
            name = DraftName(project.team, project.project, str(uuid4()))
            begins = Base(base, None) if base else None
            wish = NewDraft(name, collection, type_, call.caller.actor, begins, distributed_id)
            return await self._open(work, wish)

        draft = await self._transactions.once(call, Draft, step)
        await self._sweep_some()
        return draft

    async def get_draft(self, caller: Caller, name: DraftName) -> Draft:
        """A draft. Raises DraftNotFound."""
        caller.require(name.team)
        return await self._transactions.read(lambda work: work.drafts.get(name))

    async def list_drafts(
        self, caller: Caller, project: ProjectName, state: DraftState | None, page: Page, distributed_id: str = ""
    ) -> Listing[Draft]:
        """The drafts of a project, newest first; only those in one state, or of one distributed id, if given.

        Raises ProjectNotFound.
        """
        caller.require(project.team)
        return await self._transactions.read(lambda work: work.drafts.list(project, state, page, distributed_id))

    async def abort_draft(self, call: Call, name: DraftName) -> Draft:
        """Give a draft up; one that was aborted or expired stays as it is. Raises DraftNotFound, DraftNotOpen."""
        call.caller.require(name.team)

        async def step(work: Work) -> Draft:
            draft = await work.drafts.lock(name)
            if draft.state is DraftState.COMMITTED:
                draft.require_open()
            if draft.state is DraftState.OPEN:
                await work.drafts.abort(name)
            return await work.drafts.get(name)

        draft = await self._transactions.once(call, Draft, step)
        await sweep(self._transactions, name)
        return draft

    async def add_entries(
        self, caller: Caller, name: DraftName, messages: AsyncIterator[Sequence[Piece]], *, overwrite: bool = False
    ) -> int:
        """Add the entries of a stream, batch by batch; how many it had. What a broken stream wrote may simply come again.

        Raises DraftNotFound, DraftNotOpen, InvalidPath, InvalidEntry, InvalidReference, PathConflict, LimitExceeded.
        """
        caller.require(name.team)
        draft = await self._transactions.read(lambda work: work.drafts.get(name))
        require_base(caller, name.team, draft.base.version if draft.base else None)
        assembler = Assembler(overwrite=overwrite)
        filler = Filler(self._transactions, self._limits, draft, overwrite=overwrite)
        async for pieces in messages:
            self._check(pieces)
            for start in range(0, len(pieces), PIECES_AT_ONCE):
                assembler.add_many(pieces[start : start + PIECES_AT_ONCE])
                if assembler.ready_lines >= BATCH_LINES or assembler.ready_bytes >= BATCH_BYTES:
                    await filler.put(assembler.take())
        assembler.end()
        await filler.put(assembler.take())
        await filler.flush()
        return assembler.entry_count

    async def _open(self, work: Work, wish: NewDraft) -> Draft:
        if wish.distributed_id and (known := await work.drafts.shared(wish.collection, wish.distributed_id)):
            if known.base is None or wish.base is None or known.base.version != wish.base.version:
                wish = await _with_base(work, wish)
            known.require_shared(wish)
            return known
        wish = await _with_base(work, wish)
        made = await work.drafts.create(wish, self._limits.draft_lifetime)
        if made is None:  # another writer was quicker
            made = await work.drafts.shared(wish.collection, wish.distributed_id)
            if made is None:
                raise AssertionError
            made.require_shared(wish)
        return made

    def _check(self, pieces: Sequence[Piece]) -> None:
        """Raise LimitExceeded when a message has more than GetCapabilities allows (SEM-27)."""
        found = {
            "entries": (len(pieces), self._limits.max_entries_per_message),
            "segments": (segment_count(pieces), self._limits.max_segments_per_message),
        }
        for what, (count, limit) in found.items():
            if count > limit:
                message = f"a message has {count:,} {what}; at most {limit:,} are allowed, so send more messages"
                raise LimitExceeded(message, field=what, limit=limit)

    async def _sweep_some(self) -> None:
        with suppress(ModelkeepError):
            for ended in await self._transactions.read(lambda work: work.drafts.unswept(SWEPT_DRAFTS)):
                await sweep(self._transactions, ended)


def require_base(caller: Caller, team: str, base: VersionName | None) -> None:
    """Let a caller go on with a draft of a team only if it may read its base (SEM-22): what is in it, others may not learn."""
    if base is not None and base.team != team:
        replace(caller, access=Access.READ).require(base.team)


async def sweep(transactions: Transactions, name: DraftName) -> None:
    """Drop entries of a draft that ended, in small transactions. What stays is left to the next draft that is opened."""
    with suppress(ModelkeepError):
        for _ in range(SWEPT_BATCHES):
            if await transactions.write(lambda work: work.drafts.sweep(name, SWEPT_LINES)):
                return


async def _with_base(work: Work, wish: NewDraft) -> NewDraft:
    """A wish with what is known of its base. Raises VersionNotFound, VersionDeleted."""
    if wish.base is None:
        return wish
    version = await work.versions.get(wish.base.version)
    return replace(wish, base=Base(version.name, version.layout, version.entry_count))
