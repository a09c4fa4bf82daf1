"""Collections: make, show, edit, rename and move them."""

from __future__ import annotations

from modelkeep.errors import CollectionExists, InvalidArgument
from modelkeep.names import CollectionName, ProjectName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import ALL, Query
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.metadata.app.project import ensure_project
from modelkeep_server.metadata.domain.collection import Collection, CollectionChange
from modelkeep_server.metadata.domain.event import CollectionCreated, CollectionRenamed, CollectionUpdated
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class CollectionApp:
    """The use cases of collections."""

    def __init__(self, transactions: Transactions, searches: Searches) -> None:
        self._transactions = transactions
        self._searches = searches

    async def create_collection(self, call: Call, name: CollectionName, type_: str, description: str) -> Collection:
        """Make a collection, and its project if that is missing.

        Raises TeamNotFound, CollectionExists, CollectionTypeMismatch.
        """
        call.caller.require(name.team)

        async def step(work: Work) -> Collection:
            if not await ensure_collection(work, name, type_, call.caller.actor, description):
                message = f"the collection {name.collection!r} exists already; use it, or choose another name"
                raise CollectionExists(message, collection=str(name))
            return await work.collections.get(name)

        return await self._transactions.once(call, Collection, step)

    async def get_collection(self, caller: Caller, name: CollectionName) -> Collection:
        """A collection. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        caller.require(name.team)
        return await self._transactions.read(lambda work: work.collections.get(name))

    async def list_collections(
        self, caller: Caller, project: ProjectName, type_: str, page: Page, query: Query = ALL
    ) -> Listing[Collection]:
        """The collections of a project that `query` asks for, of one type unless it is empty; `-` stands for all projects.

        Raises TeamNotFound, ProjectNotFound.
        """
        caller.require(project.team)
        return await self._searches.run(
            query, lambda: self._transactions.read(lambda work: work.collections.list(project, type_, page, query))
        )

    async def update_collection(
        self, call: Call, name: CollectionName, type_: str | None, description: str | None, etag: str
    ) -> Collection:
        """Edit a collection; None leaves a value as it is. Raises what `get_collection` raises, and EtagMismatch."""
        call.caller.require(name.team)

        async def step(work: Work) -> Collection:
            collection = await work.collections.update(name, type_, description, etag)
            work.emit(name.parent, call.caller.actor, CollectionUpdated(str(name), collection.type, collection.uid))
            return collection

        return await self._transactions.once(call, Collection, step)

    async def rename_collection(self, call: Call, name: CollectionName, new: CollectionName) -> Collection:
        """Give a collection another name; a name that it has already changes nothing.

        Raises what `get_collection` raises, and CollectionExists.
        """
        call.caller.require(name.team)

        async def step(work: Work) -> Collection:
            return await _move(work, name, new, call.caller.actor)

        return await self._transactions.once(call, Collection, step)

    async def move_collection(self, call: Call, name: CollectionName, project: ProjectName, new_id: str) -> Collection:
        """Take a collection to another project of its team, which is made if it is missing, under another name if one is given.

        Raises what `rename_collection` raises, and InvalidArgument.
        """
        call.caller.require(name.team)
        if project.team != name.team:
            message = f"{name.collection!r} can only move within its team {name.team!r}; copy its versions to {project.team!r}"
            raise InvalidArgument(message, field="new_parent", value=str(project))
        new = CollectionName(project.team, project.project, new_id or name.collection)

        async def step(work: Work) -> Collection:
            await ensure_project(work, project, call.caller.actor)
            return await _move(work, name, new, call.caller.actor)

        return await self._transactions.once(call, Collection, step)

    async def list_collection_history(self, caller: Caller, name: CollectionName, page: Page) -> Listing[CollectionChange]:
        """The names that a collection had, newest first. Raises what `get_collection` raises."""
        caller.require(name.team)
        return await self._transactions.read(lambda work: work.collections.history(name, page))


async def _move(work: Work, name: CollectionName, new: CollectionName, actor: str) -> Collection:
    """Give a collection another name, perhaps in another project; a name that it has already changes nothing."""
    if name == new:
        return await work.collections.get(new)
    await work.collections.rename(name, new, actor)
    moved = await work.collections.get(new)
    for project in sorted({name.parent, new.parent}):
        work.emit(project, actor, CollectionRenamed(str(new), str(name), moved.uid))
    return moved


async def ensure_collection(work: Work, name: CollectionName, type_: str, actor: str, description: str = "") -> bool:
    """Make a collection unless it is there, and its project (SEM-1); whether it was made.

    Raises TeamNotFound, CollectionTypeMismatch (SEM-2).
    """
    await ensure_project(work, name.parent, actor)
    uid = await work.collections.ensure(name, type_, description)
    if uid is not None:
        work.emit(name.parent, actor, CollectionCreated(str(name), type_, uid))
    return uid is not None
