"""What every store of objects guarantees (`modelkeep_server.blob.ports.Backend`), whatever is around it.

`test_blob_backends.py` runs it on every backend and wrapper. A test that leaves an object or a temporary file behind fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import ChunkCorrupt, DigestMismatch, GrantExpired, ServiceUnavailable, SizeMismatch
from modelkeep_server.blob.domain import (
    MAX_CHUNK_BYTES,
    MIB,
    PIECE_BYTES,
    Arrival,
    Chunk,
    ChunkState,
    Grant,
    Incoming,
    ObjectName,
    StoredChunk,
)
from modelkeep_server.blob.ports import Backend
from urllib3 import PoolManager

from tests.conformance.backend_work import (
    LARGE,
    SMALL,
    break_off,
    chunk_of,
    complete,
    get,
    leases,
    new_lease,
    objects,
    put,
    stored,
)
from tests.servers import wait_until


class BackendSuite:
    """Run by inheriting: the subclass has a fixture `backend`, open and empty, and the tests empty it again."""

    @pytest.fixture
    def http(self) -> Iterator[PoolManager]:
        pool = PoolManager(retries=False)
        yield pool
        pool.clear()

    @pytest.mark.parametrize("data", [b"x", SMALL, LARGE], ids=["one byte", "small", "several pieces"])
    async def test_what_is_stored_is_read(self, backend: Backend, data: bytes) -> None:
        chunk = await put(backend, data)
        assert await get(backend, chunk) == data
        assert await backend.stat([chunk.object]) == [len(data)]
        assert await objects(backend) == {chunk.object: len(data)}
        await backend.delete([chunk.object])

    async def test_a_range_is_read(self, backend: Backend) -> None:
        chunk = await put(backend, LARGE)
        for offset, length in [(0, 1), (MIB - 1, 2), (1, len(LARGE) - 1), (len(LARGE) - 1, 1), (MIB, MIB)]:
            assert await get(backend, chunk, offset, length) == LARGE[offset : offset + length]
        await backend.delete([chunk.object])

    async def test_no_piece_is_larger_than_512_kib(self, backend: Backend) -> None:
        chunk = await put(backend, LARGE)
        async with aclosing(backend.read(chunk, 0, len(LARGE))) as pieces:
            assert max([len(piece) async for piece in pieces]) <= PIECE_BYTES
        await backend.delete([chunk.object])

    @pytest.mark.parametrize(("offset", "length"), [(0, len(LARGE)), (5, 2 * MIB)], ids=["whole", "range"])
    async def test_who_wants_to_see_the_bytes_sees_them_first(self, backend: Backend, offset: int, length: int) -> None:
        chunk = await put(backend, LARGE)
        seen, given = bytearray(), bytearray()
        async with aclosing(backend.read(chunk, offset, length, seen.extend)) as pieces:
            async for piece in pieces:
                given += piece
                assert seen.startswith(given)
        assert seen == given == LARGE[offset : offset + length]
        await backend.delete([chunk.object])

    async def test_a_reader_may_stop_early(self, backend: Backend) -> None:
        chunk = await put(backend, LARGE)
        async with aclosing(backend.read(chunk, 0, len(LARGE))) as pieces:
            await anext(pieces)
        await backend.delete([chunk.object])

    async def test_the_largest_chunk(self, backend: Backend) -> None:
        data = bytes(MAX_CHUNK_BYTES)
        chunk = await put(backend, data)
        assert await get(backend, chunk) == data
        await backend.delete([chunk.object])

    async def test_nothing_is_there_before_it_is_stored(self, backend: Backend) -> None:
        writer = await complete(backend, SMALL)
        assert await objects(backend) == {}
        await writer.close(keep=False)
        assert await objects(backend) == {}

    async def test_an_object_that_is_not_there(self, backend: Backend) -> None:
        name = ObjectName.fresh(Digest.of(SMALL))
        assert await backend.stat([name]) == [None]
        with pytest.raises(ChunkCorrupt):
            await get(backend, stored(SMALL, name))
        await backend.delete([name])

    async def test_an_object_that_is_shorter_than_its_row_says(self, backend: Backend) -> None:
        chunk = await put(backend, SMALL)
        longer = StoredChunk(Chunk(chunk.chunk.digest, len(SMALL) + 5), chunk.generation, ChunkState.LIVE)
        with pytest.raises(ChunkCorrupt):
            await get(backend, longer)
        await backend.delete([chunk.object])

    async def test_wrong_bytes_are_refused_with_the_last_one(self, backend: Backend) -> None:
        """SEM-24: nothing of them is kept."""
        lease = new_lease()
        incoming = Incoming(lease, chunk_of(SMALL))
        writer = await backend.receive(incoming, 0)
        await writer.write(b"X" * (len(SMALL) - 1))
        with pytest.raises(DigestMismatch) as failure:
            await writer.write(b"X")
        assert failure.value.metadata["actual"] == str(Digest.of(b"X" * len(SMALL)))
        await writer.close(keep=True)
        assert await backend.received([incoming]) == [0]
        assert lease not in await leases(backend)

    async def test_too_many_bytes_are_refused(self, backend: Backend) -> None:
        lease = new_lease()
        writer = await backend.receive(Incoming(lease, chunk_of(SMALL)), 0)
        with pytest.raises(SizeMismatch):
            await writer.write(SMALL + b"!")
        await writer.close(keep=True)
        assert lease not in await leases(backend)

    async def test_a_batch_is_stored_at_once(self, backend: Backend) -> None:
        contents = [f"chunk {number}".encode() for number in range(20)]
        batch = [(await complete(backend, data), ObjectName.fresh(Digest.of(data))) for data in contents]
        await backend.store(batch)
        assert await backend.stat([name for _, name in batch]) == [len(data) for data in contents]
        await backend.delete([name for _, name in batch])
        assert await backend.stat([name for _, name in batch]) == [None] * 20

    async def test_a_generation_is_an_object_of_its_own(self, backend: Backend) -> None:
        """R8: so no store needs to know If-None-Match or conditional deletes, which many do not."""
        first, second = await put(backend, SMALL), await put(backend, SMALL)
        await backend.delete([first.object])
        assert await backend.stat([first.object, second.object]) == [None, len(SMALL)]
        assert await get(backend, second) == SMALL
        await backend.delete([second.object])

    async def test_nobody_overwrites_or_removes_what_another_stored(self, backend: Backend) -> None:
        """R8, the same while others write and delete: whoever deletes means the object that it knows, and no later one."""
        known = [await put(backend, SMALL) for _ in range(4)]
        removing = [backend.delete([chunk.object]) for chunk in known for _ in range(2)]
        later = (await asyncio.gather(*(put(backend, SMALL) for _ in range(4)), *removing))[:4]
        assert len({chunk.object for chunk in (*known, *later)}) == 8
        assert await backend.stat([chunk.object for chunk in known]) == [None] * 4
        assert [await get(backend, chunk) for chunk in later] == [SMALL] * 4
        await backend.delete([chunk.object for chunk in later])

    async def test_storing_what_is_there_changes_nothing(self, backend: Backend) -> None:
        """An attempt that was cut short between the object and its row is made again."""
        chunk = await put(backend, SMALL)
        await backend.store([(await complete(backend, SMALL), chunk.object)])
        assert await get(backend, chunk) == SMALL
        await backend.delete([chunk.object])

    async def test_deleting_twice_is_fine(self, backend: Backend) -> None:
        chunk = await put(backend, SMALL)
        await backend.delete([chunk.object])
        await backend.delete([chunk.object])
        await backend.delete([])

    async def test_an_interrupted_write_goes_on_where_it_stopped_or_from_the_start(self, backend: Backend) -> None:
        incoming = Incoming(new_lease(), chunk_of(LARGE))
        writer = await backend.receive(incoming, 0)
        await writer.write(LARGE[:MIB])
        await writer.close(keep=True)
        [offset] = await backend.received([incoming])
        assert offset in {0, MIB}  # a store may keep nothing; then it says so
        assert await leases(backend) == ({incoming.lease} if offset else set())
        writer = await backend.receive(incoming, offset)
        assert writer.received_bytes == offset
        for start in range(offset, len(LARGE), MIB):
            await writer.write(LARGE[start : start + MIB])
        name = ObjectName.fresh(incoming.chunk.digest)
        await backend.store([(writer, name)])
        assert await get(backend, stored(LARGE, name)) == LARGE
        await backend.delete([name])

    async def test_an_interrupted_write_may_begin_anew(self, backend: Backend) -> None:
        incoming = Incoming(new_lease(), chunk_of(SMALL))
        writer = await backend.receive(incoming, 0)
        await writer.write(b"other")
        await writer.close(keep=True)
        chunk = await put(backend, SMALL, incoming.lease)
        assert await get(backend, chunk) == SMALL
        await backend.delete([chunk.object])

    async def test_a_write_cannot_go_on_where_nothing_was_kept(self, backend: Backend) -> None:
        with pytest.raises(GrantExpired):
            await backend.receive(Incoming(new_lease(), chunk_of(SMALL)), 5)

    async def test_the_newest_stream_has_the_chunk(self, backend: Backend) -> None:
        """A client whose connection broke comes back before the server has noticed: the old stream can do no harm."""
        incoming = Incoming(new_lease(), chunk_of(SMALL))
        old = await backend.receive(incoming, 0)
        await old.write(SMALL[:3])
        new = await backend.receive(incoming, 0)
        await new.write(SMALL[:7])
        with suppress(GrantExpired):  # or it writes to a file that nobody will ask for
            await old.write(b"???")
        await old.close(keep=False)
        await new.write(SMALL[7:])
        name = ObjectName.fresh(incoming.chunk.digest)
        await backend.store([(new, name)])
        assert await get(backend, stored(SMALL, name)) == SMALL
        await backend.delete([name])

    async def test_a_complete_chunk_cannot_be_changed_by_another_stream(self, backend: Backend) -> None:
        incoming = Incoming(new_lease(), chunk_of(SMALL))
        done = await complete(backend, SMALL, incoming.lease)
        other = await backend.receive(incoming, 0)
        await other.write(b"???")
        name = ObjectName.fresh(incoming.chunk.digest)
        await backend.store([(done, name)])
        await other.close(keep=False)
        assert await get(backend, stored(SMALL, name)) == SMALL
        await backend.delete([name])

    async def test_what_ended_leases_left_is_forgotten(self, backend: Backend) -> None:
        gone, stays = Incoming(new_lease(), chunk_of(LARGE)), Incoming(new_lease(), chunk_of(LARGE))
        for incoming in (gone, stays):
            writer = await backend.receive(incoming, 0)
            await writer.write(LARGE[:10])
            await writer.close(keep=True)
        open_one = await backend.receive(Incoming(gone.lease, chunk_of(SMALL)), 0)
        await open_one.write(SMALL[:1])
        before = await backend.received([stays])
        await backend.forget({gone.lease})
        assert await backend.received([gone, stays]) == [0, *before]
        await open_one.close(keep=True)
        assert gone.lease not in await leases(backend)
        await backend.forget({stays.lease})
        assert await leases(backend) == set()

    async def test_a_writer_may_be_closed_at_any_time(self, backend: Backend) -> None:
        writer = await backend.receive(Incoming(new_lease(), chunk_of(SMALL)), 0)
        for keep in (False, True, False):
            await writer.close(keep=keep)
        with pytest.raises(GrantExpired):
            await writer.write(SMALL)
        chunk = await put(backend, SMALL)
        await backend.delete([chunk.object])

    async def test_many_at_a_time(self, backend: Backend) -> None:
        contents = [bytes([number]) * 100_000 for number in range(32)]
        chunks = await asyncio.gather(*(put(backend, data, new_lease()) for data in contents))
        assert await asyncio.gather(*(get(backend, chunk) for chunk in chunks)) == contents
        await backend.delete([chunk.object for chunk in chunks])

    async def test_a_cancelled_write_leaves_nothing_that_its_lease_does_not_tell_of(self, backend: Backend) -> None:
        incoming = Incoming(new_lease(), chunk_of(LARGE))
        writer = await backend.receive(incoming, 0)
        task = asyncio.create_task(writer.write(LARGE[:MIB]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await writer.close(keep=False)
        assert await backend.received([incoming]) == [0]
        assert await leases(backend) == set()

    async def test_what_is_written_is_listed_at_once_and_what_is_deleted_is_not(self, backend: Backend) -> None:
        """R8: a check and a collection believe what a listing says."""
        chunks = await asyncio.gather(*(put(backend, f"listed {number}".encode(), new_lease()) for number in range(40)))
        names = {chunk.object for chunk in chunks}
        assert (await objects(backend)).keys() == names
        gone = {chunk.object for chunk in chunks[::2]}
        await backend.delete(sorted(gone))
        assert (await objects(backend)).keys() == names - gone
        await backend.delete(sorted(names))

    async def test_an_upload_that_is_given_up_leaves_nothing(self, backend: Backend) -> None:
        """R8: no object, no part of one, and no temporary file."""
        lease = new_lease()
        for data in (SMALL, LARGE):
            writer = await backend.receive(Incoming(lease, chunk_of(data)), 0)
            await writer.write(data[: len(data) // 2])
            await writer.close(keep=False)
        assert await objects(backend) == {}
        assert lease not in await leases(backend)

    async def test_what_clients_brought_is_told_grant_by_grant(self, backend: Backend) -> None:
        """Only a store that took the bytes by itself, or was given them here, answers that they are whole."""
        chunk = await put(backend, SMALL)
        whole, missing = Grant(chunk.object, len(SMALL), by_url=True), Grant(ObjectName.fresh(Digest.of(b"?")), 1, by_url=True)
        longer = replace(whole, size_bytes=len(SMALL) + 1)
        arrived = await backend.arrived([missing, whole, longer])
        assert arrived == [Arrival.MISSING, Arrival.WHOLE, Arrival.SIZE_WRONG]
        assert await backend.arrived([]) == []
        await backend.delete([chunk.object])

    async def test_a_url_takes_only_the_bytes_that_it_was_signed_for(self, backend: Backend, http: PoolManager) -> None:
        """R8, I4: other bytes, or half of them, make no object; the right ones twice make one."""
        if not backend.direct_upload:
            pytest.skip("this store hands out no URLs for uploads")
        name = ObjectName.fresh(Digest.of(LARGE))
        [url] = await backend.upload_urls([(name, timedelta(minutes=1))])
        for body in (LARGE[::-1], LARGE[:-1], LARGE + b"!", b""):
            assert http.request("PUT", url, body=body).status >= 400
        break_off(url, LARGE)
        assert await backend.stat([name]) == [None]
        assert await objects(backend) == {}
        for _ in range(2):
            assert http.request("PUT", url, body=LARGE).status == 200
            assert await backend.stat([name]) == [len(LARGE)]
            assert await get(backend, stored(LARGE, name)) == LARGE
        assert http.request("PUT", url, body=LARGE[::-1]).status >= 400
        assert await get(backend, stored(LARGE, name)) == LARGE
        await backend.delete([name])

    async def test_urls_end(self, backend: Backend, http: PoolManager) -> None:
        """R8: by the clock of the store, which may differ a little from ours."""
        if not backend.direct_download:
            pytest.skip("this store hands out no URLs")
        chunk = await put(backend, SMALL)
        [url] = await backend.download_urls([(chunk.object, timedelta(seconds=1))])
        name = ObjectName.fresh(Digest.of(SMALL))
        uploads = await backend.upload_urls([(name, timedelta(seconds=1))]) if backend.direct_upload else []
        wait_until(lambda: http.request("GET", url).status == 403, "the end of a URL")
        for upload in uploads:
            wait_until(lambda upload=upload: http.request("PUT", upload, body=b"?").status == 403, "the end of a URL")
            assert http.request("PUT", upload, body=SMALL).status == 403
        await backend.delete([chunk.object, name])

    async def test_urls_only_where_the_store_takes_them(self, backend: Backend, http: PoolManager) -> None:
        name, lasting = ObjectName.fresh(Digest.of(SMALL)), timedelta(minutes=1)
        if backend.direct_upload:
            [url] = await backend.upload_urls([(name, lasting)])
            assert http.request("PUT", url, body=SMALL).status == 200
        else:
            with pytest.raises(ServiceUnavailable):
                await backend.upload_urls([(name, lasting)])
            await backend.store([(await complete(backend, SMALL), name)])
        if backend.direct_download:
            [url] = await backend.download_urls([(name, lasting)])
            assert http.request("GET", url).data == SMALL
            assert http.request("GET", url, headers={"Range": "bytes=5-8"}).data == SMALL[5:9]
        else:
            with pytest.raises(ServiceUnavailable):
                await backend.download_urls([(name, lasting)])
        assert await get(backend, stored(SMALL, name)) == SMALL
        await backend.delete([name])

    async def test_it_is_there(self, backend: Backend) -> None:
        await backend.check()
