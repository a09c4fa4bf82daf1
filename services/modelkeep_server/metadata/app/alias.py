"""Aliases: move them, and see where they point and pointed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import AliasName, CollectionName, parse_alias, parse_words

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.alias import Alias, AliasChange, AliasMove, Wish
from modelkeep_server.metadata.domain.collection import Locked
from modelkeep_server.metadata.domain.event import AliasMoved
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class AliasApp:
    """The use cases of aliases."""

    def __init__(self, transactions: Transactions, max_aliases: int) -> None:
        self._transactions = transactions
        self._max_aliases = max_aliases

    async def move_aliases(
        self, call: Call, collection: CollectionName, moves: Sequence[AliasMove], reason: str
    ) -> tuple[Alias, ...]:
        """Set, move and delete aliases: all of them or none (SEM-16, 17); the aliases after it, in the order of `moves`."""
        call.caller.require(collection.team)
        parse_words(reason, "reason")
        self._check(collection, moves)

        async def step(work: Work) -> tuple[Alias, ...]:
            locked = await work.collections.lock(collection)
            return await apply_moves(work, locked, moves, call.caller.actor, reason)

        return await self._transactions.once(call, tuple[Alias, ...], step)

    async def get_alias(self, caller: Caller, name: AliasName) -> Alias:
        """An alias that exists now."""
        caller.require(name.team)
        return await self._transactions.look(lambda work: work.aliases.get(name))

    async def list_aliases(self, caller: Caller, collection: CollectionName, page: Page) -> Listing[Alias]:
        """The aliases of a collection by name."""
        caller.require(collection.team)
        return await self._transactions.read(lambda work: work.aliases.list(collection, page))

    async def list_alias_history(
        self, caller: Caller, collection: CollectionName, alias: str, page: Page
    ) -> Listing[AliasChange]:
        """The changes of one alias, or of all when it is empty, newest first."""
        caller.require(collection.team)
        if alias:
            parse_alias(alias)
        return await self._transactions.read(lambda work: work.aliases.history(collection, alias, page))

    def _check(self, collection: CollectionName, moves: Sequence[AliasMove]) -> None:
        if not moves:
            raise InvalidArgument("there is no move in the call; name at least one alias", field="moves")
        if len(moves) > self._max_aliases:
            message = f"the call moves {len(moves)} aliases; at most {self._max_aliases} go into one"
            raise LimitExceeded(message, field="moves", limit=self._max_aliases)
        seen: set[str] = set()
        for move in moves:
            move.check(collection)
            if move.alias in seen:
                raise InvalidArgument(f"the alias {move.alias!r} is moved twice in one call", field="moves", alias=move.alias)
            seen.add(move.alias)


async def apply_moves(work: Work, locked: Locked, moves: Sequence[AliasMove], actor: str, reason: str) -> tuple[Alias, ...]:
    """Make checked moves of different aliases in a collection that this transaction locked.

    At most four statements, however many moves. Answers the aliases after them, in the order of `moves`. Raises AliasRuled,
    AliasChanged, AliasNotFound, VersionNotFound, VersionDeleted, LimitExceeded.
    """
    if not moves:
        return ()
    rules = {rule.alias: rule for rule in locked.rules}
    if ruled := next((move.alias for move in moves if move.alias in rules), None):
        raise rules[ruled].refusal(locked.name)
    current = await work.aliases.current(locked.name, tuple(move.alias for move in moves))
    wishes = {}
    for move in moves:
        if move.changes(current.get(move.alias)):
            wishes[move.alias] = Wish(move.version, reason)
        elif move.version is None:
            await work.aliases.get(locked.name.alias(move.alias))  # it is not there; this says which are
    changes = await point(work, locked, wishes, current, actor)
    aliases = {**current, **{change.alias.alias: change.result for change in changes}}
    return tuple(aliases[move.alias] for move in moves)


async def point(
    work: Work, locked: Locked, wishes: Mapping[str, Wish], current: Mapping[str, Alias], actor: str
) -> Sequence[AliasChange]:
    """Point aliases of a locked collection elsewhere, and say so in the log. None of them points there already."""
    changes = await work.aliases.change(locked.name, wishes, current, actor) if wishes else ()
    for change in changes:
        before, after = str(change.from_version or ""), str(change.to_version or "")
        moved = AliasMoved(str(change.alias), change.seq, before, after, change.reason, locked.uid)
        work.emit(locked.name.parent, actor, moved)
    return changes
