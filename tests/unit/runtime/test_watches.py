"""Calls that mostly wait: they leave the server its room for work, and end first when it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from modelkeep._status import from_rpc_error
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.errors import ServiceUnavailable
from modelkeep_server.runtime.server import Service

from tests.unit.runtime.rig import BLOB, Access, Rig


@dataclass
class Watched(Rig):
    """A server on which `Read` waits until it is hushed."""

    hushed: asyncio.Event = field(default_factory=asyncio.Event)

    def service(self, name: str, add: Callable[..., None], access: dict[str, Access]) -> Service:
        service = super().service(name, add, access)
        return replace(service, watches=frozenset({f"{BLOB}Read"}), hush=self.hushed.set) if name == "blob" else service

    async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
        yield pb.ReadResponse(data=b"now")
        await self.hushed.wait()
        raise ServiceUnavailable("the server stops")


async def watching(rig: Rig) -> Any:
    """A watch that got its first message."""
    watch = rig.blob.Read(pb.ReadRequest(), metadata=rig.token())
    assert (await watch.read()).data == b"now"
    return watch


async def test_watches_do_not_count_as_work() -> None:
    rig = await Watched().start(max_concurrent_calls=2)
    watches = [await watching(rig) for _ in range(10)]
    assert (await rig.blob.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=rig.token())).block_bytes == 7
    for watch in watches:
        watch.cancel()
    await rig.stop()


@pytest.mark.timeout(60)
async def test_watches_end_first_when_the_server_stops() -> None:
    """R11: a drain that waited for them would take its 600 s."""
    rig = await Watched().start(drain_seconds=600)
    watch = await watching(rig)
    draining = asyncio.create_task(rig.server.drain())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch.read()
    assert isinstance(from_rpc_error(caught.value), ServiceUnavailable)
    await draining
    assert rig.closed
    await rig.channel.close()
