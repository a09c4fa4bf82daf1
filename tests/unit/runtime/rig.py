"""A real gRPC server with one small service on it, whose methods do what a test says, for tests of what is around a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as maintenance_pb
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as maintenance_rpc
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as rpc
from modelkeep_server.runtime import callers
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.metrics import Metrics
from modelkeep_server.runtime.server import Server, Service
from modelkeep_server.runtime.settings import RuntimeSettings
from modelkeep_server.runtime.tokens import Claims, Signer, Verifier

BLOB = "/modelkeep.api.blob.v1.BlobService/"
ACCESS = {f"{BLOB}{method.name}": Access.WRITE for method in pb.DESCRIPTOR.services_by_name["BlobService"].methods}
ACCESS |= {f"{BLOB}GetCapabilities": Access.ANY, f"{BLOB}Read": Access.READ, f"{BLOB}Stat": Access.ANONYMOUS}
UPKEEP = maintenance_pb.DESCRIPTOR.services_by_name["BlobMaintenanceService"]
MAINTENANCE = {f"/{UPKEEP.full_name}/{method.name}": Access.SERVICE for method in UPKEEP.methods}


def private_key_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def _nothing() -> None:
    pass


async def _pass() -> None:
    """What a method does unless a test says otherwise."""


@dataclass
class Rig(rpc.BlobServiceServicer, maintenance_rpc.BlobMaintenanceServiceServicer):
    """The service and its server. Each method notes its caller, then does `work`."""

    work: Callable[[], Awaitable[None]] = _pass
    check: Callable[[], Awaitable[None]] = _nothing
    callers: list[Caller] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    read_closed: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    signer: Signer = field(default_factory=lambda: Signer(private_key_pem()))
    server: Server = field(init=False)
    url: str = ""
    channel: Any = None

    async def start(self, **settings: Any) -> Rig:
        self.server = Server(
            RuntimeSettings(**{"listen": "127.0.0.1:0", **settings}), Verifier([self.signer.public_key_pem]), self.metrics
        )
        self.url = self.server.bind()
        self.server.mount(self.service("blob", rpc.add_BlobServiceServicer_to_server, ACCESS))
        self.server.mount(self.service("upkeep", maintenance_rpc.add_BlobMaintenanceServiceServicer_to_server, MAINTENANCE))
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(self.url.removeprefix("grpc://"))
        return self

    def service(self, name: str, add: Callable[..., None], access: dict[str, Access]) -> Service:
        return Service(name, [lambda server: add(self, server)], access, self._check, self._close)

    async def _check(self) -> None:
        await self.check()

    async def _close(self) -> None:
        self.closed = True

    @property
    def blob(self) -> rpc.BlobServiceStub:
        return rpc.BlobServiceStub(self.channel)

    @property
    def maintenance(self) -> maintenance_rpc.BlobMaintenanceServiceStub:
        return maintenance_rpc.BlobMaintenanceServiceStub(self.channel)

    def token(self, role: Role | None = Role.ADMIN, *, is_service: bool = False) -> tuple[tuple[str, str], ...]:
        claims = Claims("services/s", is_service=True) if is_service else Claims("teams/t/apiKeys/k", "t", role, ("u",))
        return (("authorization", f"Bearer {self.signer.sign(claims)}"),)

    async def stop(self) -> None:
        await self.channel.close()
        await self.server.drain()

    async def _work(self) -> None:
        self.callers.append(callers.current())
        try:
            await self.work()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def GetCapabilities(self, request: pb.GetCapabilitiesRequest, context: Any) -> pb.Capabilities:
        await self._work()
        return pb.Capabilities(block_bytes=7)

    async def Stat(self, request: pb.StatRequest, context: Any) -> pb.StatResponse:
        await self._work()
        return pb.StatResponse()

    async def PrepareUpload(self, request: pb.PrepareUploadRequest, context: Any) -> pb.PrepareUploadResponse:
        await self._work()
        return pb.PrepareUploadResponse()

    async def Write(self, request_iterator: AsyncIterator[pb.WriteRequest], context: Any) -> pb.WriteResponse:
        count = 0
        async for _request in request_iterator:
            count += 1
        await self._work()
        return pb.WriteResponse(published_count=count)

    async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
        try:
            for index in range(len(request.ranges) or 3):
                yield pb.ReadResponse(
                    range_index=index, data=b"x" * max(1, request.ranges[index].length if request.ranges else 1)
                )
        finally:
            self.read_closed.set()
        await self._work()

    async def ConfirmChunks(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in request_iterator:
            yield maintenance_pb.ConfirmChunksResponse(sizes_bytes=[request.epoch])
        await self._work()
