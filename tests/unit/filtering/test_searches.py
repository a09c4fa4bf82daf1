"""Searches that take long leave room for calls that are quick."""

import asyncio

import pytest
from modelkeep_server.filtering.expression import ALL, By, Present, Query
from modelkeep_server.filtering.searches import Searches


@pytest.mark.parametrize("query", [Query(where=Present("used")), Query(order=(By("name"),))])
async def test_only_some_search_at_once_and_a_plain_list_waits_for_none(query: Query) -> None:
    searches, begun, over = Searches(2), 0, asyncio.Event()

    async def search() -> int:
        nonlocal begun
        begun += 1
        await over.wait()
        return begun

    async def plain() -> str:
        return "all"

    under_way = [asyncio.ensure_future(searches.run(query, search)) for _ in range(5)]
    while begun < 2:
        await asyncio.sleep(0)
    assert await searches.run(ALL, plain) == "all"
    assert begun == 2
    under_way[0].cancel()  # who waits no longer gives its turn away
    while begun < 3:
        await asyncio.sleep(0)
    over.set()
    await asyncio.gather(*under_way[1:])
    assert begun == 5
