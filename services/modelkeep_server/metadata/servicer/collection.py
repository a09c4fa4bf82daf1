"""The RPCs of collections."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import collection_pb2 as collection_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.names import CollectionName, ProjectName

from modelkeep_server.metadata.convert.collection import (
    collection_edit_from_pb,
    collection_from_pb,
    collection_to_pb,
    name_change_to_pb,
)
from modelkeep_server.metadata.convert.search import collection_query
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class CollectionCalls(Part):
    """Make, see, edit, rename and move collections."""

    async def CreateCollection(self, request: pb.CreateCollectionRequest, _context: Context) -> collection_pb.Collection:
        """A new collection."""
        made = await self._apps.collections.create_collection(call(request), *collection_from_pb(request))
        return collection_to_pb(made)

    async def GetCollection(self, request: pb.GetCollectionRequest, _context: Context) -> collection_pb.Collection:
        """A collection."""
        return collection_to_pb(await self._apps.collections.get_collection(current(), CollectionName.parse(request.name)))

    async def ListCollections(self, request: pb.ListCollectionsRequest, _context: Context) -> pb.ListCollectionsResponse:
        """The collections of a project, or of all."""
        project, page, query = ProjectName.parse(request.parent), page_from_pb(request), collection_query(request)
        listing = await self._apps.collections.list_collections(current(), project, request.type, page, query)
        collections = map(collection_to_pb, listing.items)
        return pb.ListCollectionsResponse(collections=collections, next_page_token=listing.next_token)

    async def UpdateCollection(self, request: pb.UpdateCollectionRequest, _context: Context) -> collection_pb.Collection:
        """A collection with other words, or of another type."""
        edited = await self._apps.collections.update_collection(call(request), *collection_edit_from_pb(request))
        return collection_to_pb(edited)

    async def RenameCollection(self, request: pb.RenameCollectionRequest, _context: Context) -> collection_pb.Collection:
        """A collection under another name."""
        name = CollectionName.parse(request.name)
        new = CollectionName(name.team, name.project, request.new_collection_id)
        return collection_to_pb(await self._apps.collections.rename_collection(call(request), name, new))

    async def MoveCollection(self, request: pb.MoveCollectionRequest, _context: Context) -> collection_pb.Collection:
        """A collection in another project."""
        name, project = CollectionName.parse(request.name), ProjectName.parse(request.new_parent)
        moved = await self._apps.collections.move_collection(call(request), name, project, request.new_collection_id)
        return collection_to_pb(moved)

    async def ListCollectionHistory(
        self, request: pb.ListCollectionHistoryRequest, _context: Context
    ) -> pb.ListCollectionHistoryResponse:
        """The names that a collection had."""
        name, page = CollectionName.parse(request.parent), page_from_pb(request)
        listing = await self._apps.collections.list_collection_history(current(), name, page)
        changes = map(name_change_to_pb, listing.items)
        return pb.ListCollectionHistoryResponse(changes=changes, next_page_token=listing.next_token)
