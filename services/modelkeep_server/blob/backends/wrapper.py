"""A backend around a backend, that changes nothing: what a feature is added to (HOUSE, habit 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
    from datetime import timedelta

    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import Arrival, Grant, Incoming, ListedObject, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Backend, Staging, Writer


class Wrapper:
    """Passes everything on."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def direct_upload(self) -> bool:
        """As the inner one."""
        return self.inner.direct_upload

    @property
    def direct_download(self) -> bool:
        """As the inner one."""
        return self.inner.direct_download

    @property
    def staging(self) -> Staging | None:
        """As the inner one."""
        return self.inner.staging

    async def open(self) -> None:
        """As the inner one."""
        await self.inner.open()

    async def close(self) -> None:
        """As the inner one."""
        await self.inner.close()

    async def check(self) -> None:
        """As the inner one."""
        await self.inner.check()

    async def received(self, incoming: Sequence[Incoming]) -> list[int]:
        """As the inner one."""
        return await self.inner.received(incoming)

    async def receive(self, incoming: Incoming, offset: int) -> Writer:
        """As the inner one."""
        return await self.inner.receive(incoming, offset)

    async def store(self, batch: Sequence[tuple[Writer, ObjectName]]) -> None:
        """As the inner one."""
        await self.inner.store(batch)

    def leases(self) -> AsyncIterator[set[LeaseName]]:
        """As the inner one."""
        return self.inner.leases()

    async def forget(self, leases: Collection[LeaseName]) -> None:
        """As the inner one."""
        await self.inner.forget(leases)

    def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """As the inner one."""
        return self.inner.read(chunk, offset, length, see)

    async def arrived(self, grants: Sequence[Grant]) -> list[Arrival]:
        """As the inner one."""
        return await self.inner.arrived(grants)

    async def stat(self, names: Sequence[ObjectName]) -> list[int | None]:
        """As the inner one."""
        return await self.inner.stat(names)

    async def delete(self, names: Sequence[ObjectName]) -> None:
        """As the inner one."""
        await self.inner.delete(names)

    def objects(self) -> AsyncIterator[list[ListedObject]]:
        """As the inner one."""
        return self.inner.objects()

    async def upload_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """As the inner one."""
        return await self.inner.upload_urls(objects)

    async def download_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """As the inner one."""
        return await self.inner.download_urls(objects)
