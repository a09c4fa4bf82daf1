"""Reaping: what uploads left behind whose leases ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from modelkeep.errors import ModelkeepError

if TYPE_CHECKING:
    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import ObjectName, Terms
    from modelkeep_server.blob.ports import Backend, Index, Rows

log = structlog.get_logger()
_BATCH: Final = 1000
_PAUSE_SECONDS: Final = 300.0


class Reaper:
    """Removes what nobody can ask for any more: safe to run at any time, any number of times, in any number of processes."""

    def __init__(self, index: Index, backend: Backend, terms: Terms) -> None:
        self._index = index
        self._backend = backend
        self._terms = terms
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    def soon(self) -> None:
        """Reap in the background, unless it was done lately."""
        now = asyncio.get_running_loop().time()
        if now >= self._next and (self._task is None or self._task.done()):
            self._next = now + _PAUSE_SECONDS
            self._task = asyncio.create_task(self._quietly())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def reap(self) -> None:
        """Remove the objects of grants that ended, what is under tombstones, ended leases with their interrupted writes, and
        staged files that no grant names.
        """
        while await self._index.write(self._bury):
            pass
        while await self._index.write(lambda rows: rows.leases.reap(self._terms.reap_after, _BATCH)):
            pass
        while names := await self._index.read(lambda rows: rows.tombstones.due(_BATCH)):
            await self._backend.delete(names)
            await self._clear(names)
        async for leases in self._backend.leases():
            await self._backend.forget(await self._ended(leases))
        if (staging := self._backend.staging) is not None:
            async for files in staging.listed():
                staged = {file.name for file in files if file.name is not None}
                await staging.remove(staged - await self._granted(staged))

    async def _bury(self, rows: Rows) -> bool:
        """Turn grants that ended into tombstones: from then on no publisher can take them. False when there are none."""
        names = await rows.grants.reap(self._terms.reap_after, _BATCH)
        await rows.tombstones.add(names)
        return bool(names)

    async def _clear(self, names: list[ObjectName]) -> None:
        await self._index.write(lambda rows: rows.tombstones.clear(names))

    async def _granted(self, names: set[ObjectName]) -> set[ObjectName]:
        return await self._index.read(lambda rows: rows.grants.open(names))

    async def _ended(self, leases: set[LeaseName]) -> set[LeaseName]:
        return await self._index.read(lambda rows: rows.leases.ended(leases))

    async def _quietly(self) -> None:
        try:
            await self.reap()
        except ModelkeepError as error:
            log.warning("reaping_failed", error=error.message)
