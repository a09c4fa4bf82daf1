"""The RPCs of the metadata service: parse, call, convert; one file per noun. What each needs stands in `access`."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc

from modelkeep_server.metadata.convert.limits import limits_to_pb
from modelkeep_server.metadata.servicer.alias import AliasCalls
from modelkeep_server.metadata.servicer.collection import CollectionCalls
from modelkeep_server.metadata.servicer.draft import DraftCalls
from modelkeep_server.metadata.servicer.event import EventCalls
from modelkeep_server.metadata.servicer.key import KeyCalls
from modelkeep_server.metadata.servicer.project import ProjectCalls
from modelkeep_server.metadata.servicer.signature import SignatureCalls
from modelkeep_server.metadata.servicer.version import VersionCalls
from modelkeep_server.metadata.servicer.watch import WatchCalls
from modelkeep_server.runtime.server import Context


class MetadataServicer(
    KeyCalls,
    ProjectCalls,
    CollectionCalls,
    DraftCalls,
    VersionCalls,
    AliasCalls,
    EventCalls,
    WatchCalls,
    SignatureCalls,
    rpc.MetadataServiceServicer,
):
    """MetadataService."""

    async def GetCapabilities(self, _request: pb.GetCapabilitiesRequest, _context: Context) -> pb.Capabilities:
        """The limits of this server."""
        return limits_to_pb(self._apps.limits)
