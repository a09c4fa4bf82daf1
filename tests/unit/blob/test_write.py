"""Write: many chunks in one stream, resumed when it breaks, refused when it is wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import (
    DeadlineExceeded,
    DigestMismatch,
    GrantExpired,
    InvalidArgument,
    PermissionDenied,
    SizeMismatch,
    TooBusy,
)
from modelkeep_server.blob.backends.disk import Disk
from modelkeep_server.blob.backends.filesystem import FilesystemBackend
from modelkeep_server.blob.domain import MIB, ByStream, Chunk, Present, WritePart
from modelkeep_server.runtime.callers import Role

from tests.unit.blob.rig import OTHER, TERMS, Rig, caller, chunk_of, contents, parts_of, rig, sqlite_url, stream
from tests.unit.blob.test_upload import counted

LARGE = bytes(range(256)) * (3 * MIB // 256)


class Broken(Exception):
    """What a transport raises."""


async def test_many_chunks_in_one_stream(blob_on_disk: Rig) -> None:
    blob, datas = blob_on_disk, [*contents(150), LARGE]
    lease = await blob.upload(datas)
    assert await blob.objects() == 151
    for data in [datas[0], datas[99], LARGE]:
        assert await blob.read(data) == data
    assert (await blob.prepare(datas, lease))[1] == [Present()] * 151


async def test_an_empty_stream_publishes_nothing(blob: Rig) -> None:
    lease, _ = await blob.prepare([])
    assert await blob.write([WritePart(lease, None, 0, b"")]) == 0


async def test_the_lease_may_come_alone_and_comes_once(blob: Rig) -> None:
    [data] = contents(1)
    lease, _ = await blob.prepare([data])
    assert await blob.write([WritePart(lease, None, 0, b""), WritePart(None, chunk_of(data), 0, data)]) == 1
    with pytest.raises(InvalidArgument):
        await blob.write([WritePart(None, chunk_of(data), 0, data)])
    with pytest.raises(InvalidArgument):
        await blob.write([])
    other, _ = await blob.prepare([])
    with pytest.raises(InvalidArgument):
        await blob.write([WritePart(lease, None, 0, b""), WritePart(other, None, 0, b"")])


async def test_a_broken_stream_is_resumed_where_it_stopped(blob_on_disk: Rig) -> None:
    blob, data = blob_on_disk, LARGE
    lease, _ = await blob.prepare([data])
    with pytest.raises(Broken):
        await blob.write(parts_of(lease, [data])[:2], then=Broken())
    again, plans = await blob.prepare([data], lease)
    assert plans == [ByStream(2 * MIB)]
    assert await blob.write([WritePart(again, chunk_of(data), 2 * MIB, data[2 * MIB :])]) == 1
    assert await blob.read(data) == data


async def test_a_cancelled_call_publishes_what_was_complete(blob_on_disk: Rig) -> None:
    blob, [first, second] = blob_on_disk, [contents(1)[0], LARGE]
    lease, _ = await blob.prepare([first, second])
    arrived = asyncio.Event()

    async def messages() -> AsyncIterator[WritePart]:
        for part in parts_of(lease, [first, second])[:2]:
            yield part
        arrived.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(blob.writes.write(messages(), caller()))
    await arrived.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    # Who asks at once, while it is still being published, is not told to send it again (M-UP-6).
    assert (await blob.prepare([first, second], lease))[1] == [Present(), ByStream(MIB)]


class Hesitant(Disk):
    """Its renames, each the end of a chunk, wait until they may go on."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def rename(self, source: Path, target: Path) -> None:
        self.begun.set()
        self.may_go_on.wait()
        super().rename(source, target)


@pytest.mark.peer("M-UP-6")
async def test_a_call_that_is_cancelled_while_the_last_bytes_are_written_publishes_the_chunk(tmp_path: Path) -> None:
    disk = Hesitant()
    async with rig(sqlite_url(tmp_path), FilesystemBackend(tmp_path / "blobs", disk=disk)) as blob:
        lease, _ = await blob.prepare([LARGE])
        call = asyncio.create_task(blob.write(parts_of(lease, [LARGE])))
        await asyncio.to_thread(disk.begun.wait)
        call.cancel()
        disk.may_go_on.set()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        assert (await blob.prepare([LARGE], lease))[1] == [Present()]
        assert list((tmp_path / "blobs" / "incoming").iterdir()) == []


async def test_an_offset_that_was_not_kept_is_refused(blob_on_disk: Rig) -> None:
    lease, _ = await blob_on_disk.prepare([LARGE])
    with pytest.raises(GrantExpired):
        await blob_on_disk.write([WritePart(lease, chunk_of(LARGE), MIB, LARGE[MIB:])])
    for offset in (-1, len(LARGE), len(LARGE) + 1):
        with pytest.raises(InvalidArgument):
            await blob_on_disk.write([WritePart(lease, chunk_of(LARGE), offset, b"x")])


async def test_wrong_bytes_keep_nothing_and_harm_nothing_before_them(blob_on_disk: Rig) -> None:
    """SEM-24."""
    blob, [good, bad] = blob_on_disk, contents(2)
    lease, _ = await blob.prepare([good, bad])
    parts = [*parts_of(lease, [good]), WritePart(None, chunk_of(bad), 0, bytes(len(bad)))]
    parts[1] = replace(parts[1], data=b"X" * len(bad))
    with pytest.raises(DigestMismatch):
        await blob.write(parts)
    assert await blob.present([good, bad]) == [True, False]
    assert (await blob.prepare([bad], lease))[1] == [ByStream(0)]
    assert await blob.problems() == []


async def test_a_kept_beginning_that_is_wrong_is_found_in_the_end(blob_on_disk: Rig) -> None:
    blob, data = blob_on_disk, LARGE
    lease, _ = await blob.prepare([data])
    with pytest.raises(Broken):
        await blob.write([WritePart(lease, chunk_of(data), 0, b"X" * MIB)], then=Broken())
    parts = [WritePart(lease, chunk_of(data), MIB, data[MIB : 2 * MIB]), WritePart(None, None, 0, data[2 * MIB :])]
    with pytest.raises(DigestMismatch):
        await blob.write(parts)
    assert (await blob.prepare([data], lease))[1] == [ByStream(0)]


@pytest.mark.parametrize("extra", [b"!", b""], ids=["too many", "too few"])
async def test_bytes_that_do_not_fit_the_size(blob_on_disk: Rig, extra: bytes) -> None:
    blob, [data, following] = blob_on_disk, contents(2)
    lease, _ = await blob.prepare([data, following])
    wrong = data + extra if extra else data[:-1]
    for parts in (
        [WritePart(lease, chunk_of(data), 0, wrong)],
        [WritePart(lease, chunk_of(data), 0, wrong), WritePart(None, chunk_of(following), 0, following)],
    ):
        with pytest.raises(SizeMismatch):
            await blob.write(parts)
    assert await blob.present([data]) == [False]
    assert await blob.problems() == []


async def test_data_after_the_end_of_a_chunk(blob: Rig) -> None:
    [data] = contents(1)
    lease, _ = await blob.prepare([data])
    with pytest.raises(SizeMismatch):
        await blob.write([*parts_of(lease, [data]), WritePart(None, None, 0, b"!")])


async def test_a_chunk_that_was_not_prepared(blob_on_disk: Rig) -> None:
    blob, [prepared, stray] = blob_on_disk, contents(2)
    lease, _ = await blob.prepare([prepared])
    with pytest.raises(GrantExpired) as failure:
        await blob.write(parts_of(lease, [prepared, stray]))
    assert failure.value.metadata["digest"] == str(Digest.of(stray))
    assert await blob.present([prepared, stray]) == [True, False]
    assert await blob.problems() == []


async def test_the_size_is_the_one_that_was_prepared(blob: Rig) -> None:
    [data] = contents(1)
    lease, _ = await blob.uploads.prepare_upload(OTHER, None, [Chunk(Digest.of(data), len(data) + 1)], caller(OTHER))
    with pytest.raises(GrantExpired):
        await blob.write(parts_of(lease.name, [data]))


@pytest.mark.peer("M-DOS-1")
async def test_a_stream_that_idles_is_ended_and_can_be_resumed(tmp_path: Path) -> None:
    terms = replace(TERMS, idle=timedelta(milliseconds=50))
    async with rig(sqlite_url(tmp_path), FilesystemBackend(tmp_path / "blobs"), terms=terms) as blob:
        lease, _ = await blob.prepare([LARGE])
        with pytest.raises(DeadlineExceeded):
            await blob.write(parts_of(lease, [LARGE])[:1], then=asyncio.Event())
        assert (await blob.prepare([LARGE], lease))[1] == [ByStream(MIB)]


@pytest.mark.peer("M-UP-5")
async def test_more_streams_than_the_limit_are_told_to_come_back(tmp_path: Path) -> None:
    async with rig(sqlite_url(tmp_path), max_streams=1) as blob:
        [data] = contents(1)
        lease, _ = await blob.prepare([data])
        silent = asyncio.Event()
        first = asyncio.create_task(blob.write(parts_of(lease, [data]), then=silent))
        while not await blob.present([data]):
            await asyncio.sleep(0)
        with pytest.raises(TooBusy) as failure:
            await blob.write(parts_of(lease, [data]))
        assert int(failure.value.metadata["retry_after_seconds"]) > 0
        silent.set()
        assert await first == 1
        assert await blob.write(parts_of(lease, [data])) == 1


@pytest.mark.peer("M-UP-5")
async def test_bytes_that_wait_for_the_disk_have_a_limit(tmp_path: Path) -> None:
    async with rig(sqlite_url(tmp_path), pending_bytes=4 * MIB, patience_seconds=0.01) as blob:
        lease, _ = await blob.prepare([LARGE, *contents(2)])
        silent = asyncio.Event()
        begun = asyncio.Event()

        async def slow() -> AsyncIterator[WritePart]:
            for part in parts_of(lease, [LARGE])[:2]:
                yield part
            begun.set()
            await silent.wait()

        first = asyncio.create_task(blob.writes.write(slow(), caller()))
        await begun.wait()
        with pytest.raises(TooBusy):
            await blob.write(parts_of(lease, [LARGE]))
        silent.set()
        with pytest.raises(SizeMismatch):
            await first
        assert await blob.write(parts_of(lease, [LARGE])) == 1


@pytest.mark.peer("M-UP-5")
async def test_streams_that_trickle_leave_room_for_others(tmp_path: Path) -> None:
    """What counts is what came, not what was announced."""
    async with rig(sqlite_url(tmp_path), pending_bytes=6 * MIB, patience_seconds=0.01) as blob:
        *announced, data = [bytes([number]) * (3 * MIB) for number in range(8)]
        lease, _ = await blob.prepare([*announced, data])
        silent, begun = asyncio.Event(), asyncio.Semaphore(0)

        async def trickle(announced: bytes) -> AsyncIterator[WritePart]:
            yield WritePart(lease, chunk_of(announced), 0, announced[:1])
            begun.release()
            await silent.wait()

        slow = [asyncio.create_task(blob.writes.write(trickle(data), caller())) for data in announced]
        for task in slow:
            begins = asyncio.create_task(begun.acquire())
            await asyncio.wait({task, begins}, return_when=asyncio.FIRST_COMPLETED)
            assert begins.done()
        assert await blob.write(parts_of(lease, [data])) == 1
        silent.set()
        ends = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(end) for end in ends} == {SizeMismatch}


@pytest.mark.peer("M-UP-5")
async def test_chunks_that_wait_for_room_that_the_others_have(tmp_path: Path) -> None:
    """One of them is completed, and makes room for the next."""
    async with rig(sqlite_url(tmp_path), pending_bytes=6 * MIB) as blob:
        datas = [bytes([number]) * (3 * MIB) for number in range(3)]
        lease, _ = await blob.prepare(datas)
        begun = asyncio.Barrier(3)

        async def messages(data: bytes) -> AsyncIterator[WritePart]:
            first, *rest = parts_of(lease, [data])
            yield first
            await begun.wait()
            for part in rest:
                yield part

        assert await asyncio.gather(*(blob.writes.write(messages(data), caller()) for data in datas)) == [1] * 3


async def test_more_data_than_the_limit_goes_through_bit_by_bit(tmp_path: Path) -> None:
    async with rig(sqlite_url(tmp_path), pending_bytes=4 * MIB) as blob:
        datas = [bytes([number]) * MIB for number in range(30)]
        leases = [(await blob.prepare(datas))[0] for _ in range(3)]  # under one lease, streams would cut each other off
        assert await asyncio.gather(*(blob.write(parts_of(lease, datas)) for lease in leases)) == [30] * 3
        assert await blob.objects() == 30


async def test_two_streams_of_one_chunk_under_one_lease(blob_on_disk: Rig) -> None:
    """A client that comes back before its broken stream is noticed wins; the other one is told so."""
    blob, data = blob_on_disk, LARGE
    lease, _ = await blob.prepare([data])
    results = await asyncio.gather(*(blob.write(parts_of(lease, [data])) for _ in range(4)), return_exceptions=True)
    assert 1 in results
    assert all(result == 1 or isinstance(result, GrantExpired) for result in results)
    assert await blob.read(data) == data
    assert await blob.problems() == []


async def test_only_the_team_itself_writes(blob: Rig) -> None:
    [data] = contents(1)
    lease, _ = await blob.prepare([data])
    for stranger in (caller(OTHER), caller(role=Role.READ)):
        with pytest.raises(PermissionDenied):
            await blob.writes.write(stream(parts_of(lease, [data])), stranger)


def publications(statements: list[str]) -> int:
    return len([one for one in statements if one.startswith("DELETE FROM upload_grant")])


async def test_a_fast_disk_waits_for_a_group_that_is_worth_its_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not when others need the room, nor when the stream has ended, nor for more than one group holds."""
    monkeypatch.setattr("modelkeep_server.blob.app.write._LINGER_SECONDS", 3600)
    async with rig(sqlite_url(tmp_path), pending_bytes=512 * MIB) as blob:
        small, large = contents(60), [bytes([number]) * MIB for number in range(20)]
        lease, _ = await blob.prepare([*small, *large])
        with counted(blob) as statements:
            assert await blob.write(parts_of(lease, small)) == 60
        assert publications(statements) == 1
        with counted(blob) as statements:
            assert await blob.write(parts_of(lease, large)) == 20
        assert publications(statements) <= 3


async def test_nobody_waits_for_a_group_while_room_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep_server.blob.app.write._LINGER_SECONDS", 3600)
    async with rig(sqlite_url(tmp_path), pending_bytes=4 * MIB) as blob:
        datas = [bytes([number]) * (2 * MIB) for number in range(8)]
        lease, _ = await blob.prepare(datas)
        async with asyncio.timeout(120):
            assert await blob.write(parts_of(lease, datas)) == 8
