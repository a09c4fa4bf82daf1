"""How metadata reaches blob: the port `Chunks`, answered by the other service's stub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import grpc.aio
from google.protobuf.message import Message
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2 as pb
from modelkeep.api.blob.v1 import blob_maintenance_service_pb2_grpc as rpc
from modelkeep.api.blob.v1.digest_pb2 import Digest as DigestMessage
from modelkeep.digest import Digest
from modelkeep.names import TeamName

CONFIRM_SECONDS: Final = 600
"""How long the confirmation of one manifest may take."""
BATCHES_UNDER_WAY: Final = 4
"""How many batches are asked before the first of them is answered."""


class BlobChunks:
    """The chunks that the blob service keeps."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.BlobMaintenanceServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]

    def confirm(self, team: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]) -> AsyncGenerator[Sequence[int]]:
        """Confirm batches of chunks against collections up to `epoch`; the sizes of each batch, -1 for what the team lacks.

        Raises what the blob service raises, such as ServiceUnavailable, and what `batches` raises.
        """
        request = partial(pb.ConfirmChunksRequest, parent=str(TeamName(team)), epoch=epoch)
        return _asked(self._stub.ConfirmChunks, request, batches)

    def adopt(
        self, team: str, source: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]
    ) -> AsyncGenerator[Sequence[int]]:
        """Give a team holdings of chunks that the team `source` has, and confirm them, as `confirm` does and answers."""
        parent, owner = str(TeamName(team)), str(TeamName(source))
        request = partial(pb.AdoptChunksRequest, parent=parent, source=owner, epoch=epoch)
        return _asked(self._stub.AdoptChunks, request, batches)


async def _asked(
    rpc: Callable[..., Any], request: Callable[..., Message], batches: AsyncIterator[Sequence[Digest]]
) -> AsyncGenerator[Sequence[int]]:
    """The answers to batches, of which only a few are under way at once.

    The batches are taken by a task of ours, not by that of grpc, which may outlive the call: when this ends, however it ends,
    nobody is inside of `batches` any more.
    """
    room = asyncio.Semaphore(BATCHES_UNDER_WAY)
    messages: asyncio.Queue[Message | None] = asyncio.Queue()

    async def feed() -> None:
        try:
            async for batch in batches:
                await room.acquire()
                messages.put_nowait(request(digests=[DigestMessage(sha256=digest.sha256) for digest in batch]))
        finally:
            messages.put_nowait(None)

    async def requests() -> AsyncIterator[Message]:
        while (message := await messages.get()) is not None:
            yield message

    feeding = asyncio.create_task(feed())
    try:
        responses: Any = rpc(requests(), timeout=CONFIRM_SECONDS)  # our channels answer with generators
        async with aclosing(responses):
            async for response in responses:
                room.release()
                yield response.sizes_bytes
        await feeding
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
