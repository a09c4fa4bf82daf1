"""Rules of aliases: set, see and delete them, and keep them in every transaction that can change which version is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelkeep.errors import InvalidAlias, LimitExceeded
from modelkeep.names import LATEST, AliasName, CollectionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.app.alias import point
from modelkeep_server.metadata.domain.alias import AliasChange, Wish
from modelkeep_server.metadata.domain.collection import Locked
from modelkeep_server.metadata.domain.rule import MAX_RULES, AliasRule, Rule
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class RuleApp:
    """The use cases of rules."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def set_alias_rule(self, call: Call, name: AliasName, rule: Rule) -> AliasRule:
        """Let a rule keep an alias from now on; it moves at once.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, InvalidAlias, LimitExceeded, RuleFitsNothing.
        """
        call.caller.require(name.team)
        if name.alias == LATEST:
            raise InvalidAlias(f"{LATEST!r} is always the newest version; choose another alias for the best", alias=LATEST)

        async def step(work: Work) -> AliasRule:
            locked = await work.collections.lock(name.parent)
            before = next((other for other in locked.rules if other.alias == rule.alias), None)
            if len({other.alias for other in locked.rules} | {rule.alias}) > MAX_RULES:
                message = f"{name.collection} has {MAX_RULES} rules, which is the limit; delete one that nobody needs"
                raise LimitExceeded(message, field="alias", limit=MAX_RULES)
            await work.rules.put(name.parent, rule, call.caller.actor)
            for change in await keep_rules(work, replace(locked, rules=(rule,)), call.caller.actor):
                if change.from_version and not change.to_version:
                    # Which undoes it: a mistyped key takes no alias away.
                    raise rule.fits_nothing(change.from_version, before)
            return await work.rules.get(name)

        return await self._transactions.once(call, AliasRule, step)

    async def delete_alias_rule(self, call: Call, name: AliasName) -> AliasRule:
        """Take the rule of an alias away; the alias stays where it is.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound (it has no rule).
        """
        call.caller.require(name.team)

        async def step(work: Work) -> AliasRule:
            await work.collections.lock(name.parent)
            rule = await work.rules.get(name)
            await work.rules.drop(name)
            return rule

        return await self._transactions.once(call, AliasRule, step)

    async def list_alias_rules(self, caller: Caller, collection: CollectionName, page: Page) -> Listing[AliasRule]:
        """The rules of a collection by alias. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        caller.require(collection.team)
        return await self._transactions.read(lambda work: work.rules.list(collection, page))


async def keep_rules(work: Work, locked: Locked, actor: str) -> Sequence[AliasChange]:
    """Point the aliases that have rules to the versions that are the best now; which of them moved.

    Every transaction that makes, deletes or restores a version or edits its metadata ends with it. Nothing without rules, two
    statements where no alias moves, three more for all that do.
    """
    if not locked.rules:
        return ()
    current = await work.aliases.current(locked.name, tuple(rule.alias for rule in locked.rules))
    best = await work.rules.best(locked.name, {rule.alias: rule.yardstick for rule in locked.rules})
    wishes = {rule.alias: Wish(best.get(rule.alias), rule.reason) for rule in locked.rules}
    points_to = {alias: one.version for alias, one in current.items()}
    moved = {alias: wish for alias, wish in wishes.items() if wish.version != points_to.get(alias)}
    return await point(work, locked, moved, current, actor)
