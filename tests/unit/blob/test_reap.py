"""What uploads leave behind goes when their lease has ended, and never before."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import ServiceUnavailable
from modelkeep.names import LeaseName
from modelkeep_server.blob.backends.memory import MemoryBackend
from modelkeep_server.blob.domain import MIB, ByStream, ObjectName, ProblemKind, WritePart
from modelkeep_server.blob.store.tables import LeaseChunkRow, LeaseRow
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.blob.rig import OTHER, TERMS, Rig, caller, chunk_of, contents, parts_of, rig, sqlite_url
from tests.unit.blob.test_write import LARGE, Broken

LATER = TERMS.lease + TERMS.reap_after + timedelta(seconds=1)


async def interrupt(blob: Rig) -> LeaseName:
    lease, _ = await blob.prepare([LARGE])
    with pytest.raises(Broken):
        await blob.write(parts_of(lease, [LARGE])[:1], then=Broken())
    return lease


async def test_an_interrupted_write_is_kept_as_long_as_its_lease(blob_on_disk: Rig, tmp_path: Path) -> None:
    blob = blob_on_disk
    lease = await interrupt(blob)
    await blob.reaper.reap()
    assert (await blob.prepare([LARGE], lease))[1] == [ByStream(MIB)]
    blob.clock.offset = TERMS.lease + timedelta(seconds=1)
    assert [(problem.kind, problem.breaks_invariant) for problem in await blob.problems()] == [
        (ProblemKind.TEMPORARY_LEFT, False)
    ]
    await blob.reaper.reap()
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []
    assert await blob.problems() == []


async def leave_object(blob: Rig, lease: LeaseName, data: bytes) -> ObjectName:
    """An object that was stored, and its process died before the row."""
    [grant] = await blob.index.read(lambda rows: rows.grants.find(lease, {Digest.of(data)}, by_url=False))
    from modelkeep_server.blob.domain import Incoming

    writer = await blob.backend.receive(Incoming(lease, chunk_of(data)), 0)
    await writer.write(data)
    await blob.backend.store([(writer, grant.object)])
    return grant.object


async def test_an_object_without_a_row_goes_with_its_grant(blob_anywhere: Rig) -> None:
    """RELIABILITY §2.3: the grant's row was there first, so the object is found by its key."""
    blob, [data] = blob_anywhere, contents(1)
    lease, _ = await blob.prepare([data])
    await leave_object(blob, lease, data)
    assert await blob.problems() == []
    blob.clock.offset = LATER - timedelta(minutes=1)
    await blob.reaper.reap()
    assert await blob.objects() == 1
    blob.clock.offset = LATER
    await blob.reaper.reap()
    assert await blob.objects() == 0
    assert await blob.problems() == []


async def test_an_upload_that_was_cut_short_before_its_row_is_made_again(blob_on_disk: Rig) -> None:
    blob, [data] = blob_on_disk, contents(1)
    lease, _ = await blob.prepare([data])
    await leave_object(blob, lease, data)
    assert await blob.write(parts_of(lease, [data])) == 1
    assert await blob.objects() == 1
    assert await blob.read(data) == data


async def test_what_is_live_is_never_reaped(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(5)
    await blob.upload(datas)
    await blob.upload(datas, team=OTHER)
    blob.clock.offset = LATER
    await blob.reaper.reap()
    assert await blob.objects() == 5
    assert [await blob.read(data) for data in datas] == datas


async def rows_of_leases(blob: Rig) -> tuple[int, int]:
    """How many leases there are, and how many chunks they protect."""

    async def work(session: AsyncSession) -> tuple[int, int]:
        leases, protected = [
            (await session.execute(select(func.count()).select_from(row))).scalar_one() for row in (LeaseRow, LeaseChunkRow)
        ]
        return leases, protected

    return await blob.database.read(work)


async def test_leases_go_when_they_have_ended_for_long(blob_anywhere: Rig) -> None:
    """I8: neither a lease nor what it protected stays; two replicas may reap at once."""
    blob, datas = blob_anywhere, contents(5)
    await blob.upload(datas)
    await blob.prepare(datas)
    blob.clock.offset = LATER - timedelta(minutes=1)
    fresh, _ = await blob.prepare(datas[:2])
    await blob.reaper.reap()
    assert await rows_of_leases(blob) == (3, 12)
    blob.clock.offset = LATER
    await asyncio.gather(blob.reaper.reap(), blob.reaper.reap())
    await blob.reaper.reap()  # what one of them passed over because the other had it
    assert await rows_of_leases(blob) == (1, 2)
    await blob.uploads.renew_lease(fresh, caller())
    assert await blob.present(datas) == [True] * 5


async def test_leases_go_bit_by_bit_and_never_before_their_grants(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(5)
    await blob.upload(datas)
    await blob.prepare([*contents(6)[5:], *datas[:1]])
    blob.clock.offset = LATER
    seen = []
    while await blob.index.write(lambda rows: rows.leases.reap(TERMS.reap_after, 4)):
        seen.append(await rows_of_leases(blob))
    assert seen == [(2, 2), (2, 0), (1, 0)]
    await blob.reaper.reap()
    assert await rows_of_leases(blob) == (0, 0)


async def test_who_begins_an_upload_has_what_others_left_reaped_now_and_then(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(5)
    await blob.upload(datas)
    blob.clock.offset = LATER
    blob.reaper._next = 0.0
    await blob.prepare(datas)
    reaping = blob.reaper._task
    assert reaping is not None
    await reaping
    assert await rows_of_leases(blob) == (1, 5)
    await blob.prepare(datas)
    assert blob.reaper._task is reaping, "it was done lately"


class Stubborn(MemoryBackend):
    """A store that does not delete for a while."""

    broken = True

    async def delete(self, names: object) -> None:
        if self.broken:
            raise ServiceUnavailable("not now")
        await super().delete(names)  # type: ignore[arg-type]


async def test_an_object_that_could_not_be_deleted_is_remembered(tmp_path: Path) -> None:
    backend, [data] = Stubborn(), contents(1)
    async with rig(sqlite_url(tmp_path), backend) as blob:
        await blob.upload([data])
        await blob.upload([data], team=OTHER)  # succeeds, although its object cannot be thrown away
        assert await blob.objects() == 2
        assert await blob.problems() == []  # a tombstone knows of it
        with pytest.raises(ServiceUnavailable):
            await blob.reaper.reap()
        backend.broken = False
        await blob.reaper.reap()
        assert await blob.objects() == 1
        assert await blob.read(data) == data


async def test_foreign_objects_are_reported_and_left_alone(blob_on_disk: Rig, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "chunks").mkdir(parents=True)
    (tmp_path / "blobs" / "chunks" / "notes.txt").write_text("mine")
    blob = blob_on_disk
    writer_of_nothing = WritePart(await blob.upload(contents(1)), None, 0, b"")
    assert await blob.write([writer_of_nothing]) == 0
    [problem] = await blob.problems()
    assert (problem.kind, problem.what, problem.breaks_invariant) == (ProblemKind.OBJECT_UNKNOWN, "chunks/notes.txt", False)
