"""Calls from one service to another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as rpc
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1 import blob_service_pb2_grpc as blob_rpc
from modelkeep.errors import ChunksMissing, DeadlineExceeded, PermissionDenied, ServiceUnavailable
from modelkeep_server.runtime import callers, channels
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.channels import Channels, PeerChannel, connect, signed_tokens
from modelkeep_server.runtime.tokens import Signer

from tests.unit.runtime.rig import Rig, private_key_pem


@pytest.fixture
async def peers(rig: Rig) -> AsyncIterator[Channels]:
    opened = Channels({"blob": rig.url}, signed_tokens(rig.signer, "metadata"), deadline_seconds=10)
    yield opened
    await opened.close()


async def forever() -> None:
    await asyncio.Event().wait()


async def confirm(peers: Channels, *epochs: int, **options: Any) -> list[int]:
    stub = rpc.BlobMaintenanceServiceStub(peers.to("blob"))
    requests = iter([pb.ConfirmChunksRequest(epoch=epoch) for epoch in epochs])
    return [answer.sizes_bytes[0] async for answer in stub.ConfirmChunks(requests, **options)]


async def test_calls_carry_the_services_own_token_and_the_id_of_the_call_being_served(rig: Rig, peers: Channels):
    callers.enter(Caller("teams/t/apiKeys/k", "t", request_id="from-outside"))
    assert await confirm(peers, 1, 2) == [1, 2]
    (caller,) = rig.callers
    assert (caller.actor, caller.is_service, caller.request_id) == ("services/metadata", True, "from-outside")


async def test_errors_are_the_classes_they_were(rig: Rig, peers: Channels):
    async def work() -> None:
        raise ChunksMissing("upload them", digests="sha256:ab")

    rig.work = work
    with pytest.raises(ChunksMissing) as caught:
        await confirm(peers, 1)
    assert caught.value.metadata == {"digests": "sha256:ab"}


async def test_every_kind_of_call_works(rig: Rig, peers: Channels):
    stub = blob_rpc.BlobServiceStub(peers.to("blob"))
    assert (await stub.GetCapabilities(blob_pb.GetCapabilitiesRequest())).block_bytes == 7
    assert len([answer async for answer in stub.Read(blob_pb.ReadRequest())]) == 3
    with pytest.raises((PermissionDenied, ServiceUnavailable)):  # a service token belongs to no team
        await stub.Write(iter([blob_pb.WriteRequest()]))


async def test_a_call_that_says_nothing_has_a_deadline(rig: Rig):
    rig.work = forever
    peers = Channels({"blob": rig.url}, signed_tokens(rig.signer, "metadata"), deadline_seconds=0.2)
    with pytest.raises(DeadlineExceeded):
        await blob_rpc.BlobServiceStub(peers.to("blob")).GetCapabilities(blob_pb.GetCapabilitiesRequest())
    await peers.close()


async def test_a_reader_that_stops_cancels_the_call(rig: Rig, peers: Channels):
    rig.work = forever
    answers = blob_rpc.BlobServiceStub(peers.to("blob")).Read(blob_pb.ReadRequest())
    assert (await anext(answers)).range_index == 0
    await answers.aclose()
    await asyncio.wait_for(rig.server._interceptor.idle(), 10)


async def test_a_reader_that_is_cancelled_as_the_headers_arrive_cancels_the_call(rig: Rig):
    """R12: grpc's own client would go on with it to its deadline."""
    rig.work = forever

    def early(request: Any, **options: Any) -> Any:
        call = rig.blob.Read(request, **options)
        call._preparation.add_done_callback(lambda _: reading.cancel())
        return call

    async def read() -> None:
        channel = PeerChannel(rig.channel, "blob", signed_tokens(rig.signer, "metadata"), 1000)
        _ = [answer async for answer in channel._many(early)(blob_pb.ReadRequest())]

    reading = asyncio.create_task(read())
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(rig.server._interceptor.idle(), 60)


async def test_a_refused_service_token_is_not_the_callers_fault(rig: Rig):
    """The user's own token is good: UNAUTHENTICATED would send the SDK looking for another one."""
    peers = Channels({"blob": rig.url}, signed_tokens(Signer(private_key_pem()), "metadata"))
    with pytest.raises(ServiceUnavailable, match="public keys"):
        await blob_rpc.BlobServiceStub(peers.to("blob")).GetCapabilities(blob_pb.GetCapabilitiesRequest())
    await peers.close()


async def test_nobody_there_is_unavailable():
    peers = Channels({"blob": "grpc://127.0.0.1:1"}, signed_tokens(Signer(private_key_pem()), "metadata"))
    with pytest.raises(ServiceUnavailable):
        await blob_rpc.BlobServiceStub(peers.to("blob")).GetCapabilities(blob_pb.GetCapabilitiesRequest())
    await peers.close()


async def test_a_token_is_drawn_once_for_calls_at_once_and_renewed_before_its_end(monkeypatch):
    drawn, now = [], [1000.0]

    async def renew() -> tuple[str, float]:
        drawn.append(len(drawn))
        await asyncio.sleep(0)
        return f"token {len(drawn)}", 60

    monkeypatch.setattr(channels.time, "monotonic", lambda: now[0])
    tokens = channels._Renewed(renew)
    assert await asyncio.gather(*(tokens() for _ in range(5))) == ["token 1"] * 5
    now[0] += 39
    assert await tokens() == "token 1"
    now[0] += 2
    assert await tokens() == "token 2"


@pytest.mark.parametrize("url", ["127.0.0.1:7460", "http://host:1", "grpc://", "grpc:host:1", ""])
def test_what_is_no_url_of_a_service_is_refused(url: str):
    with pytest.raises(ValueError, match="grpc://host:port"):
        connect(url)
