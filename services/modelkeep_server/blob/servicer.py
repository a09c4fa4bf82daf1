"""The RPCs of the blob service: parse, call, convert."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as maintenance_pb
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as rpc
from modelkeep.names import LeaseName, TeamName

from modelkeep_server.blob import convert
from modelkeep_server.runtime.callers import current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelkeep.api.blob.v1 import lease_pb2

    from modelkeep_server.blob.app.confirm import Confirmations
    from modelkeep_server.blob.app.download import Downloads
    from modelkeep_server.blob.app.upload import Uploads
    from modelkeep_server.blob.app.write import Writes
    from modelkeep_server.runtime.server import Context


class BlobServicer(rpc.BlobServiceServicer):
    """BlobService."""

    def __init__(self, uploads: Uploads, writes: Writes, downloads: Downloads) -> None:
        self._uploads = uploads
        self._writes = writes
        self._downloads = downloads

    async def GetCapabilities(self, _request: pb.GetCapabilitiesRequest, _context: Context) -> pb.Capabilities:
        """The limits and abilities of this server."""
        return convert.capabilities_to_pb(self._uploads.capabilities())

    async def PrepareUpload(self, request: pb.PrepareUploadRequest, _context: Context) -> pb.PrepareUploadResponse:
        """What to do with each chunk."""
        lease, plans = await self._uploads.prepare_upload(
            TeamName.parse(request.parent),
            convert.lease_name_from_pb(request.lease),
            [convert.chunk_from_pb(chunk) for chunk in request.chunks],
            current(),
            stream_only=request.stream_only,
            staging_token=request.staging_token,
        )
        return convert.prepared_to_pb(lease, plans)

    async def Write(self, requests: AsyncIterator[pb.WriteRequest], _context: Context) -> pb.WriteResponse:
        """Chunks that come through the server."""
        published = await self._writes.write(convert.write_parts_from_pb(requests), current())
        return pb.WriteResponse(published_count=published)

    async def CompleteUpload(self, request: pb.CompleteUploadRequest, _context: Context) -> pb.CompleteUploadResponse:
        """Chunks that were sent to URLs or written to files."""
        lease, digests = LeaseName.parse(request.lease), convert.digests_from_pb(request.digests)
        return convert.results_to_pb(await self._uploads.complete_upload(lease, digests, current()))

    async def PrepareDownload(self, request: pb.PrepareDownloadRequest, _context: Context) -> pb.PrepareDownloadResponse:
        """Where to read each chunk."""
        team, digests = TeamName.parse(request.parent), convert.digests_from_pb(request.digests)
        plans = await self._downloads.prepare_download(team, digests, current(), stream_only=request.stream_only)
        return convert.download_plans_to_pb(plans)

    async def Read(self, request: pb.ReadRequest, _context: Context) -> AsyncIterator[pb.ReadResponse]:
        """The bytes of ranges."""
        team, ranges = TeamName.parse(request.parent), convert.ranges_from_pb(request.ranges)
        async with aclosing(self._downloads.read(team, ranges, current())) as pieces:
            async for number, piece in pieces:
                yield pb.ReadResponse(range_index=number, data=piece)

    async def Stat(self, request: pb.StatRequest, _context: Context) -> pb.StatResponse:
        """Which chunks the team holds."""
        team, digests = TeamName.parse(request.parent), convert.digests_from_pb(request.digests)
        return convert.stats_to_pb(await self._downloads.stat(team, digests, current()))

    async def RenewLease(self, request: pb.RenewLeaseRequest, _context: Context) -> lease_pb2.Lease:
        """A lease that lasts longer."""
        return convert.lease_to_pb(await self._uploads.renew_lease(LeaseName.parse(request.name), current()))


class BlobMaintenanceServicer(maintenance_rpc.BlobMaintenanceServiceServicer):
    """BlobMaintenanceService."""

    def __init__(self, confirmations: Confirmations) -> None:
        self._confirmations = confirmations

    async def ConfirmChunks(
        self, requests: AsyncIterator[maintenance_pb.ConfirmChunksRequest], _context: Context
    ) -> AsyncIterator[maintenance_pb.ConfirmChunksResponse]:
        """Which chunks are there to stay, batch by batch."""
        async for request in requests:
            team, digests = TeamName.parse(request.parent), convert.digests_from_pb(request.digests)
            sizes = await self._confirmations.confirm_chunks(team, request.epoch, digests, current())
            yield maintenance_pb.ConfirmChunksResponse(sizes_bytes=sizes)

    async def AdoptChunks(
        self, requests: AsyncIterator[maintenance_pb.AdoptChunksRequest], _context: Context
    ) -> AsyncIterator[maintenance_pb.AdoptChunksResponse]:
        """Holdings of what another team holds, batch by batch."""
        async for request in requests:
            team, source = TeamName.parse(request.parent), TeamName.parse(request.source)
            digests = convert.digests_from_pb(request.digests)
            sizes = await self._confirmations.adopt_chunks(team, source, request.epoch, digests, current())
            yield maintenance_pb.AdoptChunksResponse(sizes_bytes=sizes)
