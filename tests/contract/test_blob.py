"""The blob service as its contract says it, through generated stubs alone, in every topology."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as maintenance_pb
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as rpc
from modelkeep.api.blob.v1 import digest_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as metadata_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as metadata_rpc

from tests.suites import Suite

MIB = 1 << 20


def channel_to(url: str) -> grpc.Channel:
    return grpc.insecure_channel(url.removeprefix("grpc://"))


@dataclass
class Blob:
    """A client of one team."""

    team: str
    stub: rpc.BlobServiceStub
    maintenance: maintenance_rpc.BlobMaintenanceServiceStub
    auth: tuple[tuple[str, str], ...]

    def prepare(self, *datas: bytes, lease: str = "", stream_only: bool = False) -> pb.PrepareUploadResponse:
        request = pb.PrepareUploadRequest(
            parent=self.team, lease=lease, chunks=[chunk_of(data) for data in datas], stream_only=stream_only
        )
        return self.stub.PrepareUpload(request, metadata=self.auth, timeout=60)

    def write(self, requests: list[pb.WriteRequest]) -> int:
        return self.stub.Write(iter(requests), metadata=self.auth, timeout=60).published_count

    def upload(self, *datas: bytes) -> str:
        """Whatever way the server wants it."""
        prepared = self.prepare(*datas)
        lease = prepared.lease.name
        sent: list[digest_pb2.Digest] = []
        for plan, data in zip(prepared.plans, datas, strict=True):
            if plan.WhichOneof("action") == "url":
                request = urllib.request.Request(plan.url.url, data=data, method="PUT")
                urllib.request.urlopen(request, timeout=30).close()
                sent.append(chunk_of(data).digest)
            elif plan.WhichOneof("action") == "stream":
                assert self.write(messages(lease, data)) == 1
        completed = self.stub.CompleteUpload(
            pb.CompleteUploadRequest(lease=lease, digests=sent), metadata=self.auth, timeout=60
        )
        assert {*completed.results} <= {pb.UPLOAD_RESULT_PUBLISHED}
        return lease

    def read(self, *ranges: pb.ReadRange) -> list[pb.ReadResponse]:
        return list(self.stub.Read(pb.ReadRequest(parent=self.team, ranges=ranges), metadata=self.auth, timeout=60))

    def stat(self, *datas: bytes) -> list[tuple[bool, int]]:
        digests = [chunk_of(data).digest for data in datas]
        answer = self.stub.Stat(pb.StatRequest(parent=self.team, digests=digests), metadata=self.auth, timeout=60)
        return [(stat.present, stat.size_bytes) for stat in answer.stats]


def chunk_of(data: bytes) -> digest_pb2.Chunk:
    return digest_pb2.Chunk(digest=digest_pb2.Digest(sha256=hashlib.sha256(data).digest()), size_bytes=len(data))


def messages(lease: str, *datas: bytes) -> list[pb.WriteRequest]:
    found = []
    for data in datas:
        for start in range(0, len(data), MIB):
            begins = {"chunk": chunk_of(data)} if start == 0 else {}
            found.append(pb.WriteRequest(lease="" if found else lease, data=data[start : start + MIB], **begins))
    return found


def reason_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """The code and the reason that a call failed with."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]  # type: ignore[attr-defined]
    for detail in status_pb2.Status.FromString(details).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return error.code(), info.reason  # type: ignore[attr-defined]
    raise AssertionError("the status has no ErrorInfo")


def connected(suite: Suite, key: str) -> Iterator[Blob]:
    with channel_to(suite.url) as metadata, channel_to(suite.blob_url or suite.url) as blob:
        exchange = metadata_rpc.MetadataServiceStub(metadata).ExchangeApiKey
        token = exchange(metadata_pb.ExchangeApiKeyRequest(secret=key), timeout=60)
        auth = (("authorization", f"Bearer {token.access_token}"),)
        yield Blob(token.team, rpc.BlobServiceStub(blob), maintenance_rpc.BlobMaintenanceServiceStub(blob), auth)


@pytest.fixture
def blob(suite: Suite) -> Iterator[Blob]:
    yield from connected(suite, suite.api_key)


@pytest.fixture
def other(suite: Suite) -> Iterator[Blob]:
    yield from connected(suite, suite.key("blue-team", "write"))


@pytest.fixture
def reader(suite: Suite) -> Iterator[Blob]:
    yield from connected(suite, suite.key(role="read"))


@pytest.fixture
def data() -> bytes:
    return uuid4().bytes * 100


def test_capabilities(blob: Blob) -> None:
    capabilities = blob.stub.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=blob.auth, timeout=60)
    assert capabilities.max_chunk_bytes == 16 * MIB
    assert (capabilities.max_batch_chunks, capabilities.max_data_bytes) == (1000, MIB)
    assert capabilities.lease_seconds == 3600
    assert 64 << 10 <= capabilities.average_chunk_bytes <= 4 * MIB
    assert 64 << 10 <= capabilities.block_bytes <= 16 * MIB
    assert 0 <= capabilities.pack_bytes <= 16 * MIB


def test_up_and_down(blob: Blob, data: bytes) -> None:
    large = os.urandom(5 * MIB // 2)
    blob.upload(data, large)
    assert blob.stat(data, large, b"?") == [(True, len(data)), (True, len(large)), (False, 0)]
    [first, *rest] = blob.read(pb.ReadRange(digest=chunk_of(data).digest), pb.ReadRange(digest=chunk_of(large).digest))
    assert (first.range_index, first.data) == (0, data)
    assert {one.range_index for one in rest} == {1}
    assert b"".join(one.data for one in rest) == large
    [part] = blob.read(pb.ReadRange(digest=chunk_of(large).digest, offset=MIB - 2, length=4))
    assert part.data == large[MIB - 2 : MIB + 2]
    assert [plan.WhichOneof("action") for plan in blob.prepare(data, large).plans] == ["present", "present"]


def test_down_by_url_where_the_store_has_one(blob: Blob, data: bytes) -> None:
    blob.upload(data)
    digests = [chunk_of(data).digest, chunk_of(b"?").digest]
    request = pb.PrepareDownloadRequest(parent=blob.team, digests=digests)
    plan, missing = blob.stub.PrepareDownload(request, metadata=blob.auth, timeout=60).plans
    assert (missing.WhichOneof("source"), missing.size_bytes, plan.size_bytes) == ("missing", 0, len(data))
    if plan.WhichOneof("source") == "url":
        with urllib.request.urlopen(plan.url.url, timeout=30) as response:
            assert response.read() == data
    request.stream_only = True
    plan, _ = blob.stub.PrepareDownload(request, metadata=blob.auth, timeout=60).plans
    assert plan.WhichOneof("source") == "stream"


def test_a_broken_stream_is_resumed(blob: Blob) -> None:
    data = os.urandom(3 * MIB)
    prepared = blob.prepare(data, stream_only=True)
    lease = prepared.lease.name

    def breaks() -> Iterator[pb.WriteRequest]:
        yield from messages(lease, data)[:2]
        raise RuntimeError("the client dies")

    with pytest.raises(grpc.RpcError):
        blob.stub.Write(breaks(), metadata=blob.auth, timeout=60)
    [plan] = blob.prepare(data, lease=lease, stream_only=True).plans
    offset = plan.stream.write_offset
    assert offset % MIB == 0
    rest = [pb.WriteRequest(data=data[start : start + MIB]) for start in range(offset, len(data), MIB)]
    begin = pb.WriteRequest(lease=lease, chunk=chunk_of(data), offset=offset)
    assert blob.write([begin, *rest]) == 1
    assert blob.stat(data) == [(True, len(data))]


def test_sem_22_teams_do_not_see_each_other(blob: Blob, other: Blob, data: bytes) -> None:
    blob.upload(data)
    assert other.stat(data) == [(False, 0)]
    [plan] = other.prepare(data).plans
    assert plan.WhichOneof("action") != "present"
    with pytest.raises(grpc.RpcError) as failure:
        other.read(pb.ReadRange(digest=chunk_of(data).digest))
    assert reason_of(failure.value) == (grpc.StatusCode.NOT_FOUND, "CHUNK_NOT_FOUND")


def test_what_a_reader_may(blob: Blob, reader: Blob, data: bytes) -> None:
    lease = blob.upload(data)
    assert reader.stat(data) == [(True, len(data))]
    for call in (
        lambda: reader.prepare(data),
        lambda: reader.write(messages(lease, data)),
        lambda: reader.stub.RenewLease(pb.RenewLeaseRequest(name=lease), metadata=reader.auth, timeout=60),
        lambda: reader.stub.CompleteUpload(pb.CompleteUploadRequest(lease=lease), metadata=reader.auth, timeout=60),
    ):
        with pytest.raises(grpc.RpcError) as failure:
            call()
        assert reason_of(failure.value) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


def test_only_services_confirm(blob: Blob, data: bytes) -> None:
    request = maintenance_pb.ConfirmChunksRequest(parent=blob.team, epoch=1, digests=[chunk_of(data).digest])
    with pytest.raises(grpc.RpcError) as failure:
        list(blob.maintenance.ConfirmChunks(iter([request]), metadata=blob.auth, timeout=60))
    assert reason_of(failure.value) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


def test_only_services_adopt(blob: Blob, other: Blob, data: bytes) -> None:
    blob.upload(data)
    request = maintenance_pb.AdoptChunksRequest(parent=other.team, source=blob.team, epoch=1, digests=[chunk_of(data).digest])
    for who in (blob, other):
        with pytest.raises(grpc.RpcError) as failure:
            list(who.maintenance.AdoptChunks(iter([request]), metadata=who.auth, timeout=60))
        assert reason_of(failure.value) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert other.stat(data) == [(False, 0)]


def staging_token(folder: str) -> str:
    """What a client of the same host and user reads; empty where there is no folder."""
    return (Path(folder) / "token").read_text() if folder else ""


def test_chunks_are_left_in_the_staging_folder(blob: Blob, data: bytes) -> None:
    """Where the server offers one, no byte of a chunk goes through gRPC; elsewhere a token changes nothing."""
    folder = blob.stub.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=blob.auth, timeout=60).staging_folder
    datas = [data, os.urandom(3 * MIB), b"wrong" + data]
    request = pb.PrepareUploadRequest(
        parent=blob.team, chunks=[chunk_of(one) for one in datas], staging_token=staging_token(folder) or "some token"
    )
    prepared = blob.stub.PrepareUpload(request, metadata=blob.auth, timeout=60)
    assert {plan.WhichOneof("action") for plan in prepared.plans} == {"staged" if folder else "url"}
    if not folder:
        return
    for plan, content in zip(prepared.plans, [*datas[:2], datas[2][::-1]], strict=True):
        assert Path(plan.staged.path).parent == Path(folder)
        Path(plan.staged.path).write_bytes(content)
    complete = pb.CompleteUploadRequest(lease=prepared.lease.name, digests=[chunk.digest for chunk in request.chunks])
    assert complete.ByteSize() < 1000
    results = blob.stub.CompleteUpload(complete, metadata=blob.auth, timeout=60).results
    assert list(results) == [pb.UPLOAD_RESULT_PUBLISHED] * 2 + [pb.UPLOAD_RESULT_DIGEST_MISMATCH]
    assert blob.stat(*datas) == [(True, len(data)), (True, 3 * MIB), (False, 0)]
    request.staging_token = "wrong"
    request.stream_only = True
    [plan] = blob.stub.PrepareUpload(request, metadata=blob.auth, timeout=60).plans[2:]
    assert plan.WhichOneof("action") == "stream"


def test_bad_input_is_refused_with_its_reason(blob: Blob, data: bytes) -> None:
    prepared = blob.prepare(data, stream_only=True)
    lease = prepared.lease.name
    wrong = pb.WriteRequest(lease=lease, chunk=chunk_of(data), data=data[::-1])
    unknown = f"{blob.team}/leases/{uuid4()}"
    cases = {
        "DIGEST_MISMATCH": lambda: blob.write([wrong]),
        "SIZE_MISMATCH": lambda: blob.write([pb.WriteRequest(lease=lease, chunk=chunk_of(data), data=data + b"!")]),
        "GRANT_EXPIRED": lambda: blob.write(messages(lease, b"never prepared" + data)),
        "LEASE_NOT_FOUND": lambda: blob.prepare(data, lease=unknown),
        "INVALID_NAME": lambda: blob.prepare(data, lease="teams/x"),
        "LIMIT_EXCEEDED": lambda: blob.write([pb.WriteRequest(lease=lease, chunk=chunk_of(data), data=bytes(MIB + 1))]),
        "INVALID_ARGUMENT": lambda: blob.write([]),
        "RANGE_INVALID": lambda: blob.read(pb.ReadRange(digest=chunk_of(data).digest, offset=len(data))),
    }
    blob.upload(data)
    for reason, call in cases.items():
        with pytest.raises(grpc.RpcError) as failure:
            call()
        assert reason_of(failure.value)[1] == reason
    assert blob.stat(data) == [(True, len(data))]


def test_a_lease_is_renewed(blob: Blob) -> None:
    lease = blob.prepare().lease
    renewed = blob.stub.RenewLease(pb.RenewLeaseRequest(name=lease.name), metadata=blob.auth, timeout=60)
    assert renewed.name == lease.name
    assert renewed.expire_time.ToNanoseconds() >= lease.expire_time.ToNanoseconds()
