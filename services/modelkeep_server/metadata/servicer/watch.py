"""The RPC of those who follow an alias."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.names import AliasName

from modelkeep_server.metadata.convert.watch import said_to_pb
from modelkeep_server.metadata.servicer.base import Part
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.server import Context


class WatchCalls(Part):
    """Watch aliases."""

    async def WatchAlias(self, request: pb.WatchAliasRequest, _context: Context) -> AsyncIterator[pb.WatchAliasResponse]:
        """Where an alias points, from now on."""
        async with aclosing(self._apps.watches.watch_alias(current(), AliasName.parse(request.name))) as stream:
            async for said in stream:
                yield said_to_pb(said)
