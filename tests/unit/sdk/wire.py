"""A real gRPC server, small enough to see through, that answers as the contract says and fails as a test wants."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from modelkeep._channel import Connection
from modelkeep._status import DETAILS_HEADER, REQUEST_ID_HEADER, to_status
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as lineage_rpc
from modelkeep.api.metadata.v1 import collection_pb2, draft_pb2, project_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.config import Config
from modelkeep.errors import AccessTokenInvalid, DigestMismatch, LeaseExpired, ModelkeepError

from tests.unit.sdk.graphs import Lineage


def fail(context: grpc.ServicerContext, error: ModelkeepError) -> Any:
    status = to_status(error)
    details = (DETAILS_HEADER, status.SerializeToString())
    context.set_trailing_metadata(((REQUEST_ID_HEADER, "from-the-server"), details))
    context.abort(next(code for code in grpc.StatusCode if code.value[0] == status.code), status.message)


class Calls:
    """What was called, with which headers; and what goes wrong next."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, dict[str, str]]] = []
        self.errors: dict[str, list[ModelkeepError]] = {}
        self.tokens = 0
        self.refused_tokens: set[str] = set()
        self.lifetime_seconds = 60.0

    def enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        headers = {key: str(value) for key, value in context.invocation_metadata()}
        self.seen.append((method, request, headers))
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if method != "ExchangeApiKey" and (not token or token in self.refused_tokens):
            fail(context, AccessTokenInvalid("no good token"))
        if self.errors.get(method):
            fail(context, self.errors[method].pop(0))

    def count(self, method: str) -> int:
        return sum(seen == method for seen, _, _ in self.seen)


class Metadata(rpc.MetadataServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.entries: list[pb.StreamEntriesResponse] = []
        self.hang = threading.Event()
        self.lose: Callable[[], None] = lambda: None
        """What happens to the chunks before a commit."""
        self.overlooks = 0
        """How many of the entries it does not take."""

    def ExchangeApiKey(self, request: pb.ExchangeApiKeyRequest, context: grpc.ServicerContext) -> pb.ExchangeApiKeyResponse:
        self.calls.enter("ExchangeApiKey", request, context)
        self.calls.tokens += 1
        answer = pb.ExchangeApiKeyResponse(access_token=f"token-{self.calls.tokens}", team="teams/t")
        answer.lifetime.FromNanoseconds(int(self.calls.lifetime_seconds * 1e9))
        return answer

    def GetCapabilities(self, request: Any, context: grpc.ServicerContext) -> pb.Capabilities:
        self.calls.enter("GetCapabilities", request, context)
        return pb.Capabilities(max_entries_per_message=100, max_segments_per_message=1000, max_message_bytes=1 << 20)

    def GetTeam(self, request: pb.GetTeamRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("GetTeam", request, context)
        if request.name == "teams/hang":
            self.hang.wait(30)
        return project_pb2.Team(name=request.name)

    def CreateProject(self, request: pb.CreateProjectRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("CreateProject", request, context)
        return request.project

    def GetCollection(self, request: pb.GetCollectionRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("GetCollection", request, context)
        return collection_pb2.Collection(name=request.name, type="model")

    def CreateDraft(self, request: pb.CreateDraftRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("CreateDraft", request, context)
        return draft_pb2.Draft(name=f"{request.parent}/drafts/{uuid4()}")

    def AddEntries(self, requests: Iterator[pb.AddEntriesRequest], context: grpc.ServicerContext) -> pb.AddEntriesResponse:
        received = list(requests)
        self.calls.enter("AddEntries", received, context)
        count = sum(entry.HasField("digest") for request in received for entry in request.entries)
        return pb.AddEntriesResponse(entry_count=count - self.overlooks)

    def CommitDraft(self, request: pb.CommitDraftRequest, context: grpc.ServicerContext) -> pb.CommitDraftResponse:
        self.lose()
        self.calls.enter("CommitDraft", request, context)
        answer = pb.CommitDraftResponse()
        answer.version.name = "teams/t/projects/default/collections/digits/versions/v0"
        return answer

    def AbortDraft(self, request: pb.AbortDraftRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("AbortDraft", request, context)
        return draft_pb2.Draft(name=request.name)

    def StreamEntries(self, request: Any, context: grpc.ServicerContext) -> Iterator[pb.StreamEntriesResponse]:
        self.calls.enter("StreamEntries", request, context)
        yield from self.entries


class Blob(blob_rpc.BlobServiceServicer):
    """Chunks in memory. `plan` says how each chunk goes up, `damage` what becomes of bytes that are read."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.chunks: dict[bytes, bytes] = {}
        self.written: list[bytes] = []
        self.leases: set[str] = set()
        self.prepared: Callable[[], None] = lambda: None
        """What happens between the preparation of an upload and its answer."""
        self.average_chunk_bytes, self.pack_bytes = 1024, 1000
        self.staging_folder = ""
        self.staging_path: Callable[[bytes], str] = lambda sha256: f"{self.staging_folder}/{sha256.hex()}"
        self.upload_url: Callable[[bytes], str] | None = None
        self.download_url: Callable[[bytes], str] | None = None
        self.forget_sent = False
        self.completed: dict[bytes, bytes] = {}
        self.read: Callable[[list[blob_pb.ReadResponse]], list[blob_pb.ReadResponse]] = lambda messages: messages
        self.break_write_after: int | None = None
        self.sent = 0
        """Bytes that Read gave."""
        self.partial: dict[bytes, bytes] = {}
        self.newer = False
        """Whether its plans are of a kind that nobody here knows."""

    def GetCapabilities(self, request: Any, context: grpc.ServicerContext) -> blob_pb.Capabilities:
        self.calls.enter("GetCapabilities", request, context)
        return blob_pb.Capabilities(
            max_chunk_bytes=1 << 24,
            block_bytes=1000,
            max_batch_chunks=50,
            max_data_bytes=300,
            lease_seconds=3600,
            average_chunk_bytes=self.average_chunk_bytes,
            pack_bytes=self.pack_bytes,
            staging_folder=self.staging_folder,
        )

    def PrepareUpload(self, request: blob_pb.PrepareUploadRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("PrepareUpload", request, context)
        if request.lease and request.lease not in self.leases:
            fail(context, LeaseExpired("the lease ended"))
        lease = request.lease or f"teams/t/leases/{uuid4()}"
        self.leases.add(lease)
        answer = blob_pb.PrepareUploadResponse()
        answer.lease.name = lease
        for chunk in request.chunks:
            sha256, plan = chunk.digest.sha256, answer.plans.add()
            if self.newer:
                continue
            if sha256 in self.chunks:
                plan.present.SetInParent()
            elif self.upload_url is not None and not request.stream_only:
                plan.url.url = self.upload_url(sha256)
            elif self.staging_folder and request.staging_token == "token":
                plan.staged.path = self.staging_path(sha256)
            else:
                plan.stream.write_offset = len(self.partial.get(sha256, b""))
        self.prepared()
        return answer

    def Write(self, requests: Iterator[blob_pb.WriteRequest], context: grpc.ServicerContext) -> blob_pb.WriteResponse:
        first, sha256, size, data, count = True, b"", 0, b"", 0
        for message in requests:
            if first:
                self.calls.enter("Write", message, context)
                first = False
            if message.HasField("chunk"):
                sha256, size = message.chunk.digest.sha256, message.chunk.size_bytes
                data = self.partial.pop(sha256, b"")[: message.offset]
                assert len(data) == message.offset
            data += message.data
            self.written.append(message.data)
            if self.break_write_after is not None and sum(map(len, self.written)) >= self.break_write_after:
                self.break_write_after = None
                self.partial[sha256] = data
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            if len(data) == size:
                if hashlib.sha256(data).digest() != sha256:
                    fail(context, DigestMismatch("these are other bytes"))
                self.chunks[sha256] = data
                count += 1
        return blob_pb.WriteResponse(published_count=count)

    def CompleteUpload(self, request: blob_pb.CompleteUploadRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("CompleteUpload", request, context)
        if self.forget_sent:
            self.completed.clear()
            self.forget_sent = False
        answer = blob_pb.CompleteUploadResponse()
        for digest in request.digests:
            data = self.completed.pop(digest.sha256, None)
            staged = Path(self.staging_path(digest.sha256))
            if data is None and self.staging_folder and staged.exists():
                data = staged.read_bytes()
                staged.unlink()
            if data is None:
                answer.results.append(blob_pb.UPLOAD_RESULT_OBJECT_MISSING)
            elif hashlib.sha256(data).digest() != digest.sha256:
                answer.results.append(blob_pb.UPLOAD_RESULT_DIGEST_MISMATCH)
            else:
                self.chunks[digest.sha256] = data
                answer.results.append(blob_pb.UPLOAD_RESULT_PUBLISHED)
        return answer

    def PrepareDownload(self, request: blob_pb.PrepareDownloadRequest, context: grpc.ServicerContext) -> Any:
        self.calls.enter("PrepareDownload", request, context)
        answer = blob_pb.PrepareDownloadResponse()
        for digest in request.digests:
            data = self.chunks.get(digest.sha256)
            plan = answer.plans.add(size_bytes=len(data or b""))
            if self.newer:
                continue
            if data is None:
                plan.missing.SetInParent()
            elif self.download_url is not None and not request.stream_only:
                plan.url.url = self.download_url(digest.sha256)
            else:
                plan.stream.SetInParent()
        return answer

    def Read(self, request: blob_pb.ReadRequest, context: grpc.ServicerContext) -> Iterator[blob_pb.ReadResponse]:
        self.calls.enter("Read", request, context)
        messages = []
        for index, wanted in enumerate(request.ranges):
            data = self.chunks[wanted.digest.sha256][wanted.offset : wanted.offset + wanted.length]
            messages += [blob_pb.ReadResponse(range_index=index, data=data[at : at + 300]) for at in range(0, len(data), 300)]
        for message in self.read(messages):
            self.sent += len(message.data)
            yield message


class Wire:
    """The server, and a connection to it."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.metadata = Metadata(self.calls)
        self.blob = Blob(self.calls)
        self.lineage = Lineage(self.calls)
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        rpc.add_MetadataServiceServicer_to_server(self.metadata, self._server)
        blob_rpc.add_BlobServiceServicer_to_server(self.blob, self._server)
        lineage_rpc.add_LineageServiceServicer_to_server(self.lineage, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"grpc://127.0.0.1:{self.port}"

    def connection(self) -> Connection:
        return Connection(Config(self.url, "mk_key"))

    @contextmanager
    def connection_closing(self) -> Iterator[Connection]:
        """A connection for a while."""
        made = self.connection()
        try:
            yield made
        finally:
            made.close_channels()

    @contextmanager
    def running(self) -> Iterator[Wire]:
        self._server.start()
        try:
            yield self
        finally:
            self.metadata.hang.set()
            self._server.stop(None).wait()
