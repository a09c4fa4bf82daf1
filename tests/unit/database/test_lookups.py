"""What many calls ask for at once is asked of the database once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar

import pytest
from modelkeep.errors import ServiceUnavailable
from modelkeep_server.database import lookups
from modelkeep_server.database.lookups import MAX_KEYS, MAX_STATEMENTS, Lookups

BAD = 1_000_000


class Table:
    """Stands for a table of squares: negative numbers have none, and BAD breaks every statement that asks for it."""

    def __init__(self) -> None:
        self.statements: list[tuple[int, ...]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.open = asyncio.Event()
        self.open.set()

    async def squares(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.statements.append(tuple(keys))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.open.wait()
            await asyncio.sleep(0)
            if BAD in keys:
                raise ValueError("bad")
            return {key: key * key for key in keys if key >= 0}
        finally:
            self.under_way -= 1


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_keys_of_one_turn_are_one_statement() -> None:
    table = Table()
    found = Lookups(table.squares)
    assert await asyncio.gather(*(found.get(key) for key in (1, 2, 2, -3, 1))) == [1, 4, 4, None, 1]
    assert table.statements == [(1, 2, -3)]


async def test_nobody_joins_a_statement_that_was_sent() -> None:
    """A caller sees what was committed before it asked."""
    table = Table()
    found = Lookups(table.squares)
    table.open.clear()
    first = asyncio.create_task(found.get(1))
    await turns()
    second = asyncio.create_task(found.get(1))
    await turns()
    table.open.set()
    assert await asyncio.gather(first, second) == [1, 1]
    assert table.statements == [(1,), (1,)]


async def test_what_comes_while_a_statement_runs_gathers_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "HURRY_SECONDS", 3600)
    table = Table()
    found = Lookups(table.squares)
    table.open.clear()
    tasks = []
    for key in range(20):
        tasks.append(asyncio.create_task(found.get(key)))
        await turns()
    table.open.set()
    assert await asyncio.gather(*tasks) == [key * key for key in range(20)]
    assert [len(keys) for keys in table.statements] == [1, 19]


async def test_a_slow_statement_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "HURRY_SECONDS", 0.001)
    table = Table()
    found = Lookups(table.squares)
    table.open.clear()
    tasks = []
    for key in range(MAX_STATEMENTS + 3):
        tasks.append(asyncio.create_task(found.get(key)))
        while len(table.statements) <= min(key, MAX_STATEMENTS - 1):
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert table.under_way == MAX_STATEMENTS
    table.open.set()
    assert await asyncio.gather(*tasks) == [key * key for key in range(len(tasks))]
    assert [len(keys) for keys in table.statements] == [1] * MAX_STATEMENTS + [3]


async def test_a_statement_has_a_bounded_number_of_keys() -> None:
    table = Table()
    found = Lookups(table.squares)
    count = 10 * MAX_KEYS + 1
    assert await asyncio.gather(*map(found.get, range(count))) == [key * key for key in range(count)]
    assert [len(keys) for keys in table.statements] == [MAX_KEYS] * 10 + [1]
    assert table.most_under_way == 1


async def test_one_bad_key_fails_only_its_caller() -> None:
    table = Table()
    found = Lookups(table.squares)
    answers = await asyncio.gather(*map(found.get, (1, BAD, 3)), return_exceptions=True)
    assert (answers[0], type(answers[1]), answers[2]) == (1, ValueError, 9)
    assert table.statements == [(1, BAD, 3), (1,), (BAD,), (3,)]


async def test_a_database_that_is_away_fails_all_by_one_statement() -> None:
    statements = []

    async def away(keys: Sequence[int]) -> Mapping[int, int]:
        statements.append(keys)
        raise ServiceUnavailable("away")

    answers = await asyncio.gather(*map(Lookups(away).get, (1, 2, 3)), return_exceptions=True)
    assert list(map(type, answers)) == [ServiceUnavailable] * 3
    assert statements == [(1, 2, 3)]


async def test_a_caller_that_leaves_takes_no_one_along() -> None:
    table = Table()
    found = Lookups(table.squares)
    table.open.clear()
    tasks = [asyncio.create_task(found.get(key)) for key in (1, 1, 2)]
    await turns()
    tasks[0].cancel()
    tasks[2].cancel()
    await turns()
    table.open.set()
    assert await tasks[1] == 1
    assert tasks[0].cancelled()
    assert tasks[2].cancelled()
    assert len(table.statements) == 1


async def test_a_statement_that_hangs_ends_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 0.05)
    table = Table()
    found = Lookups(table.squares)
    table.open.clear()
    for _ in range(MAX_STATEMENTS + 1):
        with pytest.raises(ServiceUnavailable, match="did not answer"):
            await found.get(1)
    table.open.set()
    assert await found.get(2) == 4
    assert table.under_way == 0


async def test_a_statement_belongs_to_no_caller() -> None:
    """What is logged in it must not carry the name of whoever asked first."""
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen = []

    async def look(keys: Sequence[int]) -> Mapping[int, int]:
        seen.append(who.get())
        return dict.fromkeys(keys, 0)

    who.set("somebody")
    await Lookups(look).get(1)
    assert seen == ["nobody"]
