"""The stream of AddEntries: its first message says what it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator

from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import InvalidArgument
from modelkeep.names import DraftName

from modelkeep_server.metadata.convert.entry import pieces_from_pb
from modelkeep_server.metadata.domain.entry import Piece


async def open_stream(
    requests: AsyncIterator[pb.AddEntriesRequest],
) -> tuple[DraftName, bool, AsyncIterator[list[Piece]]]:
    """The draft that the stream is for, whether it overwrites, and its entries, message by message, as they come.

    Raises InvalidName.
    """
    first = await anext(aiter(requests), pb.AddEntriesRequest())
    return DraftName.parse(first.draft), first.overwrite, _messages(first, requests)


async def _messages(first: pb.AddEntriesRequest, others: AsyncIterator[pb.AddEntriesRequest]) -> AsyncIterator[list[Piece]]:
    yield pieces_from_pb(first)
    async for message in others:
        if message.draft:
            raise InvalidArgument("only the first message of the stream names the draft", field="draft", value=message.draft)
        yield pieces_from_pb(message)
