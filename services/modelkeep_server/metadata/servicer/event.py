"""The RPCs of events, and the ones that only services may call."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2 as maintenance_pb
from modelkeep.api.metadata.v1 import metadata_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.names import ProjectName

from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.convert.event import event_to_pb, head_to_pb
from modelkeep_server.metadata.servicer.base import Part
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class EventCalls(Part):
    """Read the log of a project."""

    async def ListEvents(self, request: pb.ListEventsRequest, _context: Context) -> pb.ListEventsResponse:
        """Events after a sequence."""
        project, size = ProjectName.parse(request.parent), Page.asked(request.page_size, "").size
        events, head = await self._apps.events.list_events(current(), project, request.after_sequence, size)
        return pb.ListEventsResponse(events=map(event_to_pb, events), head_sequence=head)


class MetadataMaintenanceServicer(Part, maintenance_rpc.MetadataMaintenanceServiceServicer):
    """MetadataMaintenanceService."""

    async def ListEventHeads(
        self, request: maintenance_pb.ListEventHeadsRequest, _context: Context
    ) -> maintenance_pb.ListEventHeadsResponse:
        """How far the logs of all projects go."""
        listing = await self._apps.events.list_event_heads(current(), page_from_pb(request))
        return maintenance_pb.ListEventHeadsResponse(heads=map(head_to_pb, listing.items), next_page_token=listing.next_token)
