"""Write: chunks that come through the server, many in one stream.

While one message is hashed and written, the next one comes in. What is complete goes to the store in groups, while the next
chunks come in: the longer the disk takes, the larger the next group, and each group costs one round of flushes and one
transaction. A fast disk waits a moment for a group worth its price. Nothing is acknowledged before both are done.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from modelkeep.errors import DeadlineExceeded, GrantExpired, InvalidArgument, ModelkeepError, SizeMismatch

from modelkeep_server.blob.app.publish import Publisher, Upload
from modelkeep_server.blob.domain import MIB, Incoming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelkeep.names import LeaseName

    from modelkeep_server.blob.app.admission import Pending, Streams
    from modelkeep_server.blob.app.endings import Endings
    from modelkeep_server.blob.domain import Chunk, ObjectName, Terms, WritePart
    from modelkeep_server.blob.ports import Backend, Index, Writer
    from modelkeep_server.runtime.callers import Caller

_GROUP_CHUNKS: Final = 64
_GROUP_BYTES: Final = 8 * MIB
"""A group of so many chunks or bytes is stored at once, …"""
_LINGER_SECONDS: Final = 0.05
"""… a smaller one when nothing more came for so long, …"""


class Writes:
    """Takes Write streams."""

    def __init__(
        self, index: Index, backend: Backend, terms: Terms, streams: Streams, *, pending: Pending, endings: Endings
    ) -> None:
        self._index = index
        self._backend = backend
        self._terms = terms
        self._streams = streams
        self._pending = pending
        self._endings = endings
        self._publisher = Publisher(index, backend, terms)

    async def write(self, messages: AsyncIterator[WritePart], caller: Caller) -> int:
        """Publish the chunks of a stream; how many they are.

        Raises LeaseNotFound, LeaseExpired, GrantExpired, DigestMismatch, SizeMismatch, StorageFull, TooBusy,
        DeadlineExceeded; chunks that were complete before it are published all the same.
        """
        with self._streams.one():
            first = await self._next(messages)
            if first is None or first.lease is None:
                raise InvalidArgument("the first message of Write must name the lease", field="lease")
            lease = first.lease
            caller.require(lease.team)
            await self._index.read(lambda rows: rows.leases.get(lease))
            stream = _Stream(lease, self._index, self._backend, self._publisher, self._pending)
            try:
                part: WritePart | None = first
                while part is not None:
                    await stream.take(part)
                    part = await self._next(messages)
                return await stream.finish()
            except BaseException:
                await self._endings.run(lease, stream.break_off())
                raise

    async def _next(self, messages: AsyncIterator[WritePart]) -> WritePart | None:
        """The next message; None at the end of the stream. Raises DeadlineExceeded."""
        seconds = self._terms.idle.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                return await anext(messages, None)
        except TimeoutError:
            message = f"nothing came for {seconds:g} s; prepare again to learn from which offset to go on"
            raise DeadlineExceeded(message, idle_seconds=f"{seconds:g}") from None


class _Stream:
    """One Write under way: at most one chunk that comes in, one group that waits, and one group that is being stored."""

    def __init__(self, lease: LeaseName, index: Index, backend: Backend, publisher: Publisher, pending: Pending) -> None:
        self._lease = lease
        self._index = index
        self._backend = backend
        self._publisher = publisher
        self._pending = pending
        self._writer: Writer | None = None
        self._writing: asyncio.Task[None] | None = None
        self._rooms: dict[Writer, object] = {}
        self._complete: list[Writer] = []
        self._enough = asyncio.Event()
        self._ends = False
        self._storing: asyncio.Task[None] | None = None
        self._published = 0

    async def take(self, part: WritePart) -> None:
        """The next message. Raises what went wrong with those before it."""
        await self._settled()
        if part.lease not in {None, self._lease}:
            raise InvalidArgument(f"a Write has one lease; begin another stream for {part.lease}", field="lease")
        if part.chunk is not None:
            await self._begin(part.chunk, part.offset, part.data)
        if part.data:
            await self._append(part.data)

    async def finish(self) -> int:
        """The stream ended: wait until all of it is published."""
        await self._settled()
        if (writer := self._writer) is not None:
            await writer.close(keep=False)
            raise _too_short(writer)
        await self._store_rest()
        return self._published

    async def break_off(self) -> None:
        """The stream broke: keep what came of the chunk under way, publish what is complete."""
        try:
            with suppress(ModelkeepError):  # it goes on when its call is cancelled, and may complete the chunk
                await self._written()
            while self._storing is not None or self._complete:
                with suppress(ModelkeepError):  # the stream has failed already, for a reason of its own
                    await self._store_rest()
        finally:
            await self._let_go(self._complete, keep=False)
            await self._let_go([self._writer] if self._writer else [], keep=True)

    async def _begin(self, chunk: Chunk, offset: int, data: bytes) -> None:
        if (writer := self._writer) is not None:
            await writer.close(keep=False)
            raise _too_short(writer)
        if not 0 <= offset < chunk.size_bytes:
            message = f"offset {offset} is not within chunk {chunk.digest} of {chunk.size_bytes} bytes"
            raise InvalidArgument(message, field="offset", value=offset)
        room = object()
        try:
            await self._pending.hold(room, _cost(chunk, offset + len(data)))
            self._writer = await self._backend.receive(Incoming(self._lease, chunk), offset)
            self._rooms[self._writer] = room
        except BaseException:
            await self._pending.end(room)
            raise

    async def _append(self, data: bytes) -> None:
        if (writer := self._writer) is None:
            raise SizeMismatch("there is data beyond the end of the chunk; begin the next one with its digest and size")
        received_bytes = writer.received_bytes + len(data)
        await self._pending.hold(self._rooms[writer], _cost(writer.incoming.chunk, received_bytes))
        self._writing = asyncio.create_task(self._write(writer, data))

    async def _write(self, writer: Writer, data: bytes) -> None:
        await writer.write(data)
        if writer.received_bytes == _size(writer):
            self._writer = None
            self._complete.append(writer)
            if self._is_enough():
                self._enough.set()
            if self._storing is None or _is_well(self._storing):
                self._storing = asyncio.create_task(self._store_all())

    async def _settled(self) -> None:
        """Wait for the message before. Raises what went wrong with it, or with what was stored meanwhile."""
        await self._written()
        if self._storing is not None and self._storing.done():
            await self._stored()

    async def _written(self) -> None:
        task, self._writing = self._writing, None
        if task is not None:
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                self._writing = task
                raise

    def _is_enough(self) -> bool:
        """Whether what is complete shall be stored without waiting for more."""
        size_bytes = sum(_size(writer) for writer in self._complete)
        return self._ends or self._pending.is_tight or len(self._complete) >= _GROUP_CHUNKS or size_bytes >= _GROUP_BYTES

    async def _linger(self) -> None:
        if not self._is_enough():
            self._enough.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    await self._enough.wait()

    async def _store_all(self) -> None:
        while self._complete:
            await self._linger()
            group, self._complete = self._complete[:_GROUP_CHUNKS], self._complete[_GROUP_CHUNKS:]
            await self._store(group)

    async def _store_rest(self) -> None:
        self._ends = True
        self._enough.set()
        try:
            await self._stored()
        finally:
            await self._store_all()

    async def _stored(self) -> None:
        """Wait for what is being stored. Raises what went wrong with it."""
        if (task := self._storing) is not None:
            try:
                await asyncio.shield(task)
            finally:
                self._storing = None if task.done() else task

    async def _store(self, group: list[Writer]) -> None:
        try:
            digests = {writer.incoming.chunk.digest for writer in group}
            grants = await self._index.read(lambda rows: rows.grants.find(self._lease, digests, by_url=False))
            names = {grant.chunk: grant.object for grant in grants}
            granted = [(writer, names[writer.incoming.chunk]) for writer in group if writer.incoming.chunk in names]
            await self._backend.store(granted)
            objects: dict[ObjectName, int] = {name: _size(writer) for writer, name in granted}
            published = await self._publisher.publish(Upload(self._lease, objects, digests=digests))
            self._published += sum(writer.incoming.chunk.digest in published for writer in group)
            if missing := sorted(digests - published):
                message = f"there is no open grant for chunk {missing[0]}; prepare its upload again"
                raise GrantExpired(message, digest=str(missing[0]), count=len(missing))
        finally:
            await self._let_go(group, keep=False)

    async def _let_go(self, writers: list[Writer], *, keep: bool) -> None:
        for writer in writers:
            await writer.close(keep=keep)
        await self._pending.end(*(self._rooms.pop(writer) for writer in writers))


def _is_well(task: asyncio.Task[None]) -> bool:
    """Whether it has ended, and nothing went wrong that is still to be told."""
    return task.done() and not task.cancelled() and task.exception() is None


def _size(writer: Writer) -> int:
    return writer.incoming.chunk.size_bytes


def _cost(chunk: Chunk, received_bytes: int) -> int:
    """How much of what may be pending a chunk takes. A small one that waits for its group costs an open file too."""
    return received_bytes if received_bytes < chunk.size_bytes else max(received_bytes, MIB)


def _too_short(writer: Writer) -> SizeMismatch:
    chunk = writer.incoming.chunk
    message = f"chunk {chunk.digest} ended after {writer.received_bytes} of {chunk.size_bytes} bytes; nothing of it was kept"
    return SizeMismatch(message, digest=str(chunk.digest), expected=chunk.size_bytes, actual=writer.received_bytes)
