"""The door to blob, over a real connection: `ConfirmChunks` in batches (RELIABILITY §2.4)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc.aio
import pytest
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as rpc
from modelkeep.digest import Digest
from modelkeep.errors import InvalidEntry, ServiceUnavailable
from modelkeep_server.metadata.peers import BATCHES_UNDER_WAY, BlobChunks
from modelkeep_server.runtime.channels import PeerChannel, connect


class Blob(rpc.BlobMaintenanceServiceServicer):
    """Answers that a chunk has as many bytes as its digest's first byte says; 255 is missing."""

    def __init__(self) -> None:
        self.requests: list[pb.ConfirmChunksRequest] = []
        self.adopted: list[pb.AdoptChunksRequest] = []
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.fail_after = 1 << 30
        self.ended = asyncio.Event()

    async def ConfirmChunks(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.ConfirmChunksResponse]:
        try:
            async for request in request_iterator:
                self.requests.append(request)
                await self.let_go.wait()
                if len(self.requests) > self.fail_after:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the index is away")
                sizes = [digest.sha256[0] if digest.sha256[0] < 255 else -1 for digest in request.digests]
                yield pb.ConfirmChunksResponse(sizes_bytes=sizes)
        finally:
            self.ended.set()

    async def AdoptChunks(self, request_iterator: Any, _context: Any) -> AsyncIterator[pb.AdoptChunksResponse]:
        async for request in request_iterator:
            self.adopted.append(request)
            yield pb.AdoptChunksResponse(sizes_bytes=[digest.sha256[0] for digest in request.digests])


@pytest.fixture
async def blob() -> Blob:
    return Blob()


@pytest.fixture
async def chunks(blob: Blob) -> AsyncIterator[BlobChunks]:
    server = grpc.aio.server()
    rpc.add_BlobMaintenanceServiceServicer_to_server(blob, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def token() -> str:
        return "token"

    channel = PeerChannel(connect(f"grpc://127.0.0.1:{port}"), "blob", token, 30)
    yield BlobChunks(channel)
    await channel.close()
    await server.stop(None)


def digest(size: int) -> Digest:
    return Digest(bytes([size]) * 32)


async def batches(*some: Sequence[int]) -> AsyncIterator[Sequence[Digest]]:
    for batch in some:
        yield [digest(size) for size in batch]


async def collected(answers: AsyncGenerator[Sequence[int]]) -> list[list[int]]:
    return [list(sizes) async for sizes in answers]


async def test_each_batch_is_answered_in_its_order(chunks: BlobChunks, blob: Blob) -> None:
    some = [[1, 2, 255], [3], [4, 5]] * 10
    answers = await collected(chunks.confirm("acme", 7, batches(*some)))
    assert answers == [[size if size < 255 else -1 for size in batch] for batch in some]
    assert {(request.parent, request.epoch) for request in blob.requests} == {("teams/acme", 7)}


async def test_only_a_few_batches_are_under_way(chunks: BlobChunks, blob: Blob) -> None:
    """SEM-27: however slow the answers are, a manifest is not read into memory."""
    blob.let_go.clear()
    asked = 0
    room = asyncio.Event()

    async def counted() -> AsyncIterator[Sequence[Digest]]:
        nonlocal asked
        for _ in range(50):
            asked += 1
            if asked > BATCHES_UNDER_WAY:
                room.set()
            yield [digest(1)]

    collecting = asyncio.create_task(collected(chunks.confirm("acme", 0, counted())))
    await room.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert asked == BATCHES_UNDER_WAY + 1
    blob.let_go.set()
    assert await collecting == [[1]] * 50


async def test_what_blob_raises_is_raised(chunks: BlobChunks, blob: Blob) -> None:
    blob.fail_after = 2
    with pytest.raises(ServiceUnavailable):
        await collected(chunks.confirm("acme", 0, batches(*[[1]] * 10)))


async def test_what_the_batches_raise_is_raised(chunks: BlobChunks) -> None:
    async def broken() -> AsyncIterator[Sequence[Digest]]:
        yield [digest(1)]
        raise InvalidEntry("the manifest is not readable")

    with pytest.raises(InvalidEntry, match="not readable"):
        await collected(chunks.confirm("acme", 0, broken()))


async def test_nobody_is_inside_of_the_batches_when_a_call_has_failed(chunks: BlobChunks, blob: Blob) -> None:
    """A draft is being read while blob answers that it cannot go on: that is what is told, and the draft is let go."""
    blob.fail_after = 0
    closed = asyncio.Event()

    async def reading() -> AsyncGenerator[Sequence[Digest]]:
        try:
            yield [digest(1)]
            await asyncio.Event().wait()  # a page that comes late
        finally:
            closed.set()

    async with aclosing(reading()) as some:
        with pytest.raises(ServiceUnavailable):
            await collected(chunks.confirm("acme", 0, some))
        assert closed.is_set()


async def test_an_answer_that_will_not_do_ends_the_reading_of_batches(chunks: BlobChunks) -> None:
    async def reading() -> AsyncGenerator[Sequence[Digest]]:
        yield [digest(1)]
        await asyncio.Event().wait()

    async def compared(some: AsyncIterator[Sequence[Digest]]) -> None:
        async with aclosing(chunks.confirm("acme", 0, some)) as answers:
            async for _ in answers:
                raise InvalidEntry("it is of another size")

    async with aclosing(reading()) as some:
        with pytest.raises(InvalidEntry):
            await compared(some)


async def test_who_stops_reading_ends_the_call(chunks: BlobChunks, blob: Blob) -> None:
    answers = chunks.confirm("acme", 0, batches(*[[1]] * 50))
    assert list(await anext(answers)) == [1]
    await answers.aclose()
    await asyncio.wait_for(blob.ended.wait(), 30)
    assert len(blob.requests) < 50


async def test_nothing_to_ask_is_answered_with_nothing(chunks: BlobChunks) -> None:
    assert await collected(chunks.confirm("acme", 0, batches())) == []


async def test_chunks_are_adopted_from_a_team(chunks: BlobChunks, blob: Blob) -> None:
    """SEM-22."""
    assert await collected(chunks.adopt("acme", "rivals", 3, batches([1, 2], [4]))) == [[1, 2], [4]]
    assert {(one.parent, one.source, one.epoch) for one in blob.adopted} == {("teams/acme", "teams/rivals", 3)}
