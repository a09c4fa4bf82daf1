"""The RPCs of versions and their entries."""

from __future__ import annotations

from collections.abc import AsyncIterator

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import version_pb2 as version_pb
from modelkeep.names import CollectionName, ProjectName, VersionName, parse_words

from modelkeep_server.metadata.convert.commit import copied_to_pb, copy_from_pb
from modelkeep_server.metadata.convert.entry import contents_to_pb, pieces_to_pb
from modelkeep_server.metadata.convert.search import version_query
from modelkeep_server.metadata.convert.use import use_from_pb
from modelkeep_server.metadata.convert.version import tags_from_pb, version_to_pb, words_from_pb
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class VersionCalls(Part):
    """Find, see, edit, delete, restore, read and use versions."""

    async def Resolve(self, request: pb.ResolveRequest, _context: Context) -> version_pb.Version:
        """The version behind an address."""
        parent = ProjectName.parse(request.parent)
        return version_to_pb(await self._apps.resolution.resolve(current(), parent, request.address))

    async def GetVersion(self, request: pb.GetVersionRequest, _context: Context) -> version_pb.Version:
        """A version."""
        name, show = VersionName.parse(request.name), request.show_deleted
        return version_to_pb(await self._apps.versions.get_version(current(), name, show_deleted=show))

    async def ListVersions(self, request: pb.ListVersionsRequest, _context: Context) -> pb.ListVersionsResponse:
        """The versions of a collection, or of many."""
        collection, page, query = CollectionName.parse(request.parent), page_from_pb(request), version_query(request)
        show = request.show_deleted
        listing = await self._apps.versions.list_versions(current(), collection, page, show_deleted=show, query=query)
        return pb.ListVersionsResponse(versions=map(version_to_pb, listing.items), next_page_token=listing.next_token)

    async def CopyVersion(self, request: pb.CopyVersionRequest, _context: Context) -> pb.CopyVersionResponse:
        """A version with the content of another one."""
        return copied_to_pb(await self._apps.copies.copy_version(call(request), *copy_from_pb(request)))

    async def UpdateVersion(self, request: pb.UpdateVersionRequest, _context: Context) -> version_pb.Version:
        """A version with other words."""
        return version_to_pb(await self._apps.versions.update_version(call(request), *words_from_pb(request)))

    async def EditTags(self, request: pb.EditTagsRequest, _context: Context) -> version_pb.Version:
        """A version with other tags."""
        name, add, remove = VersionName.parse(request.name), tags_from_pb(request.add), tags_from_pb(request.remove)
        return version_to_pb(await self._apps.versions.edit_tags(call(request), name, add, remove))

    async def DeleteVersion(self, request: pb.DeleteVersionRequest, _context: Context) -> version_pb.Version:
        """A version that is gone for now."""
        name, reason, too = VersionName.parse(request.name), parse_words(request.reason, "reason"), request.delete_aliases
        deleted = await self._apps.versions.delete_version(call(request), name, reason, delete_aliases=too)
        return version_to_pb(deleted)

    async def RestoreVersion(self, request: pb.RestoreVersionRequest, _context: Context) -> version_pb.Version:
        """A version that is back."""
        return version_to_pb(await self._apps.versions.restore_version(call(request), VersionName.parse(request.name)))

    async def ListEntries(self, request: pb.ListEntriesRequest, _context: Context) -> pb.ListEntriesResponse:
        """Entries without their segments."""
        name, page = VersionName.parse(request.parent), page_from_pb(request)
        by_folder = request.by_folder
        return contents_to_pb(await self._apps.entries.list_entries(current(), name, request.prefix, page, by_folder=by_folder))

    async def StreamEntries(
        self, request: pb.StreamEntriesRequest, _context: Context
    ) -> AsyncIterator[pb.StreamEntriesResponse]:
        """Entries with all their segments."""
        name, prefix, after = VersionName.parse(request.parent), request.prefix, request.after_path
        async for pieces in self._apps.entries.stream_entries(current(), name, prefix, after):
            yield pieces_to_pb(pieces)

    async def RecordUse(self, request: pb.RecordUseRequest, _context: Context) -> pb.RecordUseResponse:
        """That a run used a version."""
        name, use = VersionName.parse(request.version), use_from_pb(request)
        return pb.RecordUseResponse(first=(await self._apps.uses.record_use(call(request), name, use)).is_first)
