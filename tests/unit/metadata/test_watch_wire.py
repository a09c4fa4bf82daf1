"""WatchAlias as gRPC carries it: who goes away is forgotten, a token may end, a server stops without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from modelkeep._status import from_rpc_error
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc
from modelkeep.errors import AccessTokenInvalid, ServiceUnavailable
from modelkeep_server.database.clock import Clock
from modelkeep_server.metadata.module import build, create_key, migrate
from modelkeep_server.metadata.settings import MetadataSettings
from modelkeep_server.runtime.callers import Role
from modelkeep_server.runtime.channels import Channels
from modelkeep_server.runtime.metrics import Metrics
from modelkeep_server.runtime.server import Server
from modelkeep_server.runtime.settings import RuntimeSettings
from modelkeep_server.runtime.tokens import Claims, Signer, Verifier
from modelkeep_server.runtime.wiring import Wiring

PRIVATE = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
COLLECTION = "teams/acme/projects/p/collections/c"
CLAIMS = Claims("teams/acme/apiKeys/k", "acme", Role.ADMIN)
SECONDS = 60
Metadata = tuple[tuple[str, str], ...]


async def no_token() -> str:
    raise AssertionError("nobody is called")


def token(lifetime_seconds: int = 60) -> Metadata:
    return (("authorization", f"Bearer {Signer(PRIVATE, lifetime_seconds=lifetime_seconds).sign(CLAIMS)}"),)


class Served:
    """The metadata service on a real server, whose drain would take ten minutes if anybody made it wait."""

    def __init__(self, folder: Path) -> None:
        self.settings = MetadataSettings(database_url=f"sqlite:///{folder}/metadata.sqlite", max_watches=200)
        runtime = RuntimeSettings(listen="127.0.0.1:0", drain_seconds=600, max_concurrent_calls=5)
        self.server = Server(runtime, Verifier([Signer(PRIVATE).public_key_pem]), Metrics())

    async def start(self) -> None:
        await migrate(self.settings)
        await create_key(self.settings, "acme")
        self.channels = Channels({"blob": "grpc://127.0.0.1:1"}, no_token)
        service = await build(self.settings, Wiring(self.channels, Clock(), Signer(PRIVATE)))
        self.watching: Callable[[], float] = service.gauges["watches"]
        self.url = self.server.bind().removeprefix("grpc://")
        self.server.mount(service)
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(self.url)
        self.stub = rpc.MetadataServiceStub(self.channel)
        request = pb.CreateCollectionRequest(parent="teams/acme/projects/p", collection_id="c", request_id=UUID)
        request.collection.type = "model"
        await self.stub.CreateCollection(request, metadata=token())

    async def watch(self, metadata: Metadata = ()) -> grpc.aio.UnaryStreamCall[pb.WatchAliasRequest, pb.WatchAliasResponse]:
        """A watch that got its first state."""
        request = pb.WatchAliasRequest(name=f"{COLLECTION}/aliases/latest")
        call = self.stub.WatchAlias(request, metadata=metadata or token())
        assert (await call.read()).HasField("alias")
        return call

    async def stop(self) -> None:
        await self.channel.close()
        await self.server.drain()
        await self.channels.close()


UUID = "0b9c4f0e-3d5b-4c8a-9d0e-0123456789ab"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not what():
            await asyncio.sleep(0.01)


async def test_who_goes_away_is_forgotten(served: Served) -> None:
    """R12: a cancelled call stops the work; whether the client says so, or its connection breaks."""
    calls = [await served.watch() for _ in range(20)]
    assert served.watching() == 20
    for call in calls[:10]:
        call.cancel()
    await until(lambda: served.watching() == 10)
    await served.channel.close()
    await until(lambda: served.watching() == 0)


async def test_nodes_leave_room_for_calls(served: Served) -> None:
    calls = [await served.watch() for _ in range(20)]
    assert (await served.stub.GetTeam(pb.GetTeamRequest(name="teams/acme"), metadata=token())).name == "teams/acme"
    for call in calls:
        call.cancel()


async def test_a_stream_outlives_its_token(served: Served) -> None:
    """DESIGN §1: a token is looked at when a call begins; an open stream ends at its own limit."""
    short = token(3)  # it is short of up to a second, as its end is one of whole seconds
    watch = await served.watch(short)

    async def refused() -> bool:
        try:
            await served.stub.GetTeam(pb.GetTeamRequest(name="teams/acme"), metadata=short)
        except grpc.aio.AioRpcError as failed:
            return isinstance(from_rpc_error(failed), AccessTokenInvalid)
        return False

    async with asyncio.timeout(SECONDS):
        while not await refused():
            await asyncio.sleep(0.1)
    renamed = pb.RenameCollectionRequest(name=COLLECTION, new_collection_id="d", request_id=UUID)
    await served.stub.RenameCollection(renamed, metadata=token())
    with pytest.raises(grpc.aio.AioRpcError, match=r"there are: d"):  # the stream heard of it
        await watch.read()


@pytest.mark.timeout(120)
async def test_a_server_that_stops_ends_them_first(served: Served) -> None:
    """R11."""
    calls = [await served.watch() for _ in range(20)]
    draining = asyncio.create_task(served.server.drain())
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert isinstance(from_rpc_error(caught.value), ServiceUnavailable)
    await draining
