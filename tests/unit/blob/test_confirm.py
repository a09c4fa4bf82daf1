"""ConfirmChunks: the fence between the two databases (RELIABILITY §2.4)."""

from __future__ import annotations

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import LimitExceeded, PermissionDenied
from modelkeep_server.blob.domain import ChunkState
from modelkeep_server.runtime.callers import Access

from tests.unit.blob.rig import OTHER, SERVICE, TEAM, Rig, caller, contents
from tests.unit.blob.test_upload import set_state, state_of


async def test_confirmed_is_live_and_held_by_the_team(blob_anywhere: Rig) -> None:
    blob, [mine, theirs, none] = blob_anywhere, contents(3)
    await blob.upload([mine])
    await blob.upload([theirs], team=OTHER)
    digests = [Digest.of(data) for data in (mine, theirs, none, mine)]
    assert await blob.confirmations.confirm_chunks(TEAM, 7, digests, SERVICE) == [1000, -1, -1, 1000]
    assert await state_of(blob, mine) == (ChunkState.LIVE, 7)
    assert await state_of(blob, theirs) == (ChunkState.LIVE, 0)
    assert await blob.inspection.sizes(TEAM, digests) == [1000, -1, -1, 1000]


async def test_confirming_revives_and_never_goes_back(blob_anywhere: Rig) -> None:
    blob, [data] = blob_anywhere, contents(1)
    await blob.upload([data])
    for epoch, confirmed in [(5, 5), (3, 5), (6, 6)]:
        await set_state(blob, data, ChunkState.CONDEMNED)
        assert await blob.confirmations.confirm_chunks(TEAM, epoch, [Digest.of(data)], SERVICE) == [1000]
        assert await state_of(blob, data) == (ChunkState.LIVE, confirmed)


async def test_an_upload_keeps_what_was_confirmed(blob_anywhere: Rig) -> None:
    blob, [data] = blob_anywhere, contents(1)
    await blob.upload([data])
    await blob.confirmations.confirm_chunks(TEAM, 5, [Digest.of(data)], SERVICE)
    await blob.upload([data], team=OTHER)
    await blob.prepare([data])
    assert await state_of(blob, data) == (ChunkState.LIVE, 5)


async def test_rotten_content_is_never_confirmed(blob: Rig) -> None:
    [data] = contents(1)
    await blob.upload([data])
    await set_state(blob, data, ChunkState.ROTTEN)
    assert await blob.confirmations.confirm_chunks(TEAM, 5, [Digest.of(data)], SERVICE) == [-1]
    assert await blob.inspection.sizes(TEAM, [Digest.of(data)]) == [-1]


async def test_only_services_confirm(blob: Rig) -> None:
    with pytest.raises(PermissionDenied):
        await blob.confirmations.confirm_chunks(TEAM, 5, [], caller(access=Access.SERVICE))
    with pytest.raises(LimitExceeded):
        await blob.confirmations.confirm_chunks(TEAM, 5, [Digest.of(data) for data in contents(1001, 8)], SERVICE)
