"""The RPCs of drafts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from modelkeep.api.metadata.v1 import draft_pb2 as draft_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.names import DraftName, ProjectName

from modelkeep_server.metadata.convert.commit import commit_from_pb, committed_to_pb
from modelkeep_server.metadata.convert.draft import distributed_id_from_pb, draft_from_pb, draft_to_pb, state_from_pb
from modelkeep_server.metadata.convert.stream import open_stream
from modelkeep_server.metadata.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class DraftCalls(Part):
    """Open, see, fill, commit and abort drafts."""

    async def CreateDraft(self, request: pb.CreateDraftRequest, _context: Context) -> draft_pb.Draft:
        """A new draft."""
        where, base, shared = draft_from_pb(request)
        return draft_to_pb(await self._apps.drafts.create_draft(call(request), *where, base=base, distributed_id=shared))

    async def GetDraft(self, request: pb.GetDraftRequest, _context: Context) -> draft_pb.Draft:
        """A draft."""
        return draft_to_pb(await self._apps.drafts.get_draft(current(), DraftName.parse(request.name)))

    async def ListDrafts(self, request: pb.ListDraftsRequest, _context: Context) -> pb.ListDraftsResponse:
        """The drafts of a project."""
        project, state, page = ProjectName.parse(request.parent), state_from_pb(request.state), page_from_pb(request)
        shared = distributed_id_from_pb(request.distributed_id)
        listing = await self._apps.drafts.list_drafts(current(), project, state, page, shared)
        return pb.ListDraftsResponse(drafts=map(draft_to_pb, listing.items), next_page_token=listing.next_token)

    async def AddEntries(self, requests: AsyncIterator[pb.AddEntriesRequest], _context: Context) -> pb.AddEntriesResponse:
        """Entries of a draft, from a stream."""
        name, overwrite, messages = await open_stream(requests)
        count = await self._apps.drafts.add_entries(current(), name, messages, overwrite=overwrite)
        return pb.AddEntriesResponse(entry_count=count)

    async def RemoveEntries(self, request: pb.RemoveEntriesRequest, _context: Context) -> pb.RemoveEntriesResponse:
        """A draft without some entries."""
        removed = await self._apps.removals.remove_entries(call(request), DraftName.parse(request.draft), request.paths)
        return pb.RemoveEntriesResponse(entry_count=removed.entry_count)

    async def CommitDraft(self, request: pb.CommitDraftRequest, _context: Context) -> pb.CommitDraftResponse:
        """The version that a draft becomes."""
        name, commit = DraftName.parse(request.name), commit_from_pb(request)
        return committed_to_pb(await self._apps.commits.commit_draft(current(), name, commit))

    async def AbortDraft(self, request: pb.AbortDraftRequest, _context: Context) -> draft_pb.Draft:
        """The end of a draft."""
        return draft_to_pb(await self._apps.drafts.abort_draft(call(request), DraftName.parse(request.name)))
