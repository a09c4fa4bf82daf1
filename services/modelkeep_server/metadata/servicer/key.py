"""The RPCs of API keys."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import key_pb2 as key_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.names import ApiKeyName, TeamName

from modelkeep_server.metadata.convert.key import exchanged_to_pb, key_to_pb, wish_from_pb
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class KeyCalls(Part):
    """Make, list, end and exchange keys."""

    async def ExchangeApiKey(self, request: pb.ExchangeApiKeyRequest, _context: Context) -> pb.ExchangeApiKeyResponse:
        """An access token for a key."""
        return exchanged_to_pb(await self._apps.keys.exchange_api_key(request.secret))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, _context: Context) -> pb.CreateApiKeyResponse:
        """A new key, and its secret this once."""
        team, wish = TeamName.parse(request.parent), wish_from_pb(request.api_key)
        key, secret = await self._apps.keys.create_api_key(call(request), team, wish)
        return pb.CreateApiKeyResponse(api_key=key_to_pb(key), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, _context: Context) -> pb.ListApiKeysResponse:
        """The keys of a team."""
        listing = await self._apps.keys.list_api_keys(current(), TeamName.parse(request.parent), page_from_pb(request))
        return pb.ListApiKeysResponse(api_keys=map(key_to_pb, listing.items), next_page_token=listing.next_token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, _context: Context) -> key_pb.ApiKey:
        """The end of a key."""
        return key_to_pb(await self._apps.keys.revoke_api_key(call(request), ApiKeyName.parse(request.name)))
