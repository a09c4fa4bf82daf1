"""Log a file and fetch it again with the generated stubs alone: all that a client in another language has to do.

python stubs_only.py model.bin stubs        with MODELKEEP_URL=grpc://host:port and MODELKEEP_API_KEY set
"""

import hashlib
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import urllib3
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.blob.v1 import digest_pb2
from modelkeep.api.metadata.v1 import entry_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc

SECONDS = 60
Headers = tuple[tuple[str, str], ...]


def channel(url: str) -> grpc.Channel:
    return grpc.insecure_channel(url.removeprefix("grpc://"))


def pieces(path: Path, block_bytes: int) -> list[bytes]:
    """The blocks of the file; a real client would not keep them all in memory."""
    with path.open("rb") as file:
        return list(iter(lambda: file.read(block_bytes), b""))


def chunk_of(data: bytes) -> digest_pb2.Chunk:
    return digest_pb2.Chunk(digest=digest_pb2.Digest(sha256=hashlib.sha256(data).digest()), size_bytes=len(data))


def write_messages(lease: str, data: list[bytes], most_bytes: int) -> Iterator[blob_pb.WriteRequest]:
    for number, block in enumerate(data):
        message = blob_pb.WriteRequest(lease=lease if number == 0 else "", chunk=chunk_of(block))
        for begin in range(0, len(block), most_bytes):
            message.data = block[begin : begin + most_bytes]
            yield message
            message = blob_pb.WriteRequest()


def upload(blob: blob_rpc.BlobServiceStub, headers: Headers, team: str, data: list[bytes]) -> int:
    """Make sure that the server has all blocks; answers how many it did not have. (In batches, for a large file.)"""
    limits = blob.GetCapabilities(blob_pb.GetCapabilitiesRequest(), timeout=SECONDS, metadata=headers)
    request = blob_pb.PrepareUploadRequest(parent=team, chunks=[chunk_of(block) for block in data])
    prepared = blob.PrepareUpload(request, timeout=SECONDS, metadata=headers)
    lease = prepared.lease.name
    plans = list(zip(data, prepared.plans, strict=True))

    to_urls = [(block, plan.url.url) for block, plan in plans if plan.WhichOneof("action") == "url"]
    for block, url in to_urls:
        urllib3.request("PUT", url, body=block, timeout=SECONDS)
    if to_urls:
        complete = blob_pb.CompleteUploadRequest(lease=lease, digests=[chunk_of(block).digest for block, _ in to_urls])
        results = blob.CompleteUpload(complete, timeout=SECONDS, metadata=headers).results
        assert set(results) == {blob_pb.UPLOAD_RESULT_PUBLISHED}, results

    to_stream = [block for block, plan in plans if plan.WhichOneof("action") == "stream"]
    if to_stream:
        blob.Write(write_messages(lease, to_stream, limits.max_data_bytes), timeout=SECONDS, metadata=headers)
    return len(to_urls) + len(to_stream)


def log(
    metadata: rpc.MetadataServiceStub, headers: Headers, collection: str, path: Path, data: list[bytes]
) -> pb.CommitDraftResponse:
    """Open a draft, give it the one entry, and make it a version."""
    request = pb.CreateDraftRequest(parent=collection.partition("/collections/")[0], request_id=str(uuid.uuid4()))
    request.draft.collection, request.draft.type = collection, "model"
    draft = metadata.CreateDraft(request, timeout=SECONDS, metadata=headers).name

    entry = entry_pb2.Entry(path=path.name, size_bytes=sum(map(len, data)))
    entry.digest.sha256 = hashlib.sha256(b"".join(data)).digest()
    for block in data:
        entry.segments.add(chunk=chunk_of(block).digest, length=len(block))
    metadata.AddEntries(iter([pb.AddEntriesRequest(draft=draft, entries=[entry])]), timeout=SECONDS, metadata=headers)

    commit = pb.CommitDraftRequest(name=draft, aliases=["best"], metadata_json='{"made_with": "stubs alone"}')
    return metadata.CommitDraft(commit, timeout=SECONDS, metadata=headers)


def fetch(
    metadata: rpc.MetadataServiceStub, blob: blob_rpc.BlobServiceStub, headers: Headers, project: str, address: str
) -> dict[str, bytes]:
    """The files of the version at an address, each of them checked."""
    version = metadata.Resolve(pb.ResolveRequest(parent=project, address=address), timeout=SECONDS, metadata=headers)
    stream = metadata.StreamEntries(pb.StreamEntriesRequest(parent=version.name), timeout=SECONDS, metadata=headers)
    team = "/".join(version.name.split("/")[:2])
    files: dict[str, bytes] = {}
    digests: dict[str, bytes] = {}
    for entry in (entry for message in stream for entry in message.entries):
        ranges = [blob_pb.ReadRange(digest=s.chunk, offset=s.offset, length=s.length) for s in entry.segments]
        content = b""
        if ranges:  # PrepareDownload would give URLs; Read works everywhere
            read = blob.Read(blob_pb.ReadRequest(parent=team, ranges=ranges), timeout=SECONDS, metadata=headers)
            content = b"".join(message.data for message in read)
        files[entry.path] = files.get(entry.path, b"") + content
        digests.setdefault(entry.path, entry.digest.sha256)  # a long entry goes on in further messages, without a digest
    for path, content in files.items():
        assert hashlib.sha256(content).digest() == digests[path], f"{path} came back changed"
    return files


def main(file: str, name: str) -> None:
    path, url = Path(file), os.environ["MODELKEEP_URL"]
    with channel(url) as main_channel, channel(os.environ.get("MODELKEEP_BLOB_URL", url)) as blob_channel:
        metadata, blob = rpc.MetadataServiceStub(main_channel), blob_rpc.BlobServiceStub(blob_channel)
        key = pb.ExchangeApiKeyRequest(secret=os.environ["MODELKEEP_API_KEY"])
        token = metadata.ExchangeApiKey(key, timeout=SECONDS)
        headers = (("authorization", f"Bearer {token.access_token}"),)
        project = f"{token.team}/projects/{os.environ.get('MODELKEEP_PROJECT', 'default')}"

        limits = blob.GetCapabilities(blob_pb.GetCapabilitiesRequest(), timeout=SECONDS, metadata=headers)
        data = pieces(path, limits.block_bytes)
        sent = upload(blob, headers, token.team, data)
        answer = log(metadata, headers, f"{project}/collections/{name}", path, data)
        what = "was there already" if answer.deduplicated else "logged"
        print(f"{answer.version.name} {what}, {sent} of {len(data)} chunks sent")

        fetched = fetch(metadata, blob, headers, project, f"{name}:best")
        assert fetched == {path.name: b"".join(data)}, "the file came back changed"
        print(f"fetched {name}:best again, byte for byte: {answer.version.digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
