"""Reading ahead: the next piece is on its way from the store while the last one is on its way to the client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

T = TypeVar("T")


async def ahead(pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same pieces, each asked for when the one before it is given out: at most one of them waits. Closes `pieces`."""
    async with aclosing(pieces):
        coming: asyncio.Task[T | None] = asyncio.create_task(_next(pieces))
        try:
            while (piece := await coming) is not None:
                coming = asyncio.create_task(_next(pieces))
                yield piece
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _next(pieces: AsyncGenerator[T, None]) -> T | None:
    return await anext(pieces, None)
