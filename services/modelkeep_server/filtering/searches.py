"""Searching: lists that a filter, or an order, makes dear."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelkeep_server.filtering.expression import EVERYTHING, Query

T = TypeVar("T")


class Searches:
    """How many lists may be searched at once. A filter can take minutes, and whoever resolves an alias must not wait for it."""

    def __init__(self, most: int) -> None:
        self._turns = asyncio.Semaphore(most)

    async def run(self, query: Query, find: Callable[[], Awaitable[T]]) -> T:
        """What a list finds, when it is its turn. A plain list has no need of one."""
        if query.where == EVERYTHING and not query.order:
            return await find()
        async with self._turns:
            return await find()
