"""One piece is asked for ahead, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from modelkeep_server.blob.app.ahead import ahead


class Source:
    """Counts what was asked of it."""

    def __init__(self, count: int, fails_at: int = -1) -> None:
        self.count, self.fails_at = count, fails_at
        self.asked = 0
        self.is_closed = False
        self.is_cancelled = False

    async def pieces(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                self.asked = number + 1
                await asyncio.sleep(0)
                if number == self.fails_at:
                    raise OSError(number)
                yield number
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        finally:
            self.is_closed = True


async def breathe() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_same_pieces_in_the_same_order() -> None:
    source = Source(5)
    assert [piece async for piece in ahead(source.pieces())] == [0, 1, 2, 3, 4]
    assert source.is_closed
    assert [piece async for piece in ahead(Source(0).pieces())] == []


async def test_one_piece_waits_and_no_more() -> None:
    """However slow the client is, no more than one piece is in memory besides its own."""
    source = Source(5)
    async with aclosing(ahead(source.pieces())) as pieces:
        async for piece in pieces:
            await breathe()
            assert source.asked == min(piece + 2, 5)


async def test_an_error_comes_after_the_pieces_before_it() -> None:
    source = Source(5, fails_at=2)
    pieces = ahead(source.pieces())
    assert [await anext(pieces), await anext(pieces)] == [0, 1]
    with pytest.raises(OSError, match="2"):
        await anext(pieces)
    assert source.is_closed


async def test_who_stops_early_closes_the_source() -> None:
    for waits in (True, False):
        source = Source(5)
        async with aclosing(ahead(source.pieces())) as pieces:
            assert await anext(pieces) == 0
            if waits:
                await breathe()
        assert source.is_closed


async def test_who_is_cancelled_cancels_the_source() -> None:
    source = Source(1_000_000)

    async def read() -> None:
        async for _ in ahead(source.pieces()):
            pass

    task = asyncio.create_task(read())
    await breathe()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.is_closed
    assert source.asked < 1_000_000
