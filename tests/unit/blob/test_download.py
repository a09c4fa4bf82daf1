"""Stat, PrepareDownload and Read."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import ChunkCorrupt, ChunkNotFound, LimitExceeded, PermissionDenied, RangeInvalid
from modelkeep_server.blob.domain import MIB, ByStream, ChunkState, DownloadPlan, Missing, ProblemKind, Range
from modelkeep_server.runtime.callers import Access, Caller, Role

from tests.unit.blob.rig import OTHER, TEAM, Rig, caller, contents
from tests.unit.blob.test_upload import counted, set_state

READER = caller(role=Role.READ, access=Access.READ)
LARGE = bytes(range(256)) * (5 * MIB // 512)


async def pieces(blob: Rig, *ranges: Range) -> list[tuple[int, bytes]]:
    return [piece async for piece in blob.downloads.read(TEAM, ranges, READER)]


async def test_ranges_come_in_the_order_asked(blob_on_disk: Rig) -> None:
    blob, [small] = blob_on_disk, contents(1)
    await blob.upload([small, LARGE])
    large, other = Digest.of(LARGE), Digest.of(small)
    found = await pieces(blob, Range(large, MIB - 1, MIB + 2), Range(other, 0, 0), Range(large, len(LARGE) - 1, 0))
    assert b"".join(data for number, data in found if number == 0) == LARGE[MIB - 1 : 2 * MIB + 1]
    assert [data for number, data in found if number == 1] == [small]
    assert [data for number, data in found if number == 2] == [LARGE[-1:]]
    assert [number for number, _ in found] == sorted(number for number, _ in found)
    assert max(len(data) for _, data in found) <= MIB


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, 1001), (1000, 0), (1000, 1), (2000, 0), (0, -1), (5, -5)])
async def test_a_range_outside_of_the_chunk(blob: Rig, offset: int, length: int) -> None:
    [data] = contents(1)
    await blob.upload([data])
    with pytest.raises(RangeInvalid):
        await pieces(blob, Range(Digest.of(data), 0, 0), Range(Digest.of(data), offset, length))


async def test_what_is_missing_is_told_before_any_byte(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    reading = blob.downloads.read(TEAM, [Range(Digest.of(data), 0, 0), Range(Digest.of(b"?"), 0, 0)], READER)
    async with aclosing(reading):
        with pytest.raises(ChunkNotFound) as failure:
            await anext(reading)
    assert failure.value.metadata["digest"] == str(Digest.of(b"?"))


async def test_sem_22_another_team_reads_nothing(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    with pytest.raises(ChunkNotFound):
        await blob.read(data, OTHER)
    plans = await blob.downloads.prepare_download(OTHER, [Digest.of(data)], caller(OTHER, access=Access.READ))
    assert plans == [DownloadPlan(Missing())]


async def test_who_may_read(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    friend = Caller("teams/blue/apiKeys/k", "blue", Role.READ, frozenset({TEAM.team}), access=Access.READ)
    service = Caller("services/diff", is_service=True, access=Access.READ)
    for reader in (READER, friend, service):
        assert await blob.downloads.stat(TEAM, [Digest.of(data)], reader) == [len(data)]
    stranger = caller(OTHER, access=Access.READ)
    with pytest.raises(PermissionDenied):
        await blob.downloads.stat(TEAM, [], stranger)
    with pytest.raises(PermissionDenied):
        await blob.downloads.prepare_download(TEAM, [], stranger)
    with pytest.raises(PermissionDenied):
        await anext(blob.downloads.read(TEAM, [], stranger))


async def test_a_store_without_urls_answers_with_streams(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    plans = await blob.downloads.prepare_download(TEAM, [Digest.of(data), Digest.of(b"?")], READER)
    assert plans == [DownloadPlan(ByStream(), len(data)), DownloadPlan(Missing())]


@pytest.mark.peer("M-UP-7")
@pytest.mark.parametrize("data", [contents(1)[0], LARGE], ids=["one piece", "several pieces"])
async def test_a_flipped_bit_is_found_before_the_last_piece(blob_on_disk: Rig, tmp_path: Path, data: bytes) -> None:
    """The reader never has a whole chunk of wrong bytes."""
    blob = blob_on_disk
    await blob.upload([data])
    [file] = [path for path in (tmp_path / "blobs" / "chunks").rglob("*") if path.is_file()]
    rotten = bytearray(data)
    rotten[0] ^= 1
    file.write_bytes(rotten)
    got = bytearray()

    async def read() -> None:
        async for _, piece in blob.downloads.read(TEAM, [Range(Digest.of(data), 0, 0)], READER):
            got.extend(piece)

    with pytest.raises(ChunkCorrupt):
        await read()
    assert len(got) < len(data)
    assert [problem.kind for problem in await blob.problems()] == [ProblemKind.CONTENT_WRONG]
    file.write_bytes(data)


async def test_a_lost_object_is_data_loss_and_not_a_missing_chunk(blob_on_disk: Rig, tmp_path: Path) -> None:
    blob, [data] = blob_on_disk, contents(1)
    await blob.upload([data])
    [file] = [path for path in (tmp_path / "blobs" / "chunks").rglob("*") if path.is_file()]
    file.unlink()
    with pytest.raises(ChunkCorrupt):
        await blob.read(data)
    assert [problem.kind for problem in await blob.problems()] == [ProblemKind.OBJECT_MISSING]
    file.write_bytes(data)


async def test_rotten_content_is_data_loss(blob: Rig) -> None:
    """RELIABILITY §2.2: never present, and a read says why."""
    [data] = contents(1)
    await blob.upload([data])
    await set_state(blob, data, ChunkState.ROTTEN)
    assert await blob.present([data]) == [False]
    assert await blob.downloads.prepare_download(TEAM, [Digest.of(data)], READER) == [DownloadPlan(ByStream(), len(data))]
    with pytest.raises(ChunkCorrupt):
        await blob.read(data)


async def test_batches_have_a_limit(blob: Rig) -> None:
    digests = [Digest.of(data) for data in contents(1001, 8)]
    with pytest.raises(LimitExceeded):
        await blob.downloads.stat(TEAM, digests, READER)
    with pytest.raises(LimitExceeded):
        await blob.downloads.prepare_download(TEAM, digests, READER)
    with pytest.raises(LimitExceeded):
        await pieces(blob, *(Range(digest, 0, 0) for digest in digests))


async def test_a_batch_takes_few_statements_whatever_its_size(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(500, 8)
    await blob.upload(datas)
    reader = caller(access=Access.READ)
    for call in (blob.downloads.prepare_download, blob.downloads.stat):
        for size in (1, 500):
            with counted(blob) as statements:
                await call(TEAM, [Digest.of(data) for data in datas[:size]], reader)
            assert len([one for one in statements if not one.startswith("BEGIN")]) <= 2
