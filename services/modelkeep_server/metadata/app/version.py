"""Versions: show them, edit their words and tags, delete and restore them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from modelkeep.address import Address
from modelkeep.errors import DigestLive, InvalidArgument, LimitExceeded, VersionAliased, VersionPurged
from modelkeep.names import LATEST, CollectionName, VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import ALL, Query
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.metadata.app.alias import apply_moves
from modelkeep_server.metadata.app.rule import keep_rules
from modelkeep_server.metadata.domain import event
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.version import Version, VersionState, Words
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class VersionApp:
    """The use cases of versions."""

    def __init__(self, transactions: Transactions, limits: Limits, searches: Searches) -> None:
        self._transactions = transactions
        self._limits = limits
        self._searches = searches

    async def get_version(self, caller: Caller, name: VersionName, *, show_deleted: bool) -> Version:
        """A version. Raises VersionNotFound, VersionDeleted (SEM-40), and so on for what it lies in."""
        caller.require(name.team)
        found = await self._transactions.find(Address(name.parent, number=name.number))
        if found is not None:
            return found
        return await self._transactions.read(lambda work: work.versions.get(name, show_deleted=show_deleted))

    async def list_versions(
        self, caller: Caller, collection: CollectionName, page: Page, *, show_deleted: bool, query: Query = ALL
    ) -> Listing[Version]:
        """The versions of a collection that `query` asks for; `-` stands for all collections of a project, or all projects.

        Raises CollectionNotFound, and so on.
        """
        caller.require(collection.team)
        return await self._searches.run(
            query,
            lambda: self._transactions.read(
                lambda work: work.versions.list(collection, page, show_deleted=show_deleted, query=query)
            ),
        )

    async def update_version(self, call: Call, name: VersionName, words: Words, etag: str) -> Version:
        """Edit the words of a version (SEM-15, 19). Raises what `get_version` raises, and EtagMismatch."""
        call.caller.require(name.team)

        async def step(work: Work) -> Version:
            locked = await work.collections.lock(name.parent)
            await work.versions.update(name, words, etag)
            work.emit(name.parent.parent, call.caller.actor, event.VersionUpdated(str(name), words.fields))
            if words.metadata_json is not None:
                await keep_rules(work, locked, call.caller.actor)
            return await work.versions.get(name)

        return await self._transactions.once(call, Version, step)

    async def edit_tags(self, call: Call, name: VersionName, add: Sequence[str], remove: Sequence[str]) -> Version:
        """Put tags on a version and take others off it (SEM-19). Raises what `get_version` raises, and LimitExceeded."""
        call.caller.require(name.team)
        if both := sorted(set(add) & set(remove)):
            raise InvalidArgument(f"the tag {both[0]!r} is to be added and to be removed; decide", field="add", tag=both[0])

        async def step(work: Work) -> Version:
            await work.collections.lock(name.parent)
            tags = set((await work.versions.get(name)).tags)
            fresh, gone = sorted(set(add) - tags), sorted(set(remove) & tags)
            limit = self._limits.max_tags
            if len(tags) + len(fresh) - len(gone) > limit:
                raise LimitExceeded(f"{name.short} would have more than {limit} tags; take some off", field="add", limit=limit)
            if fresh or gone:
                await work.versions.edit_tags(name, fresh, gone)
                work.emit(name.parent.parent, call.caller.actor, event.VersionUpdated(str(name), ("tags",)))
            return await work.versions.get(name)

        return await self._transactions.once(call, Version, step)

    async def delete_version(self, call: Call, name: VersionName, reason: str, *, delete_aliases: bool) -> Version:
        """Delete a version, restorably for a time (SEM-43, 44). Raises what `get_version` raises, and VersionAliased."""
        call.caller.require(name.team)
        actor = call.caller.actor

        async def step(work: Work) -> Version:
            locked = await work.collections.lock(name.parent)
            version = await work.versions.get(name)
            aliases = [alias for alias in version.aliases if alias != LATEST]
            ruled = {rule.alias for rule in locked.rules}  # they go on to another version, or nowhere
            if aliases and not delete_aliases:
                raise _aliased(name, aliases, ruled)
            moves = [AliasMove(alias, None) for alias in aliases if alias not in ruled]
            await apply_moves(work, locked, moves, actor, reason)
            await work.versions.delete(name, actor, reason, self._limits.restore_period)
            work.emit(name.parent.parent, actor, event.VersionDeleted(str(name), version.uid, reason))
            await keep_rules(work, locked, actor)
            return await work.versions.get(name, show_deleted=True)

        return await self._transactions.once(call, Version, step)

    async def restore_version(self, call: Call, name: VersionName) -> Version:
        """Bring a deleted version back under its number (SEM-44); a live one stays as it is.

        Raises VersionNotFound, VersionPurged, DigestLive, and so on for what it lies in.
        """
        call.caller.require(name.team)

        async def step(work: Work) -> Version:
            locked = await work.collections.lock(name.parent)
            version = await work.versions.get(name, show_deleted=True)
            if version.state is VersionState.COMMITTED:
                return version
            await _require_restorable(work, version)
            await work.versions.restore(name)
            work.emit(name.parent.parent, call.caller.actor, event.VersionRestored(str(name), version.uid))
            await keep_rules(work, locked, call.caller.actor)
            return await work.versions.get(name)

        return await self._transactions.once(call, Version, step)


def _aliased(name: VersionName, aliases: Sequence[str], ruled: Collection[str]) -> VersionAliased:
    way = "move them first, or ask to delete them too"
    if kept := [alias for alias in aliases if alias in ruled]:  # nobody could move these by hand
        way = f"ask to delete them too: {', '.join(kept)} will be where the rule says then"
    message = f"{name.short} carries the aliases {', '.join(aliases)}; {way}"
    return VersionAliased(message, version=str(name), aliases=",".join(aliases))


async def _require_restorable(work: Work, version: Version) -> None:
    name = version.name
    if version.state is VersionState.PURGED:
        raise VersionPurged(f"{name.short} could be restored until its time ran out; log its content again", version=str(name))
    other = await work.versions.target(name.parent, version.digest)
    if other is not None:
        message = f"{other.short} has the content of {name.short} and is live; use that one"
        raise DigestLive(message, version=str(other), restored=str(name))
