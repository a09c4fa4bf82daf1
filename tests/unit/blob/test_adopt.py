"""AdoptChunks: a team gets holdings of what another team holds, for a copy that metadata has allowed."""

from __future__ import annotations

import asyncio

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import LimitExceeded, PermissionDenied
from modelkeep.names import TeamName
from modelkeep_server.blob.domain import ChunkState
from modelkeep_server.runtime.callers import Access

from tests.unit.blob.rig import OTHER, SERVICE, TEAM, Rig, caller, contents
from tests.unit.blob.test_upload import counted, set_state, state_of

THIRD = TeamName("green")


async def adopt(blob: Rig, *datas: bytes, epoch: int = 7, source: TeamName = TEAM) -> list[int]:
    return await blob.confirmations.adopt_chunks(OTHER, source, epoch, [Digest.of(data) for data in datas], SERVICE)


async def test_what_the_source_holds_is_held_and_confirmed(blob_anywhere: Rig) -> None:
    blob, [first, second, third, none] = blob_anywhere, contents(4)
    await blob.upload([first, second])
    await blob.upload([third], team=THIRD)
    assert await adopt(blob, first, none, third, second, first) == [1000, -1, -1, 1000, 1000]
    assert await blob.present([first, second, third, none], OTHER) == [True, True, False, False]
    assert await blob.read(first, OTHER) == first
    assert await state_of(blob, first) == (ChunkState.LIVE, 7)
    assert await state_of(blob, third) == (ChunkState.LIVE, 0)  # nobody learns of it, and nothing keeps it
    assert await blob.objects() == 3
    assert await blob.problems() == []


async def test_it_may_be_repeated(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(30)
    await blob.upload(datas)
    assert await asyncio.gather(*(adopt(blob, *order) for order in (datas, datas[::-1]) * 3)) == [[1000] * 30] * 6
    assert await adopt(blob, *datas, epoch=3) == [1000] * 30
    assert await state_of(blob, datas[0]) == (ChunkState.LIVE, 7)
    await blob.upload(datas, team=OTHER)
    assert await blob.present(datas, OTHER) == [True] * 30


async def test_what_was_condemned_is_live_again_and_what_rots_is_not(blob_anywhere: Rig) -> None:
    blob, [condemned, rotten] = blob_anywhere, contents(2)
    await blob.upload([condemned, rotten])
    await set_state(blob, condemned, ChunkState.CONDEMNED)
    await set_state(blob, rotten, ChunkState.ROTTEN)
    assert await adopt(blob, condemned, rotten) == [1000, -1]
    assert await state_of(blob, condemned) == (ChunkState.LIVE, 7)
    await set_state(blob, rotten, ChunkState.LIVE)
    assert await blob.present([condemned, rotten], OTHER) == [True, False]


async def test_holding_it_oneself_is_not_enough(blob: Rig) -> None:
    """The answer is about the source: what it does not hold, its manifest cannot name."""
    [data] = contents(1)
    await blob.upload([data], team=OTHER)
    assert await adopt(blob, data) == [-1]
    assert await blob.present([data], TEAM) == [False]
    assert await adopt(blob, data, source=OTHER) == [1000]


async def test_only_services_adopt(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    for stranger in (caller(OTHER, access=Access.SERVICE), caller(TEAM, access=Access.SERVICE)):
        with pytest.raises(PermissionDenied):
            await blob.confirmations.adopt_chunks(OTHER, TEAM, 5, [Digest.of(data)], stranger)
    with pytest.raises(LimitExceeded):
        await adopt(blob, *contents(1001, 8))
    assert await blob.present([data], OTHER) == [False]


async def test_a_batch_takes_few_statements_whatever_its_size(blob_anywhere: Rig) -> None:
    blob, datas = blob_anywhere, contents(1000, 8)
    await blob.upload(datas)
    for size in (1, 1000):
        with counted(blob) as statements:
            assert await adopt(blob, *datas[:size]) == [8] * size
        assert len([one for one in statements if not one.startswith("BEGIN")]) == 2
