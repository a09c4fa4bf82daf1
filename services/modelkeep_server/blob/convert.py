"""Between the messages of the contract and the domain. Whatever comes in is parsed here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from google.protobuf.timestamp_pb2 import Timestamp
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.api.blob.v1 import digest_pb2, lease_pb2
from modelkeep.digest import Digest
from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import LeaseName

from modelkeep_server.blob.domain import (
    MAX_BATCH_CHUNKS,
    MAX_CHUNK_BYTES,
    MAX_DATA_BYTES,
    ByStream,
    ByUrl,
    Chunk,
    Missing,
    Present,
    Range,
    Staged,
    UploadResult,
    WritePart,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime

    from modelkeep_server.blob.domain import Capabilities, DownloadPlan, Lease, UploadPlan

_RESULTS: Final = {
    UploadResult.PUBLISHED: pb.UPLOAD_RESULT_PUBLISHED,
    UploadResult.OBJECT_MISSING: pb.UPLOAD_RESULT_OBJECT_MISSING,
    UploadResult.GRANT_EXPIRED: pb.UPLOAD_RESULT_GRANT_EXPIRED,
    UploadResult.SIZE_MISMATCH: pb.UPLOAD_RESULT_SIZE_MISMATCH,
    UploadResult.DIGEST_MISMATCH: pb.UPLOAD_RESULT_DIGEST_MISMATCH,
}


def digest_from_pb(message: digest_pb2.Digest) -> Digest:
    """A digest. Raises InvalidArgument when none is set, or not of 32 bytes."""
    if message.WhichOneof("value") != "sha256":
        raise InvalidArgument("a digest is missing, or of an algorithm that this server does not know", field="digest")
    return Digest(message.sha256)


def digests_from_pb(messages: Iterable[digest_pb2.Digest]) -> list[Digest]:
    """Digests, in their order."""
    return [digest_from_pb(message) for message in messages]


def chunk_from_pb(message: digest_pb2.Chunk) -> Chunk:
    """A chunk. Raises InvalidArgument, LimitExceeded."""
    return Chunk(digest_from_pb(message.digest), message.size_bytes)


def lease_name_from_pb(text: str) -> LeaseName | None:
    """The name of a lease; None where it is left out."""
    return LeaseName.parse(text) if text else None


async def write_parts_from_pb(requests: AsyncIterator[pb.WriteRequest]) -> AsyncIterator[WritePart]:
    """The messages of a Write. Raises LimitExceeded for one with too much data."""
    async for request in requests:
        if len(request.data) > MAX_DATA_BYTES:
            message = f"a message brings {len(request.data)} bytes; send at most {MAX_DATA_BYTES} in one"
            raise LimitExceeded(message, field="data", value=len(request.data), limit=MAX_DATA_BYTES)
        chunk = chunk_from_pb(request.chunk) if request.HasField("chunk") else None
        yield WritePart(lease_name_from_pb(request.lease), chunk, request.offset, request.data)


def ranges_from_pb(messages: Iterable[pb.ReadRange]) -> list[Range]:
    """The ranges of a Read."""
    return [Range(digest_from_pb(message.digest), message.offset, message.length) for message in messages]


def capabilities_to_pb(capabilities: Capabilities) -> pb.Capabilities:
    """What clients must know of this server."""
    return pb.Capabilities(
        max_chunk_bytes=MAX_CHUNK_BYTES,
        block_bytes=capabilities.cutting.block_bytes,
        max_batch_chunks=MAX_BATCH_CHUNKS,
        max_data_bytes=MAX_DATA_BYTES,
        lease_seconds=capabilities.lease_seconds,
        direct_upload=capabilities.direct_upload,
        direct_download=capabilities.direct_download,
        average_chunk_bytes=capabilities.cutting.average_chunk_bytes,
        pack_bytes=capabilities.cutting.pack_bytes,
        staging_folder=capabilities.staging_folder,
    )


def lease_to_pb(lease: Lease) -> lease_pb2.Lease:
    """A lease."""
    return lease_pb2.Lease(name=str(lease.name), expire_time=_timestamp(lease.expire_time))


def prepared_to_pb(lease: Lease, plans: Iterable[UploadPlan]) -> pb.PrepareUploadResponse:
    """The answer of PrepareUpload."""
    return pb.PrepareUploadResponse(lease=lease_to_pb(lease), plans=map(_upload_plan, plans))


def download_plans_to_pb(plans: Iterable[DownloadPlan]) -> pb.PrepareDownloadResponse:
    """The answer of PrepareDownload."""
    return pb.PrepareDownloadResponse(plans=map(_download_plan, plans))


def results_to_pb(results: Iterable[UploadResult]) -> pb.CompleteUploadResponse:
    """The answer of CompleteUpload."""
    return pb.CompleteUploadResponse(results=[_RESULTS[result] for result in results])


def stats_to_pb(sizes: Iterable[int | None]) -> pb.StatResponse:
    """The answer of Stat."""
    return pb.StatResponse(stats=[pb.ChunkStat(present=size is not None, size_bytes=size or 0) for size in sizes])


def _upload_plan(plan: UploadPlan) -> pb.UploadPlan:
    match plan:
        case Present():
            return pb.UploadPlan(present=pb.PresentChunk())
        case ByUrl(url, expire_time):
            return pb.UploadPlan(url=pb.UploadUrl(url=url, expire_time=_timestamp(expire_time)))
        case Staged(path):
            return pb.UploadPlan(staged=pb.StagedUpload(path=path))
        case ByStream(offset):
            return pb.UploadPlan(stream=pb.UploadStream(write_offset=offset))
    assert_never(plan)


def _download_plan(plan: DownloadPlan) -> pb.DownloadPlan:
    match plan.source:
        case Missing():
            return pb.DownloadPlan(missing=pb.MissingChunk())
        case ByUrl(url, expire_time):
            source = pb.DownloadUrl(url=url, expire_time=_timestamp(expire_time))
            return pb.DownloadPlan(url=source, size_bytes=plan.size_bytes)
        case ByStream():
            return pb.DownloadPlan(stream=pb.DownloadStream(), size_bytes=plan.size_bytes)
    assert_never(plan.source)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
