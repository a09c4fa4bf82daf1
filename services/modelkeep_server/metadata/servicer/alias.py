"""The RPCs of aliases."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import alias_pb2 as alias_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import rule_pb2 as rule_pb
from modelkeep.names import AliasName, CollectionName

from modelkeep_server.metadata.convert.alias import alias_to_pb, change_to_pb, moves_from_pb
from modelkeep_server.metadata.convert.rule import rule_from_pb, rule_to_pb
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class AliasCalls(Part):
    """Move and see aliases, and let rules keep them."""

    async def MoveAliases(self, request: pb.MoveAliasesRequest, _context: Context) -> pb.MoveAliasesResponse:
        """Aliases after a batch of moves."""
        collection, moves = CollectionName.parse(request.parent), moves_from_pb(request.moves)
        aliases = await self._apps.aliases.move_aliases(call(request), collection, moves, request.reason)
        return pb.MoveAliasesResponse(aliases=map(alias_to_pb, aliases))

    async def GetAlias(self, request: pb.GetAliasRequest, _context: Context) -> alias_pb.Alias:
        """An alias."""
        return alias_to_pb(await self._apps.aliases.get_alias(current(), AliasName.parse(request.name)))

    async def ListAliases(self, request: pb.ListAliasesRequest, _context: Context) -> pb.ListAliasesResponse:
        """The aliases of a collection."""
        collection, page = CollectionName.parse(request.parent), page_from_pb(request)
        listing = await self._apps.aliases.list_aliases(current(), collection, page)
        return pb.ListAliasesResponse(aliases=map(alias_to_pb, listing.items), next_page_token=listing.next_token)

    async def ListAliasHistory(self, request: pb.ListAliasHistoryRequest, _context: Context) -> pb.ListAliasHistoryResponse:
        """Where aliases pointed."""
        collection, page = CollectionName.parse(request.parent), page_from_pb(request)
        listing = await self._apps.aliases.list_alias_history(current(), collection, request.alias, page)
        return pb.ListAliasHistoryResponse(changes=map(change_to_pb, listing.items), next_page_token=listing.next_token)

    async def SetAliasRule(self, request: pb.SetAliasRuleRequest, _context: Context) -> rule_pb.AliasRule:
        """A rule that keeps an alias."""
        return rule_to_pb(
            await self._apps.rules.set_alias_rule(call(request), *rule_from_pb(request.alias, request.expression))
        )

    async def DeleteAliasRule(self, request: pb.DeleteAliasRuleRequest, _context: Context) -> rule_pb.AliasRule:
        """A rule that is gone."""
        return rule_to_pb(await self._apps.rules.delete_alias_rule(call(request), AliasName.parse(request.alias)))

    async def ListAliasRules(self, request: pb.ListAliasRulesRequest, _context: Context) -> pb.ListAliasRulesResponse:
        """The rules of a collection."""
        collection, page = CollectionName.parse(request.parent), page_from_pb(request)
        listing = await self._apps.rules.list_alias_rules(current(), collection, page)
        return pb.ListAliasRulesResponse(rules=map(rule_to_pb, listing.items), next_page_token=listing.next_token)
