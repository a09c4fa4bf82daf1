"""A small server whose alias moves when a test says so, and which lies when a test wants it to."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from modelkeep import _signature
from modelkeep._channel import Connection
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.api.metadata.v1 import entry_pb2, signature_pb2, version_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.config import Config
from modelkeep.digest import Digest
from modelkeep.errors import ModelkeepError
from modelkeep.manifest import Entry, ManifestHasher

from tests.unit.sdk.wire import Blob, Calls, Metadata, fail

COLLECTION = "teams/t/projects/default/collections/m"
Files = dict[str, bytes]


def forget_contact(root: Path) -> None:
    """Let a node that has ended have heard of its server long ago."""
    state = json.loads((root / "follow.json").read_text())
    (root / "follow.json").write_text(json.dumps(state | {"last_contact": "2020-01-01T00:00:00Z"}))


class WatchedMetadata(Metadata):
    """Versions by number, and streams that say what a test puts into them."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self.manifests: dict[str, list[entry_pb2.Entry]] = {}
        self.signatures: dict[str, list[signature_pb2.Signature]] = {}
        self.say: queue.Queue[pb.WatchAliasResponse | ModelkeepError | None] = queue.Queue()
        self.streams = 0
        self.ended = 0
        """Streams that the client gave up."""
        self.open = 0
        """Streams that somebody hears, as far as is known here: each may take what is said next."""

    def WatchAlias(self, request: pb.WatchAliasRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchAliasResponse]:
        self.calls.enter("WatchAlias", request, context)
        self.streams += 1
        gone = [False]

        def left() -> None:
            gone[0] = True
            self.open -= 1

        self.open += 1
        if not context.add_callback(left):
            left()
        while True:
            try:
                said = self.say.get(timeout=0.05)
            except queue.Empty:
                if gone[0]:
                    self.ended += 1
                    return
                continue
            if gone[0]:
                self.say.put(said)  # the stream after this one says it
                self.ended += 1
                return
            if said is None:
                return
            if isinstance(said, ModelkeepError):
                fail(context, said)
            yield said

    def StreamEntries(self, request: Any, context: grpc.ServicerContext) -> Iterator[pb.StreamEntriesResponse]:
        self.calls.enter("StreamEntries", request, context)
        prefix = request.prefix
        entries = self.manifests[request.parent]
        part = [e for e in entries if not prefix or e.path == prefix or e.path.startswith(f"{prefix}/")]
        yield pb.StreamEntriesResponse(entries=part)

    def ListSignatures(self, request: Any, context: grpc.ServicerContext) -> pb.ListSignaturesResponse:
        self.calls.enter("ListSignatures", request, context)
        return pb.ListSignaturesResponse(signatures=self.signatures.get(request.parent, []))


class WatchedWire:
    """The server, and what a test does with it."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.metadata = WatchedMetadata(self.calls)
        self.blob = Blob(self.calls)
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        rpc.add_MetadataServiceServicer_to_server(self.metadata, self._server)
        blob_rpc.add_BlobServiceServicer_to_server(self.blob, self._server)
        self.config = Config(f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}", "mk_key")

    @contextmanager
    def running(self) -> Iterator[WatchedWire]:
        self._server.start()
        try:
            yield self
        finally:
            self._server.stop(None).wait()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def connection(self) -> Connection:
        return Connection(self.config)

    def version(self, number: int, files: Files) -> version_pb2.Version:
        """Keep a version of these files, each one chunk."""
        name = f"{COLLECTION}/versions/v{number}"
        entries = [self.entry(path, data, data) for path, data in sorted(files.items())]
        self.metadata.manifests[name] = entries
        message = version_pb2.Version(name=name, uid=f"uid-{number}", digest=digest_of(files), type="model", metadata_json="{}")
        message.state = version_pb2.VERSION_STATE_COMMITTED
        for field in ("create_time", "update_time"):
            getattr(message, field).GetCurrentTime()
        return message

    def entry(self, path: str, data: bytes, chunk: bytes) -> entry_pb2.Entry:
        """A file that is said to be `data`, and whose bytes are those of `chunk`."""
        sha256 = Digest.of(chunk).sha256
        self.blob.chunks[sha256] = chunk
        entry = entry_pb2.Entry(path=path, size_bytes=len(data))
        entry.digest.sha256 = Digest.of(data).sha256
        entry.segments.add(length=len(chunk)).chunk.sha256 = sha256
        return entry

    def sign(self, version: version_pb2.Version, key: Ed25519PrivateKey) -> None:
        """Keep a signature of a version."""
        raw, value = _signature.sign(key, version.digest)
        signature = signature_pb2.Signature(name=f"{version.name}/signatures/{_signature.key_id(raw)}")
        signature.algorithm, signature.public_key, signature.value = 1, raw, value  # type: ignore[assignment]
        self.metadata.signatures.setdefault(version.name, []).append(signature)

    def move(self, seq: int, version: version_pb2.Version | None, alias: str = "production") -> None:
        """Say that the alias points there."""
        response = pb.WatchAliasResponse()
        response.alias.name, response.alias.seq = f"{COLLECTION}/aliases/{alias}", seq
        if version is not None:
            response.alias.version = version.name
            response.version.CopyFrom(version)
        self.metadata.say.put(response)

    def heartbeat(self) -> None:
        """Say that nothing is new."""
        self.metadata.say.put(pb.WatchAliasResponse())


def digest_of(files: Files) -> str:
    """The version digest of these files."""
    hasher = ManifestHasher()
    for path, data in sorted(files.items()):
        hasher.add(Entry(path, Digest.of(data), len(data), False, ()))
    return str(hasher.digest())
