"""PrepareUpload, CompleteUpload by stream, leases: on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import (
    InvalidArgument,
    LeaseExpired,
    LeaseNotFound,
    LimitExceeded,
    PermissionDenied,
    SizeMismatch,
)
from modelkeep.names import LeaseName
from modelkeep_server.blob.domain import ByStream, Chunk, ChunkState, ObjectName, Present, UploadResult
from modelkeep_server.blob.store.tables import ChunkRow, LeaseChunkRow
from modelkeep_server.runtime.callers import Role
from sqlalchemy import delete, event, func, select, update
from sqlalchemy.exc import IntegrityError

from tests.unit.blob.rig import OTHER, TEAM, Rig, caller, chunk_of, contents, parts_of


@contextmanager
def counted(blob: Rig) -> Iterator[list[str]]:
    """The statements that run."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    engine = blob.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


async def set_state(blob: Rig, data: bytes, state: ChunkState) -> None:
    statement = update(ChunkRow).where(ChunkRow.digest == Digest.of(data).sha256).values(state=state)  # type: ignore[arg-type]
    await blob.database.write(lambda session: session.execute(statement))


async def state_of(blob: Rig, data: bytes) -> tuple[str, int]:
    statement = select(ChunkRow.state, ChunkRow.confirmed_epoch).where(ChunkRow.digest == Digest.of(data).sha256)  # type: ignore[call-overload]
    row = (await blob.database.read(lambda session: session.execute(statement))).one()
    return row[0], row[1]


async def leased(blob: Rig, lease: LeaseName) -> int:
    statement = select(func.count()).where(LeaseChunkRow.lease_id == lease.lease)
    return (await blob.database.read(lambda session: session.execute(statement))).scalar_one()


async def test_what_is_missing_is_asked_for_and_then_present(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(3)
    lease, plans = await blob.prepare(datas)
    assert plans == [ByStream(0)] * 3
    assert await blob.write(parts_of(lease, datas)) == 3
    again, plans = await blob.prepare([*datas, b"new"])
    assert plans == [Present()] * 3 + [ByStream(0)]
    assert again != lease
    assert await leased(blob, lease) == await leased(blob, again) == 3


@pytest.mark.peer("M-AUTHZ-3")
async def test_sem_22_another_team_is_told_nothing(blob_anywhere: Rig) -> None:
    """SEM-22, I9: knowing a digest is not holding its bytes."""
    blob, [data] = blob_anywhere, contents(1)
    await blob.upload([data])
    assert await blob.present([data], OTHER) == [False]
    lease, plans = await blob.prepare([data], team=OTHER)
    assert plans == [ByStream(0)]
    assert await blob.uploads.complete_upload(lease, [Digest.of(data)], caller(OTHER)) == [UploadResult.GRANT_EXPIRED]
    await blob.write(parts_of(lease, [data]))
    assert await blob.present([data], OTHER) == [True]
    assert await blob.objects() == 1  # the store keeps one copy


@pytest.mark.peer("M-AUTHZ-3")
async def test_a_size_that_is_wrong_tells_another_team_nothing_either(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    wrong = Chunk(Digest.of(data), 5)
    with pytest.raises(SizeMismatch):
        await blob.uploads.prepare_upload(TEAM, None, [wrong], caller())
    _, plans = await blob.uploads.prepare_upload(OTHER, None, [wrong], caller(OTHER))
    assert plans == [ByStream(0)]


async def test_condemned_content_that_its_team_asks_for_is_revived(blob_anywhere: Rig) -> None:
    """RELIABILITY §2.2, SEM-48; and the other team must send it again, which revives it too."""
    blob, [data] = blob_anywhere, contents(1)
    await blob.upload([data])
    await set_state(blob, data, ChunkState.CONDEMNED)
    _, plans = await blob.prepare([data])
    assert plans == [Present()]
    assert (await state_of(blob, data))[0] == ChunkState.LIVE
    await set_state(blob, data, ChunkState.CONDEMNED)
    await blob.upload([data], team=OTHER)
    assert (await state_of(blob, data))[0] == ChunkState.LIVE
    assert await blob.objects() == 1


async def test_rotten_content_is_never_present_and_healed_by_an_upload(blob_anywhere: Rig) -> None:
    blob, [data] = blob_anywhere, contents(1)
    await blob.upload([data])
    await set_state(blob, data, ChunkState.ROTTEN)
    assert await blob.present([data]) == [False]
    lease, plans = await blob.prepare([data])
    assert plans == [ByStream(0)]
    await blob.write(parts_of(lease, [data]))
    assert (await state_of(blob, data))[0] == ChunkState.LIVE
    assert await blob.read(data) == data


async def test_a_batch_takes_few_statements_whatever_its_size(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(1000, 8)
    with counted(blob) as statements:
        lease, _ = await blob.prepare(datas)
    assert len([one for one in statements if not one.startswith("BEGIN")]) <= 5
    with counted(blob) as statements:
        assert await blob.write(parts_of(lease, datas)) == 1000
    assert len(statements) < 1000
    with counted(blob) as statements:
        _, plans = await blob.prepare(datas, lease)
    assert plans == [Present()] * 1000
    assert len([one for one in statements if not one.startswith("BEGIN")]) <= 5


async def test_batches_have_a_limit(blob: Rig) -> None:
    with pytest.raises(LimitExceeded):
        await blob.prepare(contents(1001, 8))
    lease, _ = await blob.prepare([])
    with pytest.raises(LimitExceeded):
        await blob.uploads.complete_upload(lease, [Digest.of(data) for data in contents(1001, 8)], caller())


async def test_one_chunk_twice_in_a_batch(blob: Rig) -> None:
    [data] = contents(1)
    lease, plans = await blob.prepare([data, data])
    assert plans == [ByStream(0)] * 2
    assert await blob.write(parts_of(lease, [data, data])) == 2
    assert await blob.objects() == 1
    with pytest.raises(SizeMismatch):
        await blob.uploads.prepare_upload(TEAM, lease, [chunk_of(data), Chunk(Digest.of(data), 7)], caller())


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_has_bytes(size: int) -> None:
    with pytest.raises(InvalidArgument):
        Chunk(Digest.of(b""), size)


def test_a_chunk_has_at_most_16_mib() -> None:
    Chunk(Digest.of(b""), 16 << 20)
    with pytest.raises(LimitExceeded):
        Chunk(Digest.of(b""), (16 << 20) + 1)


async def test_a_lease_ends_and_is_renewed(blob_anywhere: Rig) -> None:
    """SEM-25; judged by the database's clock."""
    blob = blob_anywhere
    lease, _ = await blob.prepare([])
    blob.clock.offset = timedelta(minutes=59)
    renewed = await blob.uploads.renew_lease(lease, caller())
    assert renewed.left == timedelta(hours=1)
    blob.clock.offset = timedelta(minutes=118)
    await blob.prepare([], lease)
    blob.clock.offset = timedelta(minutes=120)
    for attempt in (
        lambda: blob.prepare([], lease),
        lambda: blob.uploads.renew_lease(lease, caller()),
        lambda: blob.uploads.complete_upload(lease, [], caller()),
        lambda: blob.write(parts_of(lease, contents(1))),
    ):
        with pytest.raises(LeaseExpired) as failure:
            await attempt()
        assert failure.value.metadata["lease"] == str(lease)


async def test_a_lease_that_is_not_there(blob: Rig) -> None:
    lease, _ = await blob.prepare([])
    foreign = LeaseName(OTHER.team, lease.lease)
    unknown = LeaseName(TEAM.team, "123e4567-e89b-42d3-a456-426614174000")
    with pytest.raises(LeaseNotFound):
        await blob.prepare([], unknown)
    with pytest.raises(LeaseNotFound):
        await blob.prepare([], foreign)
    with pytest.raises(LeaseNotFound):
        await blob.uploads.renew_lease(foreign, caller(OTHER))
    with pytest.raises(LeaseNotFound):
        await blob.uploads.prepare_upload(OTHER, lease, [], caller(OTHER))


async def test_only_the_team_itself_writes(blob: Rig) -> None:
    lease, _ = await blob.prepare([])
    for stranger in (caller(OTHER), caller(role=Role.READ)):
        with pytest.raises(PermissionDenied):
            await blob.uploads.prepare_upload(TEAM, None, [], stranger)
        with pytest.raises(PermissionDenied):
            await blob.uploads.renew_lease(lease, stranger)
        with pytest.raises(PermissionDenied):
            await blob.uploads.complete_upload(lease, [], stranger)


async def test_racing_uploads_of_one_chunk_keep_one_object(blob_anywhere: Rig) -> None:
    """Every one of them succeeds, whoever was first, and nothing is left over."""
    blob, datas = blob_anywhere, contents(20)
    teams = [TEAM, OTHER] * 3
    await asyncio.gather(*(blob.upload(datas if number % 2 else datas[::-1], team=team) for number, team in enumerate(teams)))
    assert await blob.present(datas) == await blob.present(datas, OTHER) == [True] * 20
    assert await blob.objects() == 20
    assert await blob.problems() == []


async def test_the_database_refuses_to_delete_what_is_leased(blob_anywhere: Rig) -> None:
    """I7: by foreign keys, below all code."""
    blob, [data] = blob_anywhere, contents(1)
    await blob.upload([data])
    with pytest.raises(IntegrityError):
        await blob.database.write(lambda session: session.execute(delete(ChunkRow)))


async def test_a_stream_grant_is_used_again_and_a_new_lease_gets_its_own(blob: Rig) -> None:
    [data] = contents(1)
    lease, _ = await blob.prepare([data])

    async def grants(name: LeaseName) -> list[ObjectName]:
        found = await blob.index.read(lambda rows: rows.grants.find(name, {Digest.of(data)}, by_url=False))
        return [grant.object for grant in found]

    first = await grants(lease)
    await blob.prepare([data], lease)
    assert await grants(lease) == first
    other, _ = await blob.prepare([data])
    assert await grants(other) != first
